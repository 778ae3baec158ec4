"""A run's log lines from their end backwards: the log is read in spans before a place, for as long as lines are wanted.

A run may have logged fifty thousand lines among other events, and only the last are looked at. The log's entries have
consecutive places, so the span before a place can be asked for; how many of its entries are lines is seen afterwards.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from playcall import Playcall
from playcall.errors import EventGapError
from playcall.models import AnyEvent, Cursor, LogLevel, LogLine
from playcall.models.event import RunLogData
from playcall.models.topic import run_topic

__all__ = ["LEVELS", "LogPage", "earlier_lines", "hidden_below", "log_line", "newest_lines"]

LEVELS: Final = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR)
SPAN: Final = 1_000
"""Entries that are asked for at once; the backend gives no more on a page."""
MOST_SPANS: Final = 20
"""Spans that one reading looks through, where few entries are lines that are wanted."""
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
    found: list[LogLine] = []
    topic = run_topic(run_id)
    for _ in range(MOST_SPANS):
        if before <= 0 or len(found) >= want:
            break
        after = max(0, before - SPAN)
        try:
            events = client.events.history(
                topic, Cursor(epoch, after), Cursor(epoch, before), types=["run.log"], page_size=SPAN
            )
            lines = [line for event in events if (line := log_line(event)) is not None]
        except EventGapError as gap:
            if not after < gap.resume.seq < before or gap.resume.epoch != epoch:
                return LogPage(tuple(found), 0)  # nothing of it is kept
            events = client.events.history(topic, gap.resume, Cursor(epoch, before), types=["run.log"], page_size=SPAN)
            lines = [line for event in events if (line := log_line(event)) is not None]
            after = 0
        found = [line for line in lines if line.level not in hidden] + found
        before = after
    return LogPage(tuple(found), before)


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
