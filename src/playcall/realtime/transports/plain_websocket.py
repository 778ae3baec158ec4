"""Messages over a WebSocket of somebody else's server, by aiohttp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import aiohttp
from yarl import URL

from ..states import Identity
from .base import Closed, HeaderSource
from .websocket import WebSocketLink, upgraded

if TYPE_CHECKING:
    from ...http.pool import SessionPool
    from ..plain_protocol import PlainSockets

__all__ = ["PlainWebSocketTransport"]

_ABNORMAL = 1006
_TOO_BIG = 1009


class PlainWebSocketTransport:
    """Dials `url` and the protocol's path.

    Credentials go where the protocol wants them: in the upgrade's headers, in its query, or in a message, which is the
    session's affair.
    """

    name = "websocket"

    def __init__(self, url: str, pool: SessionPool, protocol: PlainSockets) -> None:
        self._address = url + protocol.path
        self._pool = pool
        self._protocol = protocol

    async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> PlainLink:
        protocol = self._protocol
        credentials = await headers()
        address = self._address
        if protocol.token_parameter is not None and (token := _token(credentials)) is not None:
            address = str(URL(address).update_query({protocol.token_parameter: token}))
        in_headers = protocol.auth is None and protocol.token_parameter is None
        session, socket_ = await upgraded(
            self._pool,
            address,
            credentials if in_headers else {},
            protocols=protocol.subprotocols,
            max_frame_bytes=max_frame_bytes,
            heartbeat_seconds=protocol.heartbeat_seconds,
        )
        return PlainLink(session, socket_)

    async def identity(self, headers: Mapping[str, str]) -> Identity | None:
        """Nobody's business: what a foreign server has over HTTP is not known."""
        return None


class PlainLink(WebSocketLink):
    """One open WebSocket. What is binary may be JSON all the same; if it is not, it is a message that cannot be read."""

    async def receive(self) -> str | Closed:
        message = await self._socket.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                return cast("str", message.data)
            case aiohttp.WSMsgType.BINARY:
                return cast("bytes", message.data).decode("utf-8", "replace")
            case aiohttp.WSMsgType.CLOSE:
                return Closed(int(message.data), str(message.extra or ""))
            case aiohttp.WSMsgType.ERROR:
                code = int(self._socket.close_code or _ABNORMAL)
                why = "the stream is broken" if code != _ABNORMAL else "a ping was not answered"
                return Closed(code, "a message is larger than max_message_bytes" if code == _TOO_BIG else why)
            case _:
                return Closed(_ABNORMAL, "it ended without a close")


def _token(headers: Mapping[str, str]) -> str | None:
    """The bearer token, or the value of the one header."""
    values = list(headers.values())
    return values[0].removeprefix("Bearer ") if len(values) == 1 else None
