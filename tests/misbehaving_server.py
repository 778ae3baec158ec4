"""A small HTTP server on a real socket that does what its script says, however wrong that is.

    async with MisbehavingServer(lambda request: ok({"a": 1})) as server:
        ... server.url, server.requests, server.connections

A script is a function `(Request) -> act`; an act is an async function that is given the `Exchange` and writes, waits,
breaks off or resets as it likes. `ok`, `answer`, `close`, `reset`, `raw`, `silence` … make the usual ones. With a
`greeting`, the server says that at once on every connection and never reads a request.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from multidict import CIMultiDict


@dataclass(slots=True)
class Request:
    """What came, as it came. `number` counts from 1 over the whole server, `on_connection` over its connection."""

    number: int
    on_connection: int
    connection: int
    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass(slots=True)
class Exchange:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep: bool = True

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Closes with a RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep = False


Act = Callable[[Exchange], Awaitable[None]]
Script = Callable[[Request], Act]


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Because", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def answer(
    status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None, *, then_close: bool = False
) -> Act:
    async def act(exchange: Exchange) -> None:
        given = {"Content-Length": str(len(body)), **(headers or {})}
        if then_close:
            exchange.keep = False
        await exchange.write(head(status, given) + body)

    return act


def ok(value: Any, status: int = 200, headers: dict[str, str] | None = None, *, then_close: bool = False) -> Act:
    return answer(
        status,
        json.dumps(value).encode(),
        {"Content-Type": "application/json", **(headers or {})},
        then_close=then_close,
    )


def redirect(to: str, status: int = 307) -> Act:
    return answer(status, b"", {"Location": to})


def close() -> Act:
    async def act(exchange: Exchange) -> None:
        exchange.keep = False

    return act


def reset() -> Act:
    async def act(exchange: Exchange) -> None:
        exchange.reset()

    return act


def said(data: bytes) -> Act:
    """These bytes, and then the next request."""

    async def act(exchange: Exchange) -> None:
        await exchange.write(data)

    return act


def raw(data: bytes, *, then_reset: bool = False) -> Act:
    """These bytes, then the end."""

    async def act(exchange: Exchange) -> None:
        await exchange.write(data)
        exchange.keep = False
        if then_reset:
            await asyncio.sleep(0.01)  # let what was written arrive: a reset overtakes it
            exchange.reset()

    return act


def half(body: bytes = b'{"name": "abcdefgh"}') -> Act:
    return raw(
        head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}) + body[: len(body) // 2]
    )


def repeated(piece: bytes, *, first: bytes = b"", pause_seconds: float = 0.005) -> Act:
    """These bytes, then the piece again and again until the client leaves."""

    async def act(exchange: Exchange) -> None:
        await exchange.write(first)
        while True:
            await exchange.write(piece)
            await asyncio.sleep(pause_seconds)

    return act


def late(seconds: float, then: Act) -> Act:
    async def act(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await then(exchange)

    return act


def silence(first: bytes = b"") -> Act:
    """These bytes, then nothing until the client leaves."""

    async def act(exchange: Exchange) -> None:
        if first:
            await exchange.write(first)
        await exchange.reader.read()
        exchange.keep = False

    return act


async def stop_accepting(server: asyncio.Server) -> None:
    """Closes the listener, and leaves no socket behind.

    What was accepted this moment becomes a connection in the loop's next turn. If the server were closed by then, asyncio
    (3.11) would lose that socket, unclosed, in an assertion that it does not show.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)
    server.close()


@dataclass(slots=True)
class MisbehavingServer:
    script: Script
    read_bodies: bool = True
    greeting: bytes | None = None
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0
    open_now: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        await stop_accepting(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """One a connection, running on the loop of the test."""
        return frozenset(self._tasks)

    async def wait_until_nobody_is_connected(self) -> None:
        await self.wait_until_at_most(0)

    async def wait_until_at_most(self, connections: int) -> None:
        """Until it has seen the client leave all others."""
        async with asyncio.timeout(5):
            while self.open_now > connections:
                await asyncio.sleep(0.005)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not only in the task: one that is cancelled before its first step runs none of its code.
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        connection, on_connection = self.connections, 0
        exchange = Exchange(reader, writer)
        try:
            if self.greeting is not None:
                await silence(self.greeting)(exchange)
            while exchange.keep:
                request_line = await reader.readline()
                if not request_line.strip():
                    return
                method, target, _ = request_line.decode().split(" ", 2)
                headers: CIMultiDict[str] = CIMultiDict()
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers.add(name.strip(), value.strip())
                length = int(headers.get("Content-Length", "0"))
                body = await reader.readexactly(length) if length and self.read_bodies else b""
                if self.read_bodies and headers.get("Transfer-Encoding") == "chunked":
                    body = await _chunked(reader)
                on_connection += 1
                request = Request(len(self.requests) + 1, on_connection, connection, method, target, headers, body)
                self.requests.append(request)
                await self.script(request)(exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left: that is its right
        finally:
            self.open_now -= 1
            writer.close()


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks (RFC 9112 section 7.1), without trailers."""
    body = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
