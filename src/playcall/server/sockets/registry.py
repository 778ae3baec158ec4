"""All open connections, and the end of the server."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from playcall.server.auth.gate import Gate
from playcall.server.telemetry import metrics

from .connection import Connection

__all__ = ["Sockets"]

MS_PER_CONNECTION: Final = 8
"""One after the other, 125 a second come back: what their handshakes and first reads cost a server that has just started."""


class Sockets:
    """One for each process."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._draining = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    async def wait_for_drain(self) -> None:
        """Returns when the server is about to end: long polls answer then."""
        await self._draining.wait()

    @contextmanager
    def holding(self, connection: Connection) -> Generator[None]:
        self._open.add(connection)
        try:
            with metrics.SOCKETS.held():
                yield
        finally:
            self._open.discard(connection)

    async def drain(self, *, timeout_seconds: float, spread_ms: int) -> None:
        """Say goodbye to everyone and close; a peer that does not read is given up after the timeout.

        Args:
            spread_ms: What everyone is told at most: one client may come back at once, a thousand may not.
        """
        self._draining.set()
        spread_ms = min(spread_ms, MS_PER_CONNECTION * len(self._open))
        goodbyes = {asyncio.create_task(held.goodbye("draining", spread_ms=spread_ms)): held for held in self._open}
        if goodbyes:
            _, late = await asyncio.wait(goodbyes, timeout=timeout_seconds)
            for task in late:
                task.cancel()
                goodbyes[task].abort()
            await asyncio.gather(*goodbyes, return_exceptions=True)

    async def revoke(self, credential_id: str) -> None:
        """Close what was opened with an API key that is no more, or with a token of a family that has ended."""
        await asyncio.gather(*(held.revoked() for held in self._open if held.credential_id == credential_id))

    async def close_revoked(self, gate: Gate) -> None:
        """Close whatever another process, or a command, has revoked, and what belongs to users who were disabled."""
        held_by: defaultdict[str, list[Connection]] = defaultdict(list)
        for held in self._open:
            if held.credential_id is not None:
                held_by[held.credential_id].append(held)
        if held_by:
            good = await gate.good_among(held_by)
            bad = [held for credential_id, those in held_by.items() if credential_id not in good for held in those]
            await asyncio.gather(*(held.revoked() for held in bad))
