"""What a client's message says, and what is wrong with it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from playcall.models.frames import ClientFrame, ErrorFrame, Subscribe
from playcall.server.nul import NO_NUL, has_nul_within

from .filtering import type_filter

__all__ = ["problem_of", "read_frame"]

MAX_SID_LENGTH: Final = 128
MAX_LIMIT: Final = 2**53

_CLIENT_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)
_OPS: Final = frozenset({"hello", "subscribe", "credit", "unsubscribe", "auth", "ping", "pong"})


def read_frame(message: str | bytes) -> ClientFrame | ErrorFrame | None:
    """A frame, an answer to what is none, or None for an op that this version does not know."""
    if isinstance(message, bytes):
        return ErrorFrame(code="invalid_frame", message="frames are text, not binary")
    try:
        value: Any = from_json(message)
    except ValueError:
        return ErrorFrame(code="invalid_frame", message="a frame is a JSON object")
    if not isinstance(value, dict) or not isinstance(value.get("op"), str):  # pyright: ignore[reportUnknownMemberType] - it is any JSON
        return ErrorFrame(code="invalid_frame", message="a frame is a JSON object with op")
    if value["op"] not in _OPS:
        return None
    if has_nul_within(message, value):
        return ErrorFrame(id=_call_id(value), code="invalid_frame", message=NO_NUL)
    try:
        return _CLIENT_FRAME.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return ErrorFrame(
            id=_call_id(value),
            code="invalid_frame",
            message=f"{where}: {first['msg']}" if where else first["msg"],
        )


def _call_id(value: Any) -> int | None:
    call_id = value.get("id")
    return call_id if type(call_id) is int else None


def problem_of(frame: Subscribe) -> str | None:
    """Why this cannot be subscribed to, None if it can."""
    if not 1 <= len(frame.sid) <= MAX_SID_LENGTH:
        return f"a sid has 1 to {MAX_SID_LENGTH} characters"
    if not 0 <= frame.limit <= MAX_LIMIT:
        return "limit is a number of events, 0 or more"
    if not isinstance(frame.from_, str):
        try:
            frame.from_.cursor  # noqa: B018 - it checks itself
        except ValueError as error:
            return str(error)
    try:
        type_filter(frame.types)
    except ValueError as error:
        return str(error)
    return None
