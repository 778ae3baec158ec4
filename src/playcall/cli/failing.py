"""How a command fails: one sentence, no traceback, and an exit status that programs can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from ..errors import ConfigurationError, InvalidArgumentError, InvalidRequestError, PlaycallError

__all__ = ["FAILED", "INTERRUPTED", "USAGE", "fail", "in_one_sentence", "needing_backend", "quiet_pipe"]

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


def fail(status: int, sentence: str) -> NoReturn:
    """Ends the command with `playcall: sentence` on stderr."""
    typer.echo(f"playcall: {sentence}", err=True)
    raise typer.Exit(status)


def quiet_pipe() -> NoReturn:
    """Ends the command because whoever read our lines has gone; the flush at exit must not fail over it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(FAILED)


@contextmanager
def needing_backend() -> Generator[None]:
    """Around whatever imports the backend: ends the command where what it stands on is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("playcall"):
            raise
        fail(FAILED, f"{error.name} is missing; the backend needs: pip install 'playcall[server]'")


@contextmanager
def in_one_sentence() -> Generator[None]:
    """Makes the library's errors, Ctrl-C and a closed pipe the end of a command; of a 422, every mistake is shown."""
    try:
        yield
    except (ConfigurationError, InvalidArgumentError) as error:
        fail(USAGE, error.message)
    except InvalidRequestError as error:
        from ..http.field_problems import describe

        for mistake in error.errors:
            typer.echo(f"  {describe(mistake)}", err=True)
        count = len(error.errors)
        if count:
            fail(FAILED, f"{count} mistake{'' if count == 1 else 's'}, so nothing was changed")
        fail(FAILED, error.message)
    except PlaycallError as error:
        fail(FAILED, error.message)
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:
        quiet_pipe()
