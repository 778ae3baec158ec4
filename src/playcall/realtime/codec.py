"""Frames to and from their text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated, TypeAlias, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..models.frames import KnownServerFrame, RareServerFrame, UnknownFrame
from .effects import SentFrame
from .event_reading import read_events

__all__ = ["ServerFrame", "UnreadableFrameError", "decode", "decode_all", "encode"]

ServerFrame: TypeAlias = KnownServerFrame | UnknownFrame


class UnreadableFrameError(ValueError):
    """A frame that breaks the contract: no JSON object with an `op`, or a known `op` with a field missing or wrong.

    `sid` names the subscription that it was for, where it begins like a frame that has one.
    """

    def __init__(self, message: str, *, sid: str | None = None) -> None:
        super().__init__(message)
        self.sid = sid


_SID = re.compile(r'"sid"\s*:\s*"([^"\\]*)"')
_SID_WITHIN = 200
"""Characters from the beginning of a frame; what comes later may be somebody's data."""


# Left to right: smart mode would also try the second for every frame that the first has read.
_RareFrame: TypeAlias = Annotated[RareServerFrame | UnknownFrame, Field(union_mode="left_to_right")]


@cache
def _rare_frames() -> TypeAdapter[RareServerFrame | UnknownFrame]:
    return TypeAdapter(_RareFrame)


@cache
def _known_ops() -> frozenset[str]:
    models: tuple[type[BaseModel], ...] = get_args(get_args(RareServerFrame)[0])
    return frozenset({"events", *(model.model_fields["op"].default for model in models)})


def decode(text: str | bytes) -> ServerFrame:
    """The frame that `text` is, events and their payloads included.

    Raises:
        UnreadableFrameError: see there. The message names the fault without showing the frame.
    """
    events = read_events(text)
    return _rare(text) if events is None else events


def decode_all(texts: Sequence[str]) -> list[ServerFrame | UnreadableFrameError]:
    """What `decode` makes of each."""
    return [_rare_or_error(text) if (events := read_events(text)) is None else events for text in texts]


def _rare(text: str | bytes) -> ServerFrame:
    try:
        frame = _rare_frames().validate_json(text, extra="ignore")
    except ValidationError as error:
        raise UnreadableFrameError(_fault(error), sid=_sid(text)) from None
    if isinstance(frame, UnknownFrame) and frame.op in _known_ops():
        raise UnreadableFrameError(f"a frame {frame.op!r} lacks a field, or has one of the wrong type", sid=_sid(text))
    return frame


def _rare_or_error(text: str) -> ServerFrame | UnreadableFrameError:
    try:
        return _rare(text)
    except UnreadableFrameError as error:
        return error


def _sid(text: str | bytes) -> str | None:
    """The `sid` of a frame that cannot be parsed."""
    head = text[:_SID_WITHIN]
    found = _SID.search(head if isinstance(head, str) else head.decode("utf-8", "replace"))
    return None if found is None else found[1]


def _fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return "a frame is not JSON"
    return "a frame is not an object with an `op`"


def encode(frame: SentFrame) -> str:
    return frame.model_dump_json(exclude_none=True)
