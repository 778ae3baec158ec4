"""`python -m pictures WHAT`: makes the documentation's pictures, from the real thing, anew.

`dashboard` is its pages in a browser; with `--measure` it makes no picture, and tells how soon each page is there.
`terminal` is what the commands draw. `diagrams` are drawn by hand.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Final

MODULES: Final = ("dashboard", "terminal", "diagrams")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pictures", description="Makes the pictures in docs/pictures anew.")
    parser.add_argument("what", choices=MODULES)
    parser.add_argument("--measure", action="store_true", help="dashboard: make no picture; measure its pages")
    options = parser.parse_args()
    if options.measure and options.what != "dashboard":
        parser.error("--measure is for the dashboard")
    # One of them needs a browser, the other a terminal's screen: each is imported only where it is wanted.
    module = importlib.import_module(f"pictures.{options.what}")
    if options.measure:
        module.measure()
    else:
        module.make()


if __name__ == "__main__":
    main()
