"""From a command to a server that serves, alone or as one of several, and to its end."""
