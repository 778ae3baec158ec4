"""Frames to and from their text, each in one pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..models.frames import KnownServerFrame, UnknownFrame
from .effects import SentFrame

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
_AnyFrame: TypeAlias = Annotated[ServerFrame, Field(union_mode="left_to_right")]

# An event's own words are seldom another's: looking each up among those before costs more than making it.
_READING = ConfigDict(cache_strings="keys")


@cache
def _read() -> Callable[..., ServerFrame]:
    adapter: TypeAdapter[ServerFrame] = TypeAdapter(_AnyFrame, config=_READING)
    adapter.rebuild()  # deferred with the models; what is called below must not look whether it has been
    return adapter.validator.validate_json


@cache
def _read_all() -> Callable[..., list[ServerFrame]]:
    adapter: TypeAdapter[list[ServerFrame]] = TypeAdapter(list[_AnyFrame], config=_READING)
    adapter.rebuild()
    return adapter.validator.validate_json


@cache
def _known_ops() -> frozenset[str]:
    union = get_args(KnownServerFrame)[0]
    models: tuple[type[BaseModel], ...] = get_args(union)
    return frozenset(get_args(model.model_fields["op"].annotation)[0] for model in models)


def decode(text: str | bytes) -> ServerFrame:
    """The frame that `text` is, events and their payloads included.

    Raises:
        UnreadableFrameError: see there. The message names the fault without showing the frame.
    """
    try:
        frame = _read()(text, extra="ignore")
    except ValidationError as error:
        raise UnreadableFrameError(_fault(error), sid=_sid(text)) from None
    if isinstance(frame, UnknownFrame) and frame.op in _known_ops():
        raise UnreadableFrameError(f"a frame {frame.op!r} lacks a field, or has one of the wrong type", sid=_sid(text))
    return frame


def decode_all(texts: Sequence[str]) -> list[ServerFrame | UnreadableFrameError]:
    """What `decode` makes of each. Many small frames cost less when the parser is called once."""
    if len(texts) > 1:
        try:
            frames = _read_all()(f"[{','.join(texts)}]", extra="ignore")
        except ValidationError:
            pass  # some of them can be read: each by itself then
        else:
            # A text with two frames is none; and a known kind that was not read as such, here as in `decode`.
            if len(frames) == len(texts) and UnknownFrame not in map(type, frames):
                return [*frames]
    return [*map(_decode_or_error, texts)]


def _decode_or_error(text: str) -> ServerFrame | UnreadableFrameError:
    try:
        return decode(text)
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
