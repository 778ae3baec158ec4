"""Frames as text. Events go out as the log keeps them: their `data` is copied, never parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import BaseModel

from playcall.server.log import StoredEvent

from .filtering import TypeFilter

__all__ = ["EventsFrame", "encode", "events_frames"]

TARGET_FRAME_BYTES = 262_144
"""A frame is closed when it has grown beyond this: with one event of 64 KiB more it stays well below `max_frame_bytes`."""


@dataclass(frozen=True, slots=True)
class EventsFrame:
    """An `events` frame: the matching events in (`prev`, `to`] are the `count` ones in `text`."""

    text: str
    to: int
    count: int


_quoted = lru_cache(maxsize=200)(json.dumps)
"""There are few types of events."""


def encode(frame: BaseModel) -> str:
    """Any other frame; members that are None are left out."""
    return frame.model_dump_json(exclude_none=True)


def events_frames(
    sid: str, prev: int, events: Sequence[StoredEvent], wanted: TypeFilter, *, credit: int, head: int
) -> Iterator[EventsFrame]:
    """The frames for consecutive `events` that follow `prev`, while credit lasts; `head` is the log's last.

    What the filter leaves out costs no credit and moves `to`; without credit the frames end before the first event that
    matches.
    """
    parts: list[str] = []
    size = 0
    start = reached = prev
    left_out: str | None = None
    """The id of the last entry, where the filter left it out: the client learns its id from the frame."""
    for event in events:
        if wanted(event.type):
            if credit <= 0:
                break
            credit -= 1
            part = _event(event)
            parts.append(part)
            size += len(part) if part.isascii() else len(part.encode())
            left_out = None
        else:
            left_out = event.id
        reached = event.seq
        if size >= TARGET_FRAME_BYTES:
            yield _frame(sid, start, reached, parts, head, left_out)
            parts, size, start = [], 0, reached
    if reached > start:
        yield _frame(sid, start, reached, parts, head, left_out)


def _frame(sid: str, prev: int, to: int, parts: list[str], head: int, at_id: str | None) -> EventsFrame:
    at = "" if at_id is None else f',"at_id":"{at_id}"'
    text = (
        f'{{"op":"events","sid":{json.dumps(sid)},"prev":{prev},"to":{to},"head":{head}{at}'
        f',"events":[{",".join(parts)}]}}'
    )
    return EventsFrame(text, to, len(parts))


def _event(event: StoredEvent) -> str:
    time = event.time.isoformat().replace("+00:00", "Z")
    terminal = ',"terminal":true' if event.terminal else ""
    return (
        f'{{"seq":{event.seq},"id":"{event.id}","time":"{time}","type":{_quoted(event.type)}{terminal}'
        f',"data":{event.data}}}'
    )
