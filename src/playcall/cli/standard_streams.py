"""Standard input, output and error as every command may rely on them: there, and the command's end where they fail."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["working_streams"]


@contextmanager
def working_streams() -> Generator[None]:
    """Around the whole command, from before it opens or imports anything.

    Raises:
        SystemExit: standard output is closed, or does not take what is written.
    """
    is_closed = sys.stdout is None
    _open_closed()
    if is_closed:
        raise SystemExit("playcall: standard output is closed")
    sys.stdout = _telling(sys.stdout)
    _replace_what_has_no_letter(sys.stdout)
    _replace_what_has_no_letter(sys.stderr)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, where it can be told, and not when the interpreter exits
    except (BrokenPipeError, _OutputError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what is left in it may go
        if isinstance(error, BrokenPipeError):  # whoever has closed it knows
            raise SystemExit(1) from None
        raise SystemExit(f"playcall: standard output cannot be written: {str(error.strerror).lower()}") from None


def _open_closed() -> None:
    """A stream that is closed is made one to nowhere.

    Else whatever is opened next has its number, and is written to in its place; uvloop aborts over that.
    """
    # In this order: each gets the lowest number that is free, which is its own.
    if sys.stdin is None:
        sys.stdin = _nowhere("r")
    if sys.stdout is None:
        sys.stdout = _nowhere("w")
    if sys.stderr is None:
        sys.stderr = _nowhere("w")


def _nowhere(mode: Literal["r", "w"]) -> TextIO:
    return open(os.devnull, mode, encoding="utf-8")


def _replace_what_has_no_letter(stream: TextIO) -> None:
    """In the terminal's encoding; it is shown as ?, instead of ending the command."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def _telling(stream: TextIO) -> TextIO:
    """The same stream, whose failures can be told from those of other files."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _OutputError(OSError):
    """Standard output does not take what is written; of any other file it is a plain OSError."""


class _Output(io.FileIO):
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _OutputError(error.errno, error.strerror) from None
