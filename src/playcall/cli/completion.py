"""Ids for the shell's completion, where a backend answers at once; where none does, there is nothing to complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import typer

if TYPE_CHECKING:
    from ..client import Playcall
    from .finding import Named

__all__ = ["agent_ids", "playbook_ids", "profile_names", "run_ids", "task_ids", "tool_ids"]

Completions: TypeAlias = list[tuple[str, str]]
"""An id, and what a shell may show beside it."""

DEADLINE_SECONDS: Final = 0.3
"""For all of it: somebody has pressed Tab, and waits."""
MOST: Final = 50


def playbook_ids(ctx: typer.Context, incomplete: str) -> Completions:
    return _asked(
        ctx, incomplete, lambda client: ((each.id, each) for each in client.playbooks.list(newest_first=True))
    )


def agent_ids(ctx: typer.Context, incomplete: str) -> Completions:
    return _asked(ctx, incomplete, lambda client: ((each.id, each) for each in client.agents.list(newest_first=True)))


def tool_ids(ctx: typer.Context, incomplete: str) -> Completions:
    return _asked(ctx, incomplete, lambda client: ((each.id, each) for each in client.tools.list(newest_first=True)))


def run_ids(ctx: typer.Context, incomplete: str) -> Completions:
    def runs(client: Playcall) -> Iterable[tuple[str, str]]:
        return (
            (each.id, f"{each.status} {each.playbook_name}")
            for each in client.runs.list(newest_first=True, max_items=MOST)
        )

    return _asked(ctx, incomplete, runs)


def task_ids(ctx: typer.Context, incomplete: str) -> Completions:
    def tasks(client: Playcall) -> Iterable[tuple[str, str]]:
        return ((each.id, each.operation) for each in client.tasks.list(newest_first=True, max_items=MOST))

    return _asked(ctx, incomplete, tasks)


def profile_names(incomplete: str) -> list[str]:
    from ..errors import ConfigurationError
    from .profiles import load

    try:
        return [name for name in load().by_name if name.startswith(incomplete)]
    except ConfigurationError:
        return []


def _asked(
    ctx: typer.Context, incomplete: str, ids: Callable[[Playcall], Iterable[tuple[str, Named | str]]]
) -> Completions:
    from rich.markup import escape

    from ..client import Playcall
    from ..deadline import deadline
    from ..errors import PlaycallError
    from .target import resolve
    from .terminal_text import one_line

    found: Completions = []
    # Where it fails, or takes too long, what came before is offered all the same.
    with suppress(PlaycallError):
        target = resolve(ctx.params.get("url"), ctx.params.get("profile"))
        with deadline(DEADLINE_SECONDS), Playcall(target.url, auth=target.auth) as client:
            for each, named in ids(client):
                if each.startswith(incomplete):
                    # Typer reads what stands beside an id as Rich's markup.
                    found.append((each, escape(one_line(named if isinstance(named, str) else named.name))))
                if len(found) == MOST:
                    break
    return found
