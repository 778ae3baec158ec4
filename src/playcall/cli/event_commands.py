"""`playcall events …`: what is happening, and what has happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import USAGE, fail
from .listing import Limit

if TYPE_CHECKING:
    from ..models.cursor import Cursor
    from ..models.event import AnyEvent
    from ..realtime.items import Gap

__all__ = ["events"]

events = typer.Typer(help="Everything that happens, each event once and in order.", no_args_is_help=True)

DETAIL_CHARACTERS: Final = 200
"""Of an event's data, on a line for people; --json has all of it."""

Topic = Annotated[
    str,
    typer.Argument(
        metavar="TOPIC",
        help="runs, tasks, agents, playbooks or tools; or run:ID, task:ID, agent:ID for all of one.",
        autocompletion=lambda: ["runs", "tasks", "agents", "playbooks", "tools"],
    ),
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", metavar="PATTERN", help="Only events of these types, such as 'task.*'. Repeatable."),
]


@events.command()
def tail(
    topic: Topic = "runs",
    types: Types = None,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="CURSOR", help="start for all that are kept, head for those to come, or EPOCH:SEQ."
        ),
    ] = "head",
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Print events as they come, until the topic ends or Ctrl-C; across any disconnect, none lost and none twice.

    Example: playcall events tail tasks --type task.failed --json
    """
    start = _start(since)
    with connected(url, profile, explain=explain) as client:
        show = _shower(as_json)
        with client.events.subscribe(topic, types=types, start=start, on_gap="yield") as feed:
            for number, item in enumerate(feed, 1):
                show(item)
                if number == limit:
                    break


@events.command()
def history(
    topic: Topic = "runs",
    types: Types = None,
    since: Annotated[
        str, typer.Option("--since", metavar="CURSOR", help="start for all that are kept, or EPOCH:SEQ.")
    ] = "start",
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Print the events that are kept, the oldest first.

    Example: playcall events history run:run_1 --type 'run.step.*'
    """
    start = _start(since)
    if start == "head":
        fail(USAGE, "--since head is the end of history; playcall events tail prints what comes after it")
    with connected(url, profile, explain=explain) as client:
        show = _shower(as_json)
        for number, event in enumerate(client.events.history(topic, start=start, types=types), 1):
            show(event)
            if number == limit:
                break


def _start(since: str) -> Cursor | Literal["start", "head"]:
    if since == "start":
        return "start"
    if since == "head":
        return "head"
    from ..models.cursor import Cursor

    try:
        return Cursor.parse(since)
    except ValueError as error:
        fail(USAGE, f"--since is start, head or a cursor: {error}")


def _shower(as_json: bool) -> Callable[[AnyEvent | Gap], None]:
    from ..realtime.items import Gap
    from .tables import console, show_json

    out = console()

    def show(item: AnyEvent | Gap) -> None:
        if isinstance(item, Gap):
            said = f"events after {item.lost_after} are lost for good ({item.reason}); going on after {item.resume}"
            typer.echo(f"playcall: {said}", err=True)
        elif as_json:
            show_json(item)
        else:
            out.print(_line(item), soft_wrap=not out.is_terminal, no_wrap=True, overflow="ellipsis")

    return show


def _line(event: AnyEvent) -> object:
    from rich.text import Text

    from .run_picture import style_of
    from .terminal_text import one_line

    line = Text(f"{event.seq:>6} ", style="dim")
    line.append(f"{event.time.astimezone():%H:%M:%S} ")
    line.append(f"{one_line(event.type):<22} ", style=f"not dim {style_of(event.type)}".rstrip())
    line.append(_detail(event), style="not dim")
    return line


def _detail(event: AnyEvent) -> str:
    """What an event says, after whatever it is about; as much as a line takes."""
    from ..event_words import words_of
    from .terminal_text import one_line

    said = event.data if isinstance(event.data, dict) else event.data.model_dump(mode="json")
    data: dict[str, object] = said
    about = data.get("run_id") or data.get("task_id") or ""
    for inner in data.values():
        if isinstance(inner, dict) and "id" in inner:
            about = about or cast("dict[str, object]", inner)["id"]
    words = words_of(event)
    return one_line(words if about in ("", words) else f"{about}  {words}")[:DETAIL_CHARACTERS]
