"""A server of the contract on a real socket, on a thread of its own, that can be told to misbehave.

    with ScriptedServer() as server:
        server.append("tasks", "task.failed")       # into its log; connected subscribers get it
        client = WebSocketClient(server.url)

It behaves well until told otherwise:

- `server.next(refuse(503, {"Retry-After": "1"}), conversation)` says what the next upgrades get, one each: a refusal,
  or a coroutine function `conversation(peer)` that talks by itself (`peer.send`, `peer.receive`, `peer.cut`, …) instead
  of the model; the ones after behave well again.
- `server.cut()` breaks all connections without a close; `server.close_all(1012)` closes them; `server.silence()` makes
  the connected ones half-open: their sockets stay, nothing is read or sent any more; `server.send(frame)` sends
  anything to all.
- `server.bend = function` sees each frame that the model wants to send, and returns what is sent in its place.
- `server.upgrades` (the headers of each) and `server.frames` (all that clients sent) tell what was seen.

To teach it something new, add to `model_server.py` if it belongs to the contract, and here if it breaks it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from aiohttp import WSMsgType, web

from .model_server import Frame, ModelConnection, ModelLog

T = TypeVar("T")
Conversation = Callable[["Peer"], Awaitable[None]]
Upgrade = Conversation | web.Response


def refuse(status: int, headers: dict[str, str] | None = None, detail: str = "as scripted") -> web.Response:
    body = {"type": "about:blank", "title": "refused", "status": status, "code": "scripted", "detail": detail}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")


class Peer:
    """One connected client, as the server sees it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self.socket = socket
        self.silent = False
        self.pings = 0

    async def send(self, frame: Frame) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def receive(self) -> Frame:
        return json.loads(await self.socket.receive_str())

    async def receive_op(self, op: str) -> Frame:
        while True:
            frame = await self.receive()
            if frame["op"] == op:
                return frame

    async def welcome(self, heartbeat_seconds: float = 15.0) -> None:
        hello = await self.receive_op("hello")
        for frame in ModelConnection({}, heartbeat_seconds=heartbeat_seconds).receive(hello):
            await self.send(frame)

    def write_raw(self, data: bytes) -> None:
        """Bytes past all framing."""
        assert self._request.transport is not None
        self._request.transport.write(data)

    def cut(self) -> None:
        """Breaks the connection without a close, as a killed process does."""
        if self._request.transport is not None:
            self._request.transport.abort()


class ScriptedServer:
    """See the module. Methods may be called from any thread; they return when it is done."""

    def __init__(self, *, heartbeat_seconds: float = 15.0, token_seconds: float | None = None) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.token_seconds = token_seconds
        self.logs: dict[str, ModelLog] = {"tasks": ModelLog()}
        self.frames: list[Frame] = []
        self.upgrades: list[dict[str, str]] = []
        self.me_status = 200
        self.bend: Callable[[Frame], Frame | None] = lambda frame: frame
        self.port = 0
        self._next: deque[Upgrade] = deque()
        self._peers: dict[Peer, asyncio.Event] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-server")
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._listener = -1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._call(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what tests do ------------------------------------------------------------------------------------------------

    def append(self, topic: str, type: str = "custom.happened", *, terminal: bool = False, **data: Any) -> Frame:
        async def act() -> Frame:
            entry = self.logs[topic].append(type, terminal=terminal, **data)
            self._pump()
            return entry

        return self._call(act())

    def change(self, change: Callable[[dict[str, ModelLog]], object]) -> None:
        """Changes the logs, then lets everybody see."""

        async def act() -> None:
            change(self.logs)
            self._pump()

        self._call(act())

    def next(self, *upgrades: Upgrade) -> None:
        self._next.extend(upgrades)

    def send(self, frame: Frame | str | bytes) -> None:
        async def act() -> None:
            for peer in list(self._peers):
                if isinstance(frame, bytes):
                    await peer.socket.send_bytes(frame)
                else:
                    await peer.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

        self._call(act())

    def write_raw(self, data: bytes) -> None:
        async def act() -> None:
            for peer in list(self._peers):
                peer.write_raw(data)

        self._call(act())

    def cut(self) -> None:
        async def act() -> None:
            for peer in list(self._peers):
                peer.cut()

        self._call(act())

    def close_all(self, code: int, reason: str = "") -> None:
        async def act() -> None:
            for peer in list(self._peers):
                await peer.socket.close(code=code, message=reason.encode())

        self._call(act())

    def silence(self) -> None:
        async def act() -> None:
            for peer in self._peers:
                peer.silent = True

        self._call(act())

    def stop(self) -> None:
        """Nothing listens any more, and all connections are broken."""

        async def act() -> None:
            if self._site is not None:
                # What was accepted this moment becomes a connection in the loop's next turn. If the server were closed
                # by then, asyncio (3.11) would lose that socket, unclosed, in an assertion that it does not show.
                self._loop.remove_reader(self._listener)
                await asyncio.sleep(0)
                await self._site.stop()
                self._site = None
            for peer in list(self._peers):  # only now: they come back at once
                peer.cut()
            if self._runner is not None:
                await self._runner.cleanup()
                self._runner = None

        self._call(act())

    def start(self) -> None:
        """Listens again, on the same port."""
        self._call(self._listen())

    @property
    def connected(self) -> int:
        return len(self._peers)

    def sent(self, op: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["op"] == op]

    # --- on its thread ------------------------------------------------------------------------------------------------

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _settle(self) -> None:
        """Ends what a client began this moment: its socket is closed by the loop, which is about to be closed itself."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # One that nobody reads from any more would wait for ever to send what it holds, before it closes.
        for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
            transport.abort()
        for _ in range(3):  # closing takes a turn of the loop, and what it calls another
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/ws", self._upgrade)
        app.router.add_get("/api/v1/auth/me", self._me)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener.fileno()
        self._site = web.SockSite(self._runner, listener)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({}, status=self.me_status)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(dict(request.headers))
        said = self._next.popleft() if self._next else self._behave
        if isinstance(said, web.Response):
            return said
        socket = web.WebSocketResponse(protocols=("playcall.v1",), autoping=True)
        await socket.prepare(request)
        peer = Peer(request, socket)
        self._peers[peer] = asyncio.Event()
        try:
            await said(peer)
        except (ConnectionError, TypeError):
            pass  # the client has left
        finally:
            del self._peers[peer]
        return socket

    def _pump(self) -> None:
        for changed in self._peers.values():
            changed.set()

    async def _behave(self, peer: Peer) -> None:
        model = ModelConnection(self.logs, heartbeat_seconds=self.heartbeat_seconds, token_seconds=self.token_seconds)
        pumping = asyncio.create_task(self._pump_peer(peer, model))
        try:
            async for message in peer.socket:
                if message.type is not WSMsgType.TEXT or peer.silent:
                    continue
                frame = json.loads(message.data)
                self.frames.append(frame)
                await self._send_all(peer, model.receive(frame))
                self._peers[peer].set()
        finally:
            pumping.cancel()
            await asyncio.wait([pumping])

    async def _pump_peer(self, peer: Peer, model: ModelConnection) -> None:
        changed = self._peers[peer]
        while True:
            try:
                async with asyncio.timeout(self.heartbeat_seconds):
                    await changed.wait()
            except TimeoutError:
                peer.pings += 1
                await self._send_all(peer, [model.ping(peer.pings)])
                continue
            changed.clear()
            await self._send_all(peer, model.pump())

    async def _send_all(self, peer: Peer, frames: list[Frame]) -> None:
        for frame in frames:
            bent = self.bend(frame)
            if bent is not None and not peer.silent:
                await peer.send(bent)
