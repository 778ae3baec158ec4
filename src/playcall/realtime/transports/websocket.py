"""Frames over a WebSocket, by aiohttp: RFC 6455, subprotocol `playcall.v1`.

Everything that aiohttp does by itself and that the contract forbids is switched off here: it follows redirects (with the
credentials), sends a lost upgrade a second time, and reports an oversized frame or a broken stream as a message.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from ...config import API_PREFIX
from ...errors import ConfigurationError
from ...http.paths import base_url
from ...http.retry_after import retry_after_seconds
from ...models.frames import SUBPROTOCOL
from ..codec import UnreadableFrameError
from .base import Closed, LinkLostError, UpgradeRefusedError

if TYPE_CHECKING:
    from ...http.pool import SessionPool

__all__ = ["WebSocketLink", "WebSocketTransport"]

SEND_SECONDS = 10.0
CLOSE_SECONDS = 2.0
IDENTITY_SECONDS = 10.0
DETAIL_BYTES = 65_536
"""How much of a refusal's body is read for its `detail`."""
DETAIL_SECONDS = 2.0

_ABNORMAL = 1006
_TOO_BIG = 1009


class WebSocketTransport:
    """Dials `URL/api/v1/ws`. Shares the pool's connector, so TLS and name resolution are set up once for both protocols."""

    name = "websocket"

    def __init__(self, url: str, pool: SessionPool) -> None:
        """Raises: ConfigurationError: `url` is no address of a backend."""
        self._base = base_url(url) + API_PREFIX
        self._pool = pool

    async def dial(self, headers: Mapping[str, str], *, max_frame_bytes: int) -> WebSocketLink:
        shared = await self._pool.session()
        session = aiohttp.ClientSession(
            connector=shared.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(_one_plain_attempt,),
        )
        try:
            socket_ = await session.ws_connect(
                f"{self._base}/ws",
                protocols=(SUBPROTOCOL,),
                **self._pool.routed(self._base, headers),
                max_msg_size=max_frame_bytes,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),  # pyright: ignore[reportCallIssue] - an attrs class, which it cannot read
                autoclose=False,
            )
        except BaseException as error:
            await session.close()
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                raise _lost(error) from None  # aiohttp's texts may hold a proxy's password: ours name the cause
            raise
        if socket_.protocol != SUBPROTOCOL:
            link = WebSocketLink(session, socket_)
            await link.close(1002, "no subprotocol")
            raise LinkLostError(f"the far end does not speak {SUBPROTOCOL}", permanent=True)
        return WebSocketLink(session, socket_)

    async def is_known(self, headers: Mapping[str, str]) -> bool | None:
        session = await self._pool.session()
        try:
            async with (
                asyncio.timeout(IDENTITY_SECONDS),
                session.get(
                    f"{self._base}/auth/me", **self._pool.routed(self._base, headers), allow_redirects=False
                ) as response,
            ):
                if response.status in (401, 403):
                    return False
                return True if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None


class WebSocketLink:
    """One open WebSocket, and the session that exists for it alone."""

    def __init__(self, session: aiohttp.ClientSession, socket_: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._session = session
        self._socket = socket_

    async def receive(self) -> str | Closed:
        message = await self._socket.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                return cast("str", message.data)
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


class _UpgradeLostError(aiohttp.ClientError):
    """The connection was there, and broke before the upgrade was answered; says aiohttp's name for how."""


async def _one_plain_attempt(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """One try, no redirect: whatever is not 101 is a refusal, with the far end's own word on it."""
    try:
        response = await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ClientConnectionResetError):
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        # In a class that aiohttp does not answer with a second try of its own.
        raise _UpgradeLostError(type(error).__name__) from None
    if response.status == 101:
        return response
    try:
        detail = await _detail(response)
        now = datetime.now(UTC)
        raise UpgradeRefusedError(
            response.status, retry_after_seconds=retry_after_seconds(response.headers, now), detail=detail
        )
    finally:
        response.close()


async def _detail(response: aiohttp.ClientResponse) -> str:
    """The problem's `detail` (RFC 9457), as far as it can be had quickly."""
    try:
        async with asyncio.timeout(DETAIL_SECONDS):
            body = await response.content.read(DETAIL_BYTES)
        parsed: Any = json.loads(body)  # Any: JSON, looked at below
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError):
        return ""
    detail = cast("dict[str, object]", parsed).get("detail") if isinstance(parsed, dict) else None
    return detail if isinstance(detail, str) else ""


def _lost(error: Exception) -> LinkLostError:
    """Which of `Session.lost`'s facts aiohttp's error is, in words without the far end's or a proxy's secrets."""
    if isinstance(error, ConfigurationError):  # a proxy that only the environment names, and only now
        return LinkLostError(error.message, reached=False, permanent=True)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return LinkLostError("its TLS certificate is not trusted", reached=False, permanent=True)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return LinkLostError("there is no TLS at this address", reached=False, permanent=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        unknown = isinstance(error.os_error, socket.gaierror) and error.os_error.errno == socket.EAI_NONAME
        return LinkLostError(f"the name {error.host!r} cannot be resolved", reached=False, permanent=unknown)
    if isinstance(error, aiohttp.ClientConnectorError):
        return LinkLostError(f"nothing listens there ({error.os_error.strerror})", reached=False)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return LinkLostError("the address cannot be used", reached=False, permanent=True)
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return LinkLostError(f"the far end does not speak WebSocket: {error.message}", permanent=True)
    how = str(error) if isinstance(error, _UpgradeLostError) else type(error).__name__
    return LinkLostError(f"the connection broke during the upgrade ({how})")
