"""Asking for a secret: what is typed is not shown, and nothing of it is lost or shown because it was typed early."""

from __future__ import annotations

from getpass import getpass

import typer

from .failing import FAILED, INTERRUPTED, fail

__all__ = ["ask_secret"]


def ask_secret(what: str, *, twice: bool = False) -> str:
    """What somebody types at the terminal, until it is something; with `twice`, until it was typed alike twice.

    `getpass` turns the terminal's echo off before it asks. Typer asks first.
    """
    try:
        while True:
            secret = getpass(f"{what}: ")
            if not secret:
                continue
            if not twice or getpass(f"{what}, once more: ") == secret:
                return secret
            typer.echo("they differ", err=True)
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted")
    except EOFError:
        fail(FAILED, f"no {what.lower()} was given")
