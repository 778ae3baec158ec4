"""The command line. It needs Typer and Rich, which come with the extra `cli`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from .standard_streams import working_streams

__all__ = ["main"]


def main() -> None:
    """The console script `playcall`, and `python -m playcall`."""
    try:
        signal.signal(signal.SIGTERM, _end)
        with working_streams():
            _run()
    except SystemExit as end:
        if "_PLAYCALL_COMPLETE" in os.environ:
            # Threads may still look up a name that the DNS has no word of, and whoever has pressed Tab would wait for them.
            os._exit(end.code if isinstance(end.code, int) else 1)
        raise
    except KeyboardInterrupt:  # before there was a command that has an answer to it
        print("playcall: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _run() -> None:
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "click", "rich", "shellingham"):
            raise
        print(
            f"playcall: {error.name} is missing; the command line needs: pip install 'playcall[cli]'", file=sys.stderr
        )
        raise SystemExit(1) from None
    app(prog_name="playcall")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a command as an exception does: its terminal has its cursor again, and what it started ends with it."""
    raise SystemExit(128 + number)
