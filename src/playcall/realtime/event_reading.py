"""The frame that there are many of, from its text: events, each in the class of its type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec
from pydantic import ValidationError

from ..models.base import JsonObject
from ..models.event import AnyEvent, KnownEvent, UnknownEvent
from ..models.frames import Events
from ..models.ids import EventId
from ..models.struct import reader

__all__ = ["read_events"]


class _Entry(msgspec.Struct, gc=False):
    """An event whose payload waits until its type is known."""

    seq: int
    id: EventId
    time: datetime
    type: str
    data: msgspec.Raw
    terminal: bool = False


class _Frame(msgspec.Struct, gc=False):
    op: Literal["events"]
    sid: str
    prev: int
    to: int
    events: list[_Entry]
    head: int | None = None
    at_id: EventId | None = None


class _Kind(NamedTuple):
    """An event's class, and what reads its payload."""

    make: Callable[..., AnyEvent]
    read: Callable[[msgspec.Raw], Any]


def _kinds() -> Iterator[tuple[str, _Kind]]:
    for make in get_args(get_args(KnownEvent)[0]):
        of = {each.name: each.type for each in msgspec.structs.fields(make)}
        yield get_args(of["type"])[0], _Kind(make, reader(of["data"]))


_KINDS: Final = dict(_kinds())
_UNKNOWN: Final = (KeyError, msgspec.ValidationError, ValidationError)
"""A type that has no class, or a payload that does not fit it."""
_read_frame: Final = reader(_Frame)
_read_object: Final = reader(JsonObject)


def read_events(text: str | bytes) -> Events | None:
    """The frame that `text` is; None for every other text, also for one that begins like it and cannot be read.

    An event of a type that this version does not know is an `UnknownEvent`, and so is one whose payload does not fit.
    """
    try:
        frame = _read_frame(text)
        events = [*map(_event, frame.events)]
    except (ValueError, RecursionError):
        return None
    return Events(sid=frame.sid, prev=frame.prev, to=frame.to, events=events, head=frame.head, at_id=frame.at_id)


def _event(entry: _Entry) -> AnyEvent:
    type_ = entry.type
    try:
        make, read = _KINDS[type_]
        data = read(entry.data)
    except _UNKNOWN:
        make, data = UnknownEvent, _read_object(entry.data)
    return make(seq=entry.seq, id=entry.id, time=entry.time, type=type_, terminal=entry.terminal, data=data)
