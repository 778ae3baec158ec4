"""The command line. It needs Typer and Rich, which come with the extra `cli`."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """The console script `playcall`, and `python -m playcall`."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "click", "rich", "shellingham"):
            raise
        print(
            f"playcall: {error.name} is missing; the command line needs: pip install 'playcall[cli]'", file=sys.stderr
        )
        raise SystemExit(1) from None
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding has no letter for is shown as ?, instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name="playcall")
