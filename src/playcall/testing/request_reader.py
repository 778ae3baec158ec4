"""Finds the requests in what an HTTP/1.1 client sends: bytes in, parts of requests out, no I/O.

It understands as much of RFC 9112 as it takes to see where a request ends: a head, and a body whose length the head
gives. An upgrade, a body in chunks or after `Expect`, TLS, another protocol: from there on the connection is opaque, and
what it carries belongs to no request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["Part", "ProxiedRequest", "RequestReader"]

MAX_HEAD_BYTES: Final = 65_536
"""What is longer than this and still no head is not HTTP, or not for us."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_UNREADABLE: Final = ("Upgrade", "Transfer-Encoding", "Expect")
"""Headers after which the length of the body says too little."""


@dataclass(frozen=True, slots=True)
class ProxiedRequest:
    """The head of a request on its way to the upstream.

    `path` is as it was sent, escaped, with the query; `headers` are looked up without regard to case, and hold the
    credentials.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes, all of one request or of none. `request` is set where they end its head, `last` where they end it."""

    data: bytes
    request: ProxiedRequest | None = None
    last: bool = False


class RequestReader:
    """Reads one connection from its first byte. Parts come as soon as their bytes do: nothing is held back."""

    def __init__(self) -> None:
        self._head = bytearray()
        """What there is of a head that is not whole."""
        self._body_left = 0
        self._opaque = False

    def feed(self, data: bytes) -> Iterator[Part]:
        """The parts of `data`, in order; together they are `data`. To be used up before more is fed."""
        while data:
            request: ProxiedRequest | None = None
            if self._opaque:
                size, last = len(data), False
            elif self._body_left:
                size = min(len(data), self._body_left)
                self._body_left -= size
                last = not self._body_left
            else:
                size, request = self._read_head(data)
                last = request is not None and not self._body_left
            yield Part(data[:size], request, last)
            data = data[size:]

    def _read_head(self, data: bytes) -> tuple[int, ProxiedRequest | None]:
        """How much of `data` belongs to the head, and the request if that is all of it."""
        known = len(self._head)
        self._head += data
        end = self._head.find(_END_OF_HEAD, max(0, known - len(_END_OF_HEAD) + 1))
        if end < 0 and len(self._head) <= MAX_HEAD_BYTES:
            return len(data), None
        understood = None if end < 0 else _understood(self._head[:end].decode("latin-1"))
        self._head.clear()
        if understood is None:
            self._opaque = True
            return len(data), None
        request, self._body_left = understood
        return end + len(_END_OF_HEAD) - known, request


def _understood(head: str) -> tuple[ProxiedRequest, int] | None:
    """The request and the length of its body in bytes; None where the end of the request cannot be told."""
    line, *fields = head.split("\r\n")
    method, _, rest = line.partition(" ")
    path, _, version = rest.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or method == "CONNECT":
        return None
    headers: CIMultiDict[str] = CIMultiDict()
    for each in fields:
        name, colon, value = each.partition(":")
        if not colon:
            return None
        headers.add(name, value.strip())
    lengths = set(headers.getall("Content-Length", ["0"]))
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdecimal()) or any(name in headers for name in _UNREADABLE):
        return None
    return ProxiedRequest(method, path, CIMultiDictProxy(headers)), int(length)
