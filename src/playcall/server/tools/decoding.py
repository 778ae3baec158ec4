"""Text from bytes in an encoding that somebody else names."""

from __future__ import annotations

import codecs
from typing import Final

__all__ = ["text_from"]

_ENDLESS: Final = frozenset(["idna", "punycode"])
"""Of names, not of texts: they take the square of the length, minutes for some megabytes, and cannot be interrupted."""
_MAX_NAME: Final = 40


def text_from(raw: bytes, encoding: str, *, errors: str = "strict") -> str:
    """The text, in time that goes by its length.

    Raises:
        LookupError: No encoding of texts is called that.
        UnicodeError: It is not text in that encoding.
    """
    if len(encoding) > _MAX_NAME or not encoding.isascii() or "\0" in encoding:
        raise LookupError("no encoding is called that")
    if codecs.lookup(encoding).name in _ENDLESS:
        raise LookupError(f"{encoding} is not an encoding of texts")
    return raw.decode(encoding, errors)
