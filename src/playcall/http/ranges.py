"""Parts of a body: which tag one can be asked by, and whether what comes is the part that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["end_of", "length_of", "place_of", "strong_etag"]

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")


def place_of(status: int, headers: Mapping[str, str], asked: int, etag: str | None, total: int | None) -> int | None:
    """Where in the file an answer's body begins; None if it is of no use.

    Anything but a 206 is the whole, also where a part was asked for: it has changed meanwhile, or the backend gives none.
    A part must have been asked for, and be all that was missing, of the same content, as it is (RFC 9110 sections 14.4 and
    15.3.7).

    Args:
        asked: From which byte on it was asked for; 0 for the whole.
        etag: Of what the part is wanted.
        total: Bytes of the whole, None where that is not known.
    """
    if status != 206:
        return 0
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None or not asked or etag is None or "Content-Encoding" in headers or headers.get("ETag", etag) != etag:
        return None
    first, last, whole = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    known = total if total is not None else whole
    agreed = last + 1 == known and whole in (None, known)  # of an unknown whole it may be the middle
    return asked if first == asked and agreed else None


def end_of(headers: Mapping[str, str]) -> int | None:
    """Where a part ends, that `place_of` took: the whole with it."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    return None if found is None else int(found[2]) + 1


def length_of(headers: Mapping[str, str]) -> int | None:
    """Bytes of the whole body, None where the backend does not say, or packed it (`Content-Encoding`)."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() and "Content-Encoding" not in headers else None


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """The tag that parts can be asked by: a weak one, or one of packed content, promises no equal bytes."""
    etag = headers.get("ETag", "")
    strong = len(etag) > 1 and etag[0] == etag[-1] == '"'
    return etag if strong and "Content-Encoding" not in headers else None
