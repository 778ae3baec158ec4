"""Frames of events that came at once, taken for one where each goes on from the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

from ..models.event import AnyEvent
from ..models.frames import Events
from ..models.ids import EventId

__all__ = ["Run", "Stretch", "run_of"]


class Stretch(Protocol):
    """What `Events` says: the matching events in (`prev`, `to`] are exactly these."""

    @property
    def sid(self) -> str: ...
    @property
    def prev(self) -> int: ...
    @property
    def to(self) -> int: ...
    @property
    def events(self) -> Sequence[AnyEvent]: ...
    @property
    def head(self) -> int | None: ...
    @property
    def id_at_end(self) -> EventId | None: ...


class Run(NamedTuple):
    """What several frames say together."""

    sid: str
    prev: int
    to: int
    events: Sequence[AnyEvent]
    head: int | None
    id_at_end: EventId | None


def run_of(frames: Sequence[object]) -> Run | None:
    """None unless all are events of one subscription without a seam; a topic's terminal event may only be the last."""
    if {*map(type, frames)} != {Events}:
        return None
    run = cast("Sequence[Events]", frames)
    sid, prev = run[0].sid, run[0].prev
    to, head, over = prev, None, False
    events: list[AnyEvent] = []
    for frame in run:
        if frame.prev != to or frame.to < to or frame.sid != sid or over:
            return None
        to = frame.to
        head = frame.head or head
        if frame.events:
            events += frame.events
            over = events[-1].terminal
    id_at_end = events[-1].id if events and events[-1].seq == to else run[-1].at_id
    return Run(sid, prev, to, events, head, id_at_end)
