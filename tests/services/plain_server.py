"""A server of JSON messages with a contract of its own, on a real socket and a thread of its own, that can misbehave.

    with PlainServer() as server:
        client = WebSocketClient(server.url, session=PROTOCOL, auth=BearerToken("t1"))
        server.publish("orders", item="tea")        # to those who are connected and subscribed, and to nobody later

Who connects says `{"do": "login", "token": …}`, and then `subscribe` and `unsubscribe` with a `topic`. Until told otherwise
it behaves: `cut()` breaks all connections, `close_all(code)` closes them, `freeze()` leaves them half-open, `raw(…)` sends
anything to all; `door` is the status that upgrades are refused with; `answers = False` leaves subscriptions unanswered.
`heard`, `upgrades` and `queries` tell what it was sent. Methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Self, TypeVar

from aiohttp import WSMsgType, web

T = TypeVar("T")


class _Peer:
    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request = request
        self.socket = socket
        self.topics: set[str] = set()


class PlainServer:
    def __init__(self) -> None:
        self.tokens = {"t1"}
        self.refuse_by: int | None = None
        """A close code in place of the message that refuses a token."""
        self.answers = True
        self.door: int | None = None
        self.heard: list[Any] = []
        self.upgrades: list[Mapping[str, str]] = []
        self.queries: list[Mapping[str, str]] = []
        self.protocols: tuple[str, ...] = ()
        self.port = 0
        self._ids = itertools.count(1)
        self._peers: list[_Peer] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="plain-server")
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what tests do ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._call(self._start())

    def stop(self) -> None:
        """Nothing listens any more, and all connections are broken."""
        self._call(self._stop())

    def publish(self, topic: str, type: str = "order.placed", *, id: object = None, **data: Any) -> str:
        """The event's id."""
        id_ = str(next(self._ids)) if id is None else id
        message = {"type": type, "topic": topic, "id": id_, "data": data}
        self._call(self._send(json.dumps(message), topic))
        return str(id_)

    def raw(self, message: str | bytes) -> None:
        self._call(self._send(message, None))

    def cut(self) -> None:
        self._call(self._cut())

    def close_all(self, code: int) -> None:
        async def act() -> None:
            for peer in list(self._peers):
                await peer.socket.close(code=code)

        self._call(act())

    def freeze(self) -> None:
        """Those who are connected are read no more, so their pings go unanswered too."""

        async def act() -> None:
            for peer in self._peers:
                assert peer.request.transport is not None
                peer.request.transport.pause_reading()  # type: ignore[attr-defined]
            self._peers.clear()

        self._call(act())

    def said(self, what: str) -> list[Any]:
        return [each for each in self.heard if isinstance(each, dict) and each.get("do") == what]

    @property
    def connected(self) -> int:
        return len(self._peers)

    # --- on its thread ------------------------------------------------------------------------------------------------

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/feed", self._feed)
        app.router.add_post("/login", self._login)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            for site in list(self._runner.sites):
                await site.stop()
            await self._cut()
            await self._runner.cleanup()
            self._runner = None

    async def _cut(self) -> None:
        for peer in list(self._peers):
            if peer.request.transport is not None:
                peer.request.transport.abort()

    async def _send(self, message: str | bytes, topic: str | None) -> None:
        for peer in list(self._peers):
            if topic is None or topic in peer.topics:
                with suppress(ConnectionError):  # who hangs up in the middle of it has not got it
                    if isinstance(message, bytes):
                        await peer.socket.send_bytes(message)
                    else:
                        await peer.socket.send_str(message)

    async def _login(self, request: web.Request) -> web.Response:
        return web.json_response({"access_token": next(iter(self.tokens)), "token_type": "bearer"})

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(dict(request.headers))
        self.queries.append(dict(request.query))
        if self.door is not None:
            return web.json_response({"detail": "not now"}, status=self.door)
        socket_ = web.WebSocketResponse(protocols=self.protocols)
        await socket_.prepare(request)
        peer = _Peer(request, socket_)
        self._peers.append(peer)
        try:
            async for frame in socket_:
                if frame.type is WSMsgType.TEXT:
                    message = json.loads(frame.data)
                    self.heard.append(message)
                    await self._act(peer, message)
        finally:
            if peer in self._peers:
                self._peers.remove(peer)
        return socket_

    async def _act(self, peer: _Peer, message: dict[str, Any]) -> None:
        topic = message.get("topic", "")
        match message["do"]:
            case "login" if message["token"] in self.tokens:
                await peer.socket.send_json({"type": "hello"})
            case "login" if self.refuse_by is not None:
                await peer.socket.close(code=self.refuse_by)
            case "login":
                await peer.socket.send_json({"type": "go away"})
            case "subscribe" if topic == "secret":
                await peer.socket.send_json({"type": "refused", "name": topic})
            case "subscribe":
                peer.topics.add(topic)
                if self.answers:
                    await peer.socket.send_json({"type": "subscribed", "name": topic})
            case "unsubscribe":
                peer.topics.discard(topic)
            case "ping":
                await peer.socket.send_json({"type": "pong"})
