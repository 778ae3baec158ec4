"""A topic's events from a place backwards: the log is read in spans before it, for as long as events are wanted.

A log may hold fifty thousand events, and only the last are looked at. Its entries have consecutive places, so the span
before a place can be asked for; how many of its entries are wanted is seen afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from playcall import Playcall
from playcall.errors import EventGapError
from playcall.models import AnyEvent, Cursor

__all__ = ["EventPage", "earlier_events", "head_of"]

SPAN: Final = 1_000
"""Entries that are asked for at once; the backend gives no more on a page."""
MOST_SPANS: Final = 20
"""Spans that one reading looks through, where few entries are wanted."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, oldest first; those at or before the place `before` were not looked at. With 0 there are none."""

    events: tuple[AnyEvent, ...]
    before: int


def earlier_events(
    client: Playcall,
    topic: str,
    epoch: str,
    before: int,
    *,
    types: Sequence[str] | None = None,
    want: int,
    wanted: Callable[[AnyEvent], bool] = lambda _: True,
) -> EventPage:
    """The last events at or before the place `before`: at least `want` if a bounded search finds them.

    Args:
        types: Patterns; the backend leaves out what matches none of them.
        wanted: What it says no to is left out, too.

    Raises:
        TopicForbiddenError: there is no such topic for this caller.
        RequestError: the backend could not be asked.
    """
    found: list[AnyEvent] = []
    for _ in range(MOST_SPANS):
        if before <= 0 or len(found) >= want:
            break
        after = max(0, before - SPAN)
        end = Cursor(epoch, before)
        try:
            events = list(client.events.history(topic, Cursor(epoch, after), end, types=types, page_size=SPAN))
        except EventGapError as gap:
            if not after < gap.resume.seq < before or gap.resume.epoch != epoch:
                return EventPage(tuple(found), 0)  # nothing of it is kept
            events = list(client.events.history(topic, gap.resume, end, types=types, page_size=SPAN))
            after = 0
        found = [event for event in events if wanted(event)] + found
        before = after
    return EventPage(tuple(found), before)


def head_of(client: Playcall, topic: str, types: tuple[str, ...] | None = None) -> Cursor | None:
    """The newest place that an open subscription to it has heard of; None where none has, as of a topic that has ended."""
    heard = [
        each.received
        for each in client.events.picture.subscriptions
        if each.topic == topic and each.types == types and each.received is not None
    ]
    return max(heard, key=lambda each: each.seq, default=None)
