"""Who is calling: users, passwords, tokens, API keys."""
