"""Bodies that were packed on the way (`Content-Encoding`, RFC 9110 section 8.4), unpacked so that a cut-off one is noticed.

aiohttp would unpack them itself, and take the first half of a gzip body for all of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

__all__ = ["ACCEPTED", "PIECE_BYTES", "PackingError", "Unpacking", "is_packed"]

ACCEPTED: Final = "gzip"
PIECE_BYTES: Final = 1 << 20
"""What is unpacked in one go, some milliseconds' work: a byte of gzip can be a thousand unpacked."""
_SLICE_BYTES: Final = 1 << 16
"""Zlib copies what it has not come to, each time: of all of a large body, that would be most of the work."""
_GZIP: Final = 16 + zlib.MAX_WBITS


class PackingError(Exception):
    """The body is not what its encoding says, or not all of it. The text is for people."""


def is_packed(encoding: str | None) -> bool:
    """Whether it is an encoding that is unpacked here; another, which nobody asked for, is left as it is."""
    return encoding is not None and encoding.strip().lower() in ("gzip", "x-gzip")


class Unpacking:
    """One body, piece by piece: `feed` each, then `end`."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(_GZIP)
        self._fed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the piece unpacks to, in pieces of at most `PIECE_BYTES`, each made when asked for. Raises: PackingError."""
        for at in range(0, len(data), _SLICE_BYTES):
            left = data[at : at + _SLICE_BYTES]
            while left:
                self._fed = True
                if self._unpacker.eof:
                    self._unpacker = zlib.decompressobj(_GZIP)  # members follow each other (RFC 1952 section 2.2)
                try:
                    unpacked = self._unpacker.decompress(left, PIECE_BYTES)
                except zlib.error:
                    raise PackingError("its packed body cannot be unpacked") from None
                left = self._unpacker.unconsumed_tail or self._unpacker.unused_data
                if unpacked:
                    yield unpacked

    def end(self) -> None:
        """The body has ended. Raises: PackingError: in the middle."""
        if self._fed and not self._unpacker.eof:
            raise PackingError("its packed body broke off")
