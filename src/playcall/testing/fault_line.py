"""The sockets of a fault proxy: its listener and its connections, on one event loop.

A `Line` listens, and has a `Link` for each client. Their methods are for the loop's thread; `FaultProxy` is for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final, Literal, Never

from .request_reader import Part, ProxiedRequest, RequestReader

__all__ = ["Decide", "Direction", "Line", "Loss", "opened"]

Direction = Literal["up", "down", "both"]
"""`up` is what the client sends, `down` what the upstream answers."""
Loss = Literal["before", "after"]
"""Whether an answer is lost before the upstream gets its request, or after the upstream has done what it asks."""
Decide = Callable[[ProxiedRequest], Loss | None]

CHUNK_BYTES: Final = 65_536
"""What one direction of one connection holds in memory at the most."""
BACKLOG: Final = 256
INTERIM: Final = b"HTTP/1.1 1"
"""How what comes before an answer begins (RFC 9110 section 15.2)."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: close sends RST (RFC 9293 section 3.10.7.4), and drops what is unsent."""


class Line:
    """The listening side, and the faults that hold for all links."""

    def __init__(self, upstream: tuple[str, int], reserved: socket.socket) -> None:
        self.upstream = upstream
        # Bound and never listening, it keeps the port ours while connections are refused.
        self._reserved = reserved
        self.port: int = reserved.getsockname()[1]
        self.links: set[Link] = set()
        self.taken = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.answers_lost = 0
        self.failure: Exception | None = None
        """What a function that decides raised first."""
        self.delay_seconds = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._cut_after: tuple[int, Direction] | None = None
        self._cuts_left: int | None = None
        self._decide: Decide | None = None
        self._accepting: asyncio.Task[None] | None = None

    def listen(self) -> None:
        if self._accepting is None:
            self._accepting = asyncio.create_task(self._accept(_bound(self.port)), name="fault-proxy-accept")

    async def refuse(self) -> None:
        if self._accepting is not None:
            await _ended(self._accepting)
            self._accepting = None

    async def cut(self) -> int:
        links = list(self.links)
        for link in links:
            await link.abort()
        return len(links)

    async def set_cut_after(self, count: int, direction: Direction, times: int | None) -> None:
        self._cut_after, self._cuts_left = (count, direction), times
        for link in self.links:
            link.cut_after = self._cut_after

    async def set_losses(self, decide: Decide) -> None:
        self._decide = decide

    async def set_delay(self, seconds: float) -> None:
        self.delay_seconds = seconds

    async def hold(self) -> None:
        self.flowing.clear()

    async def heal(self) -> None:
        self.delay_seconds = 0.0
        self._cut_after = self._cuts_left = self._decide = None
        for link in self.links:
            link.heal()
        self.flowing.set()
        self.listen()

    async def close(self) -> None:
        await self.refuse()
        await self.cut()
        self._reserved.close()

    def used_a_cut(self) -> None:
        """One connection was cut by count; after the last of them the others are left alone."""
        if self._cuts_left is None:
            return
        self._cuts_left -= 1
        if self._cuts_left == 0:
            self._cut_after = self._cuts_left = None
            for link in self.links:
                link.cut_after = None

    def loss_of(self, request: ProxiedRequest) -> Loss | None:
        """
        Raises:
            Cut: nobody can say, since the function that decides failed.
        """
        if self._decide is None:
            return None
        try:
            loss = self._decide(request)
            if loss not in ("before", "after", None):
                raise ValueError(f'an answer is lost "before" or "after", or not (None); got {loss!r}')
        except Exception as error:  # a test's own function, on a thread where nobody would see what it raises
            self.failure = self.failure or error
            raise Cut from error
        return loss

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                client, _ = await loop.sock_accept(listener)
                self.taken += 1
                link = Link(self, client)
                link.cut_after = self._cut_after
                self.links.add(link)
                link.start()


class Link:
    """One client's connection and its upstream one."""

    def __init__(self, line: Line, client: socket.socket) -> None:
        self._line = line
        self._client = client
        self._server: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self.cut_after: tuple[int, Direction] | None = None
        """Bytes that may still go through, and which way they count."""
        self._requests = RequestReader()
        self._loss: Loss | None = None
        """How the answer of the last request is lost, and the connection with it."""
        self._asked = False
        """The upstream has all of the last request, so what it sends next is the answer."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._serve(), name="fault-proxy-link")

    def heal(self) -> None:
        """A request that is being swallowed is past healing: the upstream lacks its beginning."""
        self.cut_after = None
        if self._loss == "after":
            self._loss = None

    async def abort(self) -> None:
        if self._task is not None:
            await _ended(self._task)
        self._drop(reset=True)  # a task that is cancelled before its first step runs no `finally`

    async def _serve(self) -> None:
        """Forwards until both sides have ended; any other end is a reset on both."""
        reset = True
        try:
            self._client.setblocking(False)
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._server = server = await _connected(self._line.upstream)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_up(self._client, server))
                pumps.create_task(self._pump_down(server, self._client))
            reset = False
        except* (OSError, Cut):
            pass  # one side broke: the other is told in the same way
        finally:
            self._drop(reset=reset)

    def _drop(self, *, reset: bool) -> None:
        """Closes both sides. Doing it twice is no error."""
        self._line.links.discard(self)
        for side in (self._client, self._server):
            if side is None:
                continue
            if reset:
                with contextlib.suppress(OSError):  # closed, or broken so thoroughly that it takes no option
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            side.close()

    async def _pump_up(self, client: socket.socket, server: socket.socket) -> None:
        while data := await self._next(client):
            for part in self._requests.feed(data):
                if self._passes(part):
                    await self._forward(part.data, server, "up")
        _end(server)

    def _passes(self, part: Part) -> bool:
        """Whether the upstream gets it; decided at the end of each head.

        Raises:
            Cut: it was the last of a request that the upstream does not get.
        """
        if part.request is not None and self._loss is None:
            self._loss = self._line.loss_of(part.request)
        if part.last and self._loss == "before":
            self._lose()
        # Noted before it is sent: the answer may come at once.
        self._asked = part.last
        return self._loss != "before"

    async def _pump_down(self, server: socket.socket, client: socket.socket) -> None:
        while data := await self._next(server):
            # Before it has the whole request, the upstream may say «go on» and the like, or already no (413).
            if self._loss == "after" and (self._asked or not data.startswith(INTERIM)):
                self._lose()
            await self._forward(data, client, "down")
        _end(client)

    def _lose(self) -> Never:
        self._line.answers_lost += 1
        raise Cut

    async def _next(self, source: socket.socket) -> bytes:
        """The next piece, once it may go on; empty at the end."""
        line = self._line
        data = await asyncio.get_running_loop().sock_recv(source, CHUNK_BYTES)
        if data and line.delay_seconds:
            await asyncio.sleep(line.delay_seconds)
        await line.flowing.wait()
        return data

    async def _forward(self, data: bytes, sink: socket.socket, way: Literal["up", "down"]) -> None:
        line = self._line
        piece, last = self._admit(data, way)
        await asyncio.get_running_loop().sock_sendall(sink, piece)
        if way == "up":
            line.bytes_up += len(piece)
        else:
            line.bytes_down += len(piece)
        if last:
            line.used_a_cut()
            raise Cut

    def _admit(self, data: bytes, way: Literal["up", "down"]) -> tuple[bytes, bool]:
        """What of `data` may go on, and whether it is the last that may; taken off the count before it is sent,
        since the other direction may count too."""
        if self.cut_after is None or self.cut_after[1] not in (way, "both"):
            return data, False
        left, direction = self.cut_after
        self.cut_after = (max(0, left - len(data)), direction)
        return data[:left], left <= len(data)


class Cut(Exception):
    """The link ends here: a fault says so."""


async def opened(upstream: tuple[str, int]) -> Line:
    line = Line(upstream, _bound(0, listening=False))
    line.listen()
    return line


async def _connected(address: tuple[str, int]) -> socket.socket:
    """A connected socket, by the first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"{address[0]} has no address")
    for family, kind, protocol, _, target in await loop.getaddrinfo(*address, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(made, target)
        except OSError as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure


def _bound(port: int, *, listening: bool = True) -> socket.socket:
    """A socket on a port that another of ours may hold too: SO_REUSEPORT, since refusing must not lose the port."""
    made = socket.socket()
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", port))
        if listening:
            made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _end(sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may have gone already
        sink.shutdown(socket.SHUT_WR)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancels the task and waits until it has cleaned up."""
    task.cancel()
    await asyncio.wait([task])
