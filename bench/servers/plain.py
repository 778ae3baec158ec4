"""Answers HTTP/1.1 with fixed bytes: `GET /item`, `GET /page`, `GET /large`, and anything sent to `/item` or `/large`.

Its own protocol over uvloop, because any framework would be slower than the fastest client.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

import uvloop
from bench.bodies import ITEM_JSON, LARGE_BYTES, PAGE_JSON

LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


def answer(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


ITEM: Final = answer(ITEM_JSON)
ANSWERS: Final = {
    b"/page": answer(PAGE_JSON),
    b"/large": answer(bytes(LARGE_BYTES), b"application/octet-stream"),
}


class Plain(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = 0
        self._chunked = False
        self._tail = b""
        self._answer = ITEM

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        if self._left or self._chunked:
            self._body(data)
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = self._head[:end], self._head[end + 4 :]
        self._head = b""
        method, path, _ = head.split(b" ", 2)
        self._answer = ITEM if method != b"GET" else ANSWERS.get(path, ITEM)
        if method == b"GET":
            self._reply()
            return
        self._chunked = CHUNKED.search(head) is not None
        length = LENGTH.search(head)
        self._left = 0 if length is None else int(length[1])
        if self._left or self._chunked:
            self._body(rest)
        else:
            self._reply()

    def _body(self, data: bytes) -> None:
        if self._chunked:
            self._tail = (self._tail + data)[-5:]
            if self._tail == b"0\r\n\r\n":
                self._tail, self._chunked = b"", False
                self._reply()
            return
        self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self._reply()

    def _reply(self) -> None:
        assert self._transport is not None
        self._transport.write(self._answer)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
