"""Which part of a content a request asks for (RFC 9110 section 14)."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from playcall.server.problems import ApiError

__all__ = ["asked_part"]

_RANGE = re.compile(r"bytes[ \t]*=(.*)", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
_DIGITS = 18


def asked_part(headers: Headers, size_bytes: int, etag: str) -> range | None:
    """The places of the bytes asked for; None for the whole content.

    That is also for several parts at once, and for units that nobody knows: both may, or must, be passed over. So is a
    `Range` that was for another content: only its ETag says so, a date is too coarse (RFC 9110 section 13.1.5).

    Raises:
        ApiError: 416 `range_not_satisfiable`, with how long the content is; 400 `invalid_header`.
    """
    asked = _RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or headers.get("if-range", etag).strip() != etag:
        return None
    parts = [part.strip() for part in asked[1].split(",") if part.strip()]
    if len(parts) > 1:
        return None
    found = _PART.fullmatch(parts[0]) if parts else None
    if found is None or not any(found.groups()):
        raise _unreadable()
    first, last = (_number(digits) for digits in found.groups())
    if first is None:
        first, last = max(0, size_bytes - (last or 0)), size_bytes
    elif last is not None and last < first:
        raise _unreadable()
    part = range(first, size_bytes if last is None else min(last + 1, size_bytes))
    if not part:
        raise ApiError(
            416,
            "range_not_satisfiable",
            "the file has no such part; Content-Range says how long it is",
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    return part


def _number(digits: str) -> int | None:
    """Larger than any content where it has more digits than such a number can have: they cost time to read."""
    digits = digits.lstrip("0") or digits[:1]
    return None if not digits else int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def _unreadable() -> ApiError:
    return ApiError(400, "invalid_header", "this Range cannot be read; try bytes=FIRST-LAST")
