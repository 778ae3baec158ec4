"""The WebSocket endpoint: from the upgrade to a `Connection`."""

from __future__ import annotations

from typing import cast

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from playcall.models.frames import SUBPROTOCOL
from playcall.server.auth.gate import credential_of
from playcall.server.context import context_of
from playcall.server.dependencies import core_of
from playcall.server.middleware import deny_socket
from playcall.server.problems import ApiError, problem_response

from .channel import ChannelClosedError
from .connection import Connection

__all__ = ["WebSocketEndpoint"]


class WebSocketEndpoint:
    """ASGI. Refuses with a true status before the upgrade, and with a close code of the contract after it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        core = core_of(connection)
        headers = Headers(scope=scope)
        try:
            if core.sockets.is_draining:
                raise ApiError(503, "draining", "this server is about to end", headers={"Retry-After": "1"})
            offered = cast("list[str]", scope.get("subprotocols", []))
            if offered and SUBPROTOCOL not in offered:
                raise ApiError(400, "unknown_subprotocol", f"this endpoint speaks {SUBPROTOCOL}")
            credential = credential_of(headers)
            caller = None if credential is None else await core.gate.caller(credential)
        except ApiError as error:
            request_id = context_of(connection).request_id
            refusal = problem_response(
                error.status_code, error.code, error.detail, request_id=request_id, headers=error.headers
            )
            await deny_socket(refusal, scope, receive, send, request_id=request_id)
            return
        channel = _SocketChannel(receive, send)
        await channel.accept(SUBPROTOCOL if offered else None)
        held = Connection(channel, caller, settings=core.settings, database=core.database, gate=core.gate)
        with core.sockets.holding(held):
            await held.run()


class _SocketChannel:
    """A channel over ASGI's WebSocket messages. Frames of several tasks may be sent at once: each goes out whole."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
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
        if self._closed:
            raise ChannelClosedError
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            # The server library says "disconnected" with an OSError, and "after close" with a RuntimeError.
            self._closed = True
            raise ChannelClosedError from None

    async def close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError):
            pass  # it is closed already
