"""The commands, put together."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
import typer.core

from .account_commands import login, logout, whoami
from .agent_commands import agents
from .backup import backup
from .dashboard import dashboard
from .demo import demo
from .doctor import doctor
from .event_commands import events
from .playbook_commands import playbooks
from .run_commands import runs
from .serve import serve
from .status_command import status
from .task_commands import tasks
from .tool_commands import tools
from .users import users

__all__ = ["app"]

WORK: Final = "Work"
WATCH: Final = "Watch"
ACCOUNT: Final = "Where, and as whom"
OWN: Final = "A backend of your own"

ORDER: Final = (
    *("playbooks", "runs", "agents", "tasks", "tools"),
    *("events", "status", "dashboard"),
    *("login", "logout", "whoami", "doctor"),
    *("demo", "serve", "backup", "users"),
)
"""Of the commands, and so of their panels, in `playcall --help`."""


class _InOrder(typer.core.TyperGroup):
    """Work first; by itself Typer lists commands before groups."""

    def list_commands(self, ctx: Any) -> list[str]:  # Any: a class that Typer has moved between two modules
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="playcall",
    cls=_InOrder,
    # A traceback is for people who read code; commands say what is wrong in a sentence.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"playcall {version('playcall')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Run playbooks, and watch everything around them.

    \b
    What to do first:
      playcall demo       see all of it work, in half a minute
      playcall serve      start a backend of your own
      playcall login      sign in to a backend
      playcall dashboard  look at it in a browser
    \b
    Each command tells more of itself: playcall playbooks run --help
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command(rich_help_panel=OWN)(demo)
app.command(rich_help_panel=OWN)(serve)
app.command(rich_help_panel=OWN)(backup)
app.add_typer(users, name="users", rich_help_panel=OWN)
app.command(rich_help_panel=ACCOUNT)(login)
app.command(rich_help_panel=ACCOUNT)(logout)
app.command(rich_help_panel=ACCOUNT)(whoami)
app.command(rich_help_panel=ACCOUNT)(doctor)
app.command(rich_help_panel=WATCH)(status)
app.command(rich_help_panel=WATCH)(dashboard)
app.add_typer(playbooks, name="playbooks", rich_help_panel=WORK)
app.add_typer(runs, name="runs", rich_help_panel=WORK)
app.add_typer(agents, name="agents", rich_help_panel=WORK)
app.add_typer(tasks, name="tasks", rich_help_panel=WORK)
app.add_typer(tools, name="tools", rich_help_panel=WORK)
app.add_typer(events, name="events", rich_help_panel=WATCH)
