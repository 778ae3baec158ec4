"""A TCP proxy that breaks connections on command: what networks do to clients, on real sockets.

    with LiveBackend() as backend, FaultProxy(backend.url) as proxy:
        client = Playcall(proxy.url, auth=ApiKey(backend.api_key))
        …
        proxy.cut()      # every connection is reset, now

It runs on a thread of its own, so it serves blocking and async tests alike. Every method may be called from any thread;
they take effect before they return, which takes well under a millisecond, so they may be called from an event loop too.
Nothing is looked at: bytes go through as they come, TLS included.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

__all__ = ["Direction", "FaultProxy"]

T = TypeVar("T")

Direction = Literal["up", "down", "both"]
"""`up` is what the client sends, `down` what the upstream answers."""

CHUNK_BYTES: Final = 65_536
"""What one direction of one connection holds in memory at the most."""
BACKLOG: Final = 256
CONTROL_SECONDS: Final = 10.0
"""A control call that takes longer has found a dead proxy thread."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: close sends RST (RFC 9293 section 3.10.7.4), and drops what is unsent."""


class FaultProxy:
    """Listens on a free port of this machine and forwards to `upstream` until told otherwise.

    Faults hold until `heal()`. They add up: `delay(0.1)` and `cut_after(500)` act together.
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        """A proxy before `upstream`, started by `with` or `start()`.

        Args:
            upstream: A URL with a port, `host:port`, or a pair of both. It need not be listening yet: while it is not,
                connections are taken and reset.

        Raises:
            ValueError: `upstream` names no host or no port.
        """
        self._scheme, self._upstream = _address(upstream)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._line: _Line | None = None

    def __repr__(self) -> str:
        host, port = self._upstream
        return f"FaultProxy({host}:{port})"

    # --- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts listening. Raises RuntimeError if it was started before."""
        if self._thread is not None:
            raise RuntimeError("this fault proxy was started before; make another")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(ready,), name="playcall-fault-proxy", daemon=True)
        self._thread.start()
        ready.wait()
        self._line = self._ask(lambda: _opened(self._upstream))
        return self

    def close(self) -> None:
        """Resets what is open, stops listening and ends the thread. Closing twice is no error."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return
        if self._line is not None:
            self._ask(self._line.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- what a test looks at -----------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens; the same for its whole life, also while it refuses."""
        return self._running.port

    @property
    def url(self) -> str:
        """What a client is given in place of the upstream's URL."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._running.links)

    @property
    def connections_total(self) -> int:
        """Taken since the start, those to a dead upstream included."""
        return self._running.taken

    @property
    def bytes_up(self) -> int:
        """Forwarded from clients."""
        return self._running.bytes_up

    @property
    def bytes_down(self) -> int:
        """Forwarded to clients."""
        return self._running.bytes_down

    # --- faults -------------------------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Resets every open connection on both sides, and says how many. New ones are served."""
        return self._ask(self._running.cut)

    def cut_after(self, count: int, *, direction: Direction = "both", times: int | None = 1) -> None:
        """Resets a connection when `count` more bytes of it have gone through in `direction`, in the middle of a piece.

        For an open connection the bytes count from now, for a new one from its start. 0 resets at the first byte.

        Args:
            times: How many connections this happens to; None for each one until `heal()`.
        """
        if count < 0 or (times is not None and times < 1):
            raise ValueError("cut_after takes a count of 0 or more, and times of 1 or more")
        self._ask(lambda: self._running.set_cut_after(count, direction, times))

    def delay(self, seconds: float) -> None:
        """Lets each piece wait so long before it goes on, in each direction."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"a delay is 0 s or more, got {seconds}")
        self._ask(lambda: self._running.set_delay(seconds))

    def half_open(self) -> None:
        """Stops forwarding without closing, as when a cable is pulled: nothing arrives, nobody is told.

        New connections are taken and hear nothing. What is held goes on after `heal()`.
        """
        self._ask(self._running.hold)

    def refuse(self) -> None:
        """Refuses new connections, as when nothing listens; open ones are served."""
        self._ask(self._running.refuse)

    def heal(self) -> None:
        """Ends all faults."""
        self._ask(self._running.heal)

    # --- the thread ---------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> _Line:
        if self._line is None:
            raise RuntimeError("this fault proxy was not started: use it in a `with`, or call start()")
        return self._line

    def _main(self, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(ready.set)
            self._loop.run_forever()

    def _ask(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Does `act` on the proxy's thread and waits for it."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            raise RuntimeError("this fault proxy is closed")
        return asyncio.run_coroutine_threadsafe(act(), loop).result(CONTROL_SECONDS)


class _Line:
    """The listening side and its links; lives on the proxy's loop."""

    def __init__(self, upstream: tuple[str, int], reserved: socket.socket) -> None:
        self.upstream = upstream
        # Bound and never listening, it keeps the port ours while connections are refused.
        self._reserved = reserved
        self.port: int = reserved.getsockname()[1]
        self.links: set[_Link] = set()
        self.taken = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.delay_seconds = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._cut_after: tuple[int, Direction] | None = None
        self._cuts_left: int | None = None
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

    async def set_delay(self, seconds: float) -> None:
        self.delay_seconds = seconds

    async def hold(self) -> None:
        self.flowing.clear()

    async def heal(self) -> None:
        self.delay_seconds = 0.0
        self._cut_after = self._cuts_left = None
        for link in self.links:
            link.cut_after = None
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

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                client, _ = await loop.sock_accept(listener)
                self.taken += 1
                link = _Link(self, client)
                link.cut_after = self._cut_after
                self.links.add(link)
                link.start()


class _Link:
    """One client's connection and its upstream one."""

    def __init__(self, line: _Line, client: socket.socket) -> None:
        self._line = line
        self._client = client
        self._server: socket.socket | None = None
        self.cut_after: tuple[int, Direction] | None = None
        """Bytes that may still go through, and which way they count."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._serve(), name="fault-proxy-link")

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
                pumps.create_task(self._pump(self._client, server, "up"))
                pumps.create_task(self._pump(server, self._client, "down"))
            reset = False
        except* (OSError, _Cut):
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

    async def _pump(self, source: socket.socket, sink: socket.socket, way: Literal["up", "down"]) -> None:
        loop, line = asyncio.get_running_loop(), self._line
        while data := await loop.sock_recv(source, CHUNK_BYTES):
            if line.delay_seconds:
                await asyncio.sleep(line.delay_seconds)
            await line.flowing.wait()
            piece, last = self._admit(data, way)
            await loop.sock_sendall(sink, piece)
            if way == "up":
                line.bytes_up += len(piece)
            else:
                line.bytes_down += len(piece)
            if last:
                line.used_a_cut()
                raise _Cut
        await line.flowing.wait()
        with contextlib.suppress(OSError):  # the other side may have gone already
            sink.shutdown(socket.SHUT_WR)

    def _admit(self, data: bytes, way: Literal["up", "down"]) -> tuple[bytes, bool]:
        """What of `data` may go on, and whether it is the last that may; taken off the count before it is sent,
        since the other direction may count too."""
        if self.cut_after is None or self.cut_after[1] not in (way, "both"):
            return data, False
        left, direction = self.cut_after
        self.cut_after = (max(0, left - len(data)), direction)
        return data[:left], left <= len(data)


class _Cut(Exception):
    """The link has let through what it may."""


async def _opened(upstream: tuple[str, int]) -> _Line:
    line = _Line(upstream, _bound(0, listening=False))
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


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancels the task and waits until it has cleaned up."""
    task.cancel()
    await asyncio.wait([task])


def _address(upstream: str | tuple[str, int]) -> tuple[str, tuple[str, int]]:
    if not isinstance(upstream, str):
        return "http", upstream
    parts = urlsplit(upstream if "://" in upstream else f"http://{upstream}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None:
        raise ValueError(f"the upstream must name host and port, as http://127.0.0.1:8000 does; got {upstream!r}")
    return parts.scheme, (parts.hostname, port)
