"""Asking before something is gone for good."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .failing import FAILED, INTERRUPTED, USAGE, fail

__all__ = ["Yes", "confirm"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ends the command unless `--yes` was given, or somebody says so now."""
    if yes:
        return
    try:
        sure = typer.confirm(question, err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        typer.echo(err=True)
        if sys.stdin.isatty():
            fail(INTERRUPTED, "interrupted; nothing was changed")
        fail(USAGE, "nobody answers; give --yes to do it without asking")
    if not sure:
        fail(FAILED, "nothing was changed")
