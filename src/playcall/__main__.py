"""`python -m playcall` is the command `playcall`."""

from playcall.cli import main

main()
