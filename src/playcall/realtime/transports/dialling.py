"""What every way to the backend shares: its address, whom it takes us for, and how a failed attempt is told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp

from ...config import API_PREFIX
from ...errors import ConfigurationError
from ...http.paths import base_url
from ...http.retry_after import retry_after_seconds
from ..states import Identity
from .base import LinkLostError, UpgradeRefusedError

if TYPE_CHECKING:
    from ...http.pool import SessionPool

__all__ = ["NETWORK_ERRORS", "Dialler", "body_of", "lost", "refusal"]

IDENTITY_SECONDS = 10.0
DETAIL_BYTES = 65_536
"""How much of a refusal's body is read for its words."""
DETAIL_SECONDS = 2.0

_IDENTITIES: Final[Mapping[int, Identity]] = {200: "known", 401: "expired", 403: "refused"}

NETWORK_ERRORS: Final = (aiohttp.ClientError, OSError, ValueError)
"""What `lost` understands: all that aiohttp raises for the network's sake, or the address's."""


class Dialler:
    """Knows one backend, by its address and through the pool that carries its requests."""

    def __init__(self, url: str, pool: SessionPool) -> None:
        """Raises: ConfigurationError: `url` is no address of a backend."""
        self._base = base_url(url) + API_PREFIX
        self._pool = pool

    async def identity(self, headers: Mapping[str, str]) -> Identity | None:
        """See `Transport.identity`."""
        session = await self._pool.session()
        try:
            async with (
                asyncio.timeout(IDENTITY_SECONDS),
                session.get(
                    f"{self._base}/auth/me", **self._pool.routed(self._base, headers), allow_redirects=False
                ) as response,
            ):
                return _IDENTITIES.get(response.status)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None


async def body_of(response: aiohttp.ClientResponse, *, max_bytes: int) -> bytes | None:
    """The whole body; None when it is larger, and then the connection is of no more use."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > max_bytes:
            return None
    return bytes(body)


async def refusal(response: aiohttp.ClientResponse) -> UpgradeRefusedError:
    """What an answer other than the wanted one says, as far as that can be had quickly. Never raises for the network."""
    problem = await _problem(response)
    return UpgradeRefusedError(
        response.status,
        retry_after_seconds=retry_after_seconds(response.headers, datetime.now(UTC)),
        detail=_text(problem, "detail"),
        code=_text(problem, "code"),
    )


async def _problem(response: aiohttp.ClientResponse) -> Mapping[str, object]:
    """The body as a problem (RFC 9457); empty if it is none."""
    try:
        async with asyncio.timeout(DETAIL_SECONDS):
            body = await body_of(response, max_bytes=DETAIL_BYTES)
        parsed: Any = json.loads(body or b"null")  # Any: JSON, looked at below
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", parsed) if isinstance(parsed, dict) else {}


def _text(problem: Mapping[str, object], name: str) -> str:
    text = problem.get(name)
    return text if isinstance(text, str) else ""


def lost(error: Exception, *, during: str) -> LinkLostError:
    """Which of `Session.lost`'s facts aiohttp's error is, in words without the far end's or a proxy's secrets.

    Args:
        error: One of `NETWORK_ERRORS`.
        during: What was under way, for the message: "the upgrade".
    """
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
    if isinstance(error, TimeoutError):
        return LinkLostError(f"{during} was not answered in time", reached=False)
    return LinkLostError(f"the connection broke during {during} ({type(error).__name__})")
