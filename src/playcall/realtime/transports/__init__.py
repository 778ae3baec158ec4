"""What carries frames; no rule of the contract lives here."""
