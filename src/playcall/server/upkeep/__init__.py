"""What keeps a server in order while it runs, and what is put by for the day it is needed."""
