"""The commands, put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from .backup import backup
from .demo import demo
from .doctor import doctor
from .playbook_commands import playbooks
from .serve import serve
from .users import users

__all__ = ["app"]

app = typer.Typer(
    name="playcall",
    help="Run playbooks, and everything around them.",
    no_args_is_help=True,
    # A traceback is for people who read code; commands say what is wrong in a sentence.
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"playcall {version('playcall')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Run playbooks, and everything around them."""


app.command()(backup)
app.command()(demo)
app.command()(doctor)
app.command()(serve)
app.add_typer(playbooks, name="playbooks")
app.add_typer(users, name="users")
