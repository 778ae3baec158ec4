"""Bodies that were packed on the way (`Content-Encoding`, RFC 9110 section 8.4), unpacked so that a cut-off one is noticed.

aiohttp would unpack them itself, and take the first half of a gzip body for all of it.
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["ACCEPTED", "PackingError", "Unpacking", "is_packed"]

ACCEPTED: Final = "gzip, deflate"
_GZIP: Final = 16 + zlib.MAX_WBITS


class PackingError(Exception):
    """The body is not what its encoding says, or not all of it. The text is for people."""


def is_packed(encoding: str | None) -> bool:
    """Whether it is an encoding that is unpacked here; another, which nobody asked for, is left as it is."""
    return encoding is not None and encoding.strip().lower() in ("gzip", "x-gzip", "deflate")


class Unpacking:
    """One body, piece by piece: `feed` each, then `end`."""

    def __init__(self, encoding: str) -> None:
        self._gzip = "gzip" in encoding.lower()
        self._unpacker = zlib.decompressobj(_GZIP) if self._gzip else None
        self._fed = False

    def feed(self, data: bytes) -> bytes:
        """What the piece unpacks to. Raises: PackingError."""
        if not data:
            return b""
        self._fed = True
        if self._unpacker is None:
            # Some send deflate bare, without the wrapping of RFC 1950 that it should have.
            self._unpacker = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
        unpacked = b""
        try:
            while data:
                if self._unpacker.eof:
                    if not self._gzip:
                        raise PackingError("more came than the packed body")
                    self._unpacker = zlib.decompressobj(_GZIP)  # members follow each other (RFC 1952 section 2.2)
                unpacked += self._unpacker.decompress(data)
                data = self._unpacker.unused_data
        except zlib.error:
            raise PackingError("its packed body cannot be unpacked") from None
        return unpacked

    def end(self) -> None:
        """The body has ended. Raises: PackingError: in the middle."""
        if self._fed and self._unpacker is not None and not self._unpacker.eof:
            raise PackingError("its packed body broke off")
