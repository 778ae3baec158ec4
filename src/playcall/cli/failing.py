"""How a command fails: one sentence, no traceback, and an exit status that programs can read."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from ..errors import ConfigurationError, InvalidArgumentError, InvalidRequestError, PlaycallError
from .terminal_text import lines

if TYPE_CHECKING:
    from .mistakes import Source

__all__ = ["FAILED", "INTERRUPTED", "USAGE", "fail", "in_one_sentence", "needing_backend"]

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


def fail(status: int, sentence: str, *, because: PlaycallError | None = None) -> NoReturn:
    """Ends the command with `playcall: sentence` on stderr; `because` is told in full after it, its timeline included."""
    typer.echo(lines(f"playcall: {sentence}"), err=True)
    if because is not None:
        typer.echo(lines(because.explain()), err=True)
    raise typer.Exit(status)


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
def in_one_sentence(*, explain: bool = False, source: Source | None = None) -> Generator[None]:
    """Makes the library's errors and Ctrl-C the end of a command; of a 422, every mistake is shown.

    Args:
        explain: What was tried, and when, is told after the sentence.
        source: The text that was sent, so that each mistake can be shown where it stands.
    """
    try:
        yield
    except (ConfigurationError, InvalidArgumentError) as error:
        fail(USAGE, error.message, because=error if explain else None)
    except InvalidRequestError as error:
        from .mistakes import counted, show_mistakes

        show_mistakes(error.errors, source)
        sentence = f"{counted(error.errors)}, so nothing was changed" if error.errors else error.message
        fail(FAILED, sentence, because=error if explain else None)
    except PlaycallError as error:
        fail(FAILED, error.message, because=error if explain else None)
    except (KeyboardInterrupt, typer.Abort):  # the second is Ctrl-C at a question
        fail(INTERRUPTED, "interrupted")
