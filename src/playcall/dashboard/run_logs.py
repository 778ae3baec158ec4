"""A run's log lines, from their end backwards."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from playcall import Playcall
from playcall.dashboard.event_log import earlier_events
from playcall.models import AnyEvent, Cursor, LogLevel, LogLine
from playcall.models.event import RunLogData
from playcall.models.topic import run_topic

__all__ = ["LEVELS", "LogPage", "earlier_lines", "hidden_below", "log_line", "newest_lines"]

LEVELS: Final = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR)
NEWEST: Final = 300
"""Lines that a page begins with."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines, oldest first; those before the place `before` were not looked at. With 0 there are none."""

    lines: tuple[LogLine, ...]
    before: int


def newest_lines(client: Playcall, run_id: str, cursor: Cursor) -> LogPage:
    """What had been logged last at `cursor`. Raises: as `history`, but not for what is not kept any more."""
    return earlier_lines(client, run_id, cursor.epoch, cursor.seq, want=NEWEST)


def earlier_lines(
    client: Playcall, run_id: str, epoch: str, before: int, *, hidden: Collection[str] = (), want: int = NEWEST
) -> LogPage:
    """The last lines at or before the place `before`: at least `want` if a bounded search finds them.

    Args:
        hidden: Levels that do not count.
    """
    page = earlier_events(
        client,
        run_topic(run_id),
        epoch,
        before,
        types=["run.log"],
        want=want,
        wanted=lambda event: _shown(event, hidden),
    )
    return LogPage(tuple(line for event in page.events if (line := log_line(event)) is not None), page.before)


def _shown(event: AnyEvent, hidden: Collection[str]) -> bool:
    return isinstance(event.data, RunLogData) and event.data.level not in hidden


def log_line(event: AnyEvent) -> LogLine | None:
    """None for an event that is no line."""
    data = event.data
    if not isinstance(data, RunLogData):
        return None
    return LogLine(
        seq=event.seq, at=event.time, level=data.level, message=data.message, step_id=data.step_id, task_id=data.task_id
    )


def hidden_below(level: LogLevel) -> frozenset[str]:
    """The levels that are not shown from this one on. A level that is not known is never hidden."""
    return frozenset(str(each) for each in LEVELS[: LEVELS.index(level)])
