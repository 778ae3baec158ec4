"""`playcall status`: how the connection to a backend is, now or from now on."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import FAILED

if TYPE_CHECKING:
    from ..client import Playcall
    from ..status import Status

__all__ = ["status"]

ANSWER_SECONDS: Final = 3.0
"""What one look may take."""
PROBE_SECONDS: Final = 5.0
"""How soon a silence is looked into; while events' heartbeats come, nothing is asked."""
REFRESHES_A_SECOND: Final = 2
"""Of the figures on a terminal, which are this process's own; they cost no request."""


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show each change as it happens.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Show whether the backend answers, and how fast. Without --watch the exit status is 1 where it does not.

    Example: playcall status --watch
    """
    with connected(url, profile, explain=explain) as client:
        if watch:
            _follow(client, as_json)
        elif not _look(client, as_json):
            raise typer.Exit(FAILED)


def _look(client: Playcall, as_json: bool) -> bool:
    from ..errors import AuthenticationError, DeadlineExceededError
    from ..status import ConnectionState
    from .tables import show_fields, show_json

    try:
        client.status.wait_until_ready(ANSWER_SECONDS)
        client.account.me()  # it may be ready, and still not for these credentials
    except (AuthenticationError, DeadlineExceededError):
        pass  # the picture shows it
    picture = client.status.current
    if as_json:
        show_json(_facts(client.url, picture))
    else:
        show_fields(_fields(client.url, picture))
    return picture.state is ConnectionState.ONLINE


def _follow(client: Playcall, as_json: bool) -> None:
    from .tables import console, show_json

    # A subscription, so that the events' connection is part of the picture, and its heartbeats keep the picture true.
    client.events.on("*", _nothing, topic="runs", wait=False)
    with client.status.monitor(PROBE_SECONDS):
        out = console()
        if as_json or not out.is_terminal:
            for picture in client.status.changes():
                if as_json:
                    show_json(_facts(client.url, picture))
                else:
                    typer.echo(_line(picture))
            return
        from rich.live import Live
        from rich.table import Table

        def drawn() -> Table:
            from .tables import fields_table

            return fields_table(_fields(client.url, client.status.current))

        with Live(get_renderable=drawn, console=out, refresh_per_second=REFRESHES_A_SECOND) as live:
            for _ in client.status.changes():
                live.refresh()


def _nothing(event: object) -> None:
    """What happens to runs is not what is asked; that the events come is."""


def _facts(url: str, picture: Status) -> dict[str, object]:
    facts: dict[str, object] = {"url": url, **dataclasses.asdict(picture)}
    if math.isinf(picture.retry_tokens):
        facts["retry_tokens"] = None  # JSON has no infinity
    return facts


def _fields(url: str, picture: Status) -> dict[str, object]:
    return {
        "backend": url,
        "state": picture.state,
        "since": picture.since,
        "latency": _latency(picture),
        "answered": None if picture.success_rate is None else f"{picture.success_rate:.0%}",
        "events": picture.realtime,
        "reconnects": picture.reconnects or None,
        "last error": picture.last_error,
    }


def _latency(picture: Status) -> str | None:
    if picture.latency_p50_ms is None or picture.latency_p95_ms is None:
        return None
    return f"{picture.latency_p50_ms:.1f} ms; p95 {picture.latency_p95_ms:.1f} ms"


def _line(picture: Status) -> str:
    from .terminal_text import one_line

    parts = [picture.since.astimezone().strftime("%H:%M:%S"), picture.state, _latency(picture) or ""]
    if picture.last_error and picture.state != "online":
        parts.append(picture.last_error)
    return one_line("  ".join(part for part in parts if part))
