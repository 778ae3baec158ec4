"""How commands find their backend: the options that say so, and a client made of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .completion import profile_names
from .failing import in_one_sentence

if TYPE_CHECKING:
    from ..client import Playcall
    from .mistakes import Source

__all__ = ["AsJson", "Explain", "ProfileName", "Url", "connected"]

CONNECTION: Final = "Connection"
"""The panel of `--help` in which these options stand."""

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The backend; else PLAYCALL_URL, the profile's, or http://127.0.0.1:8000.",
        rich_help_panel=CONNECTION,
    ),
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Where and as whom, as stored by playcall login; else PLAYCALL_PROFILE, or the last one signed in to.",
        autocompletion=profile_names,
        rich_help_panel=CONNECTION,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object, or one a line.")]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain", help="After an error, every attempt that was made, and why no other.", rich_help_panel=CONNECTION
    ),
]


@contextmanager
def connected(
    url: str | None,
    profile: str | None,
    *,
    explain: bool = False,
    source: Source | None = None,
    deadline_seconds: float = 60.0,
) -> Generator[Playcall]:
    """The client that a command works with; errors inside end the command in one sentence.

    Args:
        url: `--url`, and `profile` `--profile`, as they were given.
        explain: What was tried is told after the sentence.
        source: The text that is sent, so that mistakes in it can be shown where they stand.
        deadline_seconds: What each call may take.
    """
    with in_one_sentence(explain=explain, source=source):
        from ..client import Playcall
        from .target import resolve

        target = resolve(url, profile)
        with Playcall(target.url, auth=target.auth, deadline_seconds=deadline_seconds) as client:
            yield client
