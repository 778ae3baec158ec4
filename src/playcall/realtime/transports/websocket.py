"""Frames over a WebSocket, by aiohttp: RFC 6455, subprotocol `playcall.v1`.

Everything that aiohttp does by itself and that the contract forbids is switched off here: it follows redirects (with the
credentials), sends a lost upgrade a second time, and reports an oversized frame or a broken stream as a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import aiohttp

from ...http.connector import unrepeated
from ...models.frames import SUBPROTOCOL
from ..codec import UnreadableFrameError
from .base import Closed, HeaderSource, LinkLostError
from .dialling import NETWORK_ERRORS, Dialler, lost, refusal

if TYPE_CHECKING:
    from ...http.pool import SessionPool

__all__ = ["WebSocketLink", "WebSocketTransport", "upgraded"]

SEND_SECONDS = 10.0
CLOSE_SECONDS = 2.0

_TEXT = aiohttp.WSMsgType.TEXT
_ABNORMAL = 1006
_TOO_BIG = 1009


class WebSocketTransport(Dialler):
    """Dials `URL/api/v1/ws`. Shares the pool's connector, so TLS and name resolution are set up once for both protocols."""

    name = "websocket"

    async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> WebSocketLink:
        session, socket_ = await upgraded(
            self._pool, f"{self._base}/ws", await headers(), protocols=(SUBPROTOCOL,), max_frame_bytes=max_frame_bytes
        )
        if socket_.protocol != SUBPROTOCOL:
            link = WebSocketLink(session, socket_)
            await link.close(1002, "no subprotocol")
            raise LinkLostError(f"the far end does not speak {SUBPROTOCOL}", permanent=True)
        return WebSocketLink(session, socket_)


async def upgraded(
    pool: SessionPool,
    url: str,
    headers: Mapping[str, str],
    *,
    protocols: Sequence[str],
    max_frame_bytes: int,
    heartbeat_seconds: float | None = None,
) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse[bool]]:
    """An open WebSocket at `url`, and the session that exists for it alone.

    Args:
        heartbeat_seconds: How often a quiet connection is tried by a ping; it breaks if that is not answered within half.

    Raises:
        UpgradeRefusedError: it was answered with another status.
        LinkLostError: no connection.
    """
    shared = await pool.session()
    session = unrepeated(
        aiohttp.ClientSession(
            connector=shared.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(_plainly,),
        )
    )
    try:
        socket_ = await session.ws_connect(
            url,
            protocols=protocols,
            **pool.routed(url, headers),
            max_msg_size=max_frame_bytes,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),  # pyright: ignore[reportCallIssue] - an attrs class, which it cannot read
            heartbeat=heartbeat_seconds,
            autoclose=False,
        )
    except BaseException as error:
        await session.close()
        if isinstance(error, NETWORK_ERRORS):
            # aiohttp's texts may hold a proxy's password: ours name the cause
            raise lost(error, during="the upgrade") from None
        raise
    return session, socket_


class WebSocketLink:
    """One open WebSocket, and the session that exists for it alone."""

    def __init__(self, session: aiohttp.ClientSession, socket_: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._session = session
        self._socket = socket_

    async def receive(self) -> str | Closed:
        message = await self._socket.receive()
        if message.type is _TEXT:
            text: str = message.data
            return text
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                raise UnreadableFrameError("a binary frame came; the contract has text frames only")
            case aiohttp.WSMsgType.CLOSE:
                return Closed(int(message.data), str(message.extra or ""))
            case aiohttp.WSMsgType.ERROR:
                # Too big (1009), no UTF-8 (1007), or not a WebSocket frame at all (1002): the stream is of no more use.
                code = self._socket.close_code or _ABNORMAL
                return Closed(
                    int(code), "a frame is larger than agreed" if code == _TOO_BIG else "the stream is broken"
                )
            case _:
                return Closed(_ABNORMAL, "it ended without a close")

    async def send(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_str(text)
        except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError) as error:
            raise LinkLostError(f"a frame could not be sent ({type(error).__name__})") from None

    async def close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS + 1):
                # RFC 6455 section 5.5: a control frame carries 125 bytes, two of them the code.
                await self._socket.close(code=code, message=reason.encode()[:123])
        except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError):
            pass  # it is being thrown away
        finally:
            await self._session.close()


async def _plainly(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """No redirect: whatever is not 101 is a refusal, with the far end's own word on it."""
    response = await handler(request)
    if response.status == 101:
        return response
    try:
        raise await refusal(response)
    finally:
        response.close()
