"""One plain GET of the backend for a link that is made of requests: bounded in time and size, and never repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..codec import UnreadableFrameError
from .base import HeaderSource, LinkLostError
from .dialling import NETWORK_ERRORS, body_of, lost, refusal

if TYPE_CHECKING:
    from ...http.pool import SessionPool

__all__ = ["Asker"]


class Asker:
    """Goes past the HTTP client's limiter, retry budget and deadline, as a WebSocket does: these wait for most of their life.

    Args:
        base: The address of the API.
        pool: Whose connections are used. It has no limit to them, so that no request waits for another's end.
        headers: Asked for each request, so that no token is used beyond its life.
        max_bytes: The largest body that is read.
    """

    def __init__(self, base: str, pool: SessionPool, headers: HeaderSource, *, max_bytes: int) -> None:
        self._base = base
        self._pool = pool
        self._headers = headers
        self._max_bytes = max_bytes

    async def get(self, path: str, *, seconds: float, params: Sequence[tuple[str, str]] = ()) -> bytes:
        """The body of a 200.

        Args:
            seconds: From sending to the body's end; the provider of the headers has its own bounds.

        Raises:
            UpgradeRefusedError: another status; redirects are not followed.
            LinkLostError: no answer, not all of it, or not in time.
            UnreadableFrameError: it is larger than agreed.
            ClientClosedError: the pool is closed.
        """
        credentials = await self._headers()
        headers = {
            **credentials,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # as on a socket: what is small need not be packed
            "Cache-Control": "no-cache",
            "X-Request-Timeout-Ms": str(int(seconds * 1000)),
        }
        session = await self._pool.session()
        try:
            async with (
                asyncio.timeout(seconds),
                session.get(
                    f"{self._base}{path}",
                    params=params,
                    **self._pool.routed(self._base, headers),
                    allow_redirects=False,
                ) as response,
            ):
                if response.status == 401 and await self._headers() != credentials:
                    # Those of a moment ago were refused: there are newer ones already, which another try will send.
                    raise LinkLostError(f"the credentials changed during GET {path}")
                if response.status != 200:
                    raise await refusal(response)
                body = await body_of(response, max_bytes=self._max_bytes)
        except NETWORK_ERRORS as error:
            # Without the cause: aiohttp's texts may hold a proxy's password.
            raise lost(error, during=f"GET {path}") from None
        if body is None:
            raise UnreadableFrameError(f"the answer to GET {path} is larger than {self._max_bytes} bytes")
        return body
