"""The WebSocket endpoint: from the upgrade to a `Connection`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final, cast

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from playcall.models.frames import SUBPROTOCOL
from playcall.server.auth.caller import Caller
from playcall.server.auth.gate import credential_of
from playcall.server.context import context_of
from playcall.server.dependencies import Core, core_of
from playcall.server.error_handlers import problem_of
from playcall.server.limits.doorkeeper import Doorkeeper, peer_of
from playcall.server.limits.origins import require_known_origin
from playcall.server.middleware import deny_socket
from playcall.server.problems import ApiError
from playcall.server.settings import Settings

from .channel import ChannelClosedError
from .connection import Connection
from .uvicorn_protocol import ABORT

__all__ = ["WebSocketEndpoint"]

FULL_RETRY_SECONDS: Final = 5
CLOSE_SECONDS: Final = 2.0
"""What a peer that reads has to make room for a close frame."""


class WebSocketEndpoint:
    """ASGI. Refuses with a true status before the upgrade, and with a close code of the contract after it."""

    def __init__(self, settings: Settings) -> None:
        self._doorkeeper = Doorkeeper(per_second=settings.connects_per_second, burst=settings.connect_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        core = core_of(connection)
        offered = cast("list[str]", scope.get("subprotocols", []))
        try:
            caller = await self._admit(connection, core, offered)
        except Exception as error:
            request_id = context_of(connection).request_id
            await deny_socket(problem_of(error, request_id), scope, receive, send, request_id=request_id)
            return
        settings = core.settings
        channel = _SocketChannel(
            scope, receive, send, stall_seconds=settings.silent_heartbeats * settings.heartbeat_seconds
        )
        held = Connection(channel, caller, settings=settings, database=core.database, gate=core.gate)
        # Held before it is accepted, with nothing awaited since `_admit`: so it is counted, and told goodbye.
        with core.sockets.holding(held):
            await channel.accept(SUBPROTOCOL if offered else None)
            await held.run()

    async def _admit(self, connection: HTTPConnection, core: Core, offered: list[str]) -> Caller | None:
        """The caller, None if its credentials are to come with hello.

        Raises:
            ApiError: The upgrade is refused.
        """
        _require_room(core)
        if offered and SUBPROTOCOL not in offered:
            raise ApiError(400, "unknown_subprotocol", f"this endpoint speaks {SUBPROTOCOL}")
        require_known_origin(Headers(scope=connection.scope), core.settings.cors_origins)
        peer = peer_of(connection.scope)
        credential = credential_of(Headers(scope=connection.scope))
        caller = None
        if credential is not None:
            try:
                caller = await core.gate.caller(credential)
            except ApiError:
                self._require_patience(peer)
                raise
        self._require_patience(peer if caller is None else f"user:{caller.user_id}")
        context_of(connection).caller_id = None if caller is None else caller.user_id
        _require_room(core)  # again, as the look at the credentials took its time
        return caller

    def _require_patience(self, who: str) -> None:
        wait_seconds = self._doorkeeper.wait_seconds(who, time.monotonic())
        if wait_seconds > 0:
            raise ApiError(
                429,
                "too_many_connects",
                "too many attempts to connect; wait as told",
                headers={"Retry-After": str(math.ceil(wait_seconds))},
            )


def _require_room(core: Core) -> None:
    if core.sockets.is_draining:
        raise ApiError(503, "draining", "this server is about to end", headers={"Retry-After": "1"})
    if len(core.sockets) >= core.settings.max_sockets:
        raise ApiError(
            503,
            "too_many_sockets",
            f"this server holds {core.settings.max_sockets:,} sockets, which is all it takes",
            headers={"Retry-After": str(FULL_RETRY_SECONDS)},
        )


class _SocketChannel:
    """A channel over ASGI's WebSocket messages. Frames of several tasks may be sent at once: each goes out whole.

    They take turns. The server library lets all go on at once when there is room again: with as many frames as there are
    subscriptions in the buffer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, stall_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._abort: Callable[[], object] | None = scope.get("extensions", {}).get(ABORT, {}).get("call")
        self._stall_seconds = stall_seconds
        self._turn = asyncio.Lock()
        self._closed = False

    async def accept(self, subprotocol: str | None) -> None:
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})

    async def receive(self) -> str | bytes | None:
        if self._closed:
            return None
        message: Message = await self._receive()
        if message["type"] != "websocket.receive":
            self._closed = True
            return None
        text = cast("str | None", message.get("text"))
        return text if text is not None else cast("bytes", message["bytes"])

    async def send(self, text: str) -> None:
        async with self._turn:
            if self._closed:
                raise ChannelClosedError
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await self._send({"type": "websocket.send", "text": text})
            except TimeoutError:
                self.abort()
                raise ChannelClosedError from None
            except (OSError, RuntimeError):
                # The server library says "disconnected" with an OSError, and "after close" with a RuntimeError.
                self._closed = True
                raise ChannelClosedError from None

    async def close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS), self._turn:
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self.abort()
        except (OSError, RuntimeError):
            pass  # it is closed already

    def abort(self) -> None:
        self._closed = True
        if self._abort is not None:
            self._abort()
