"""All open connections, and the end of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from .connection import Connection

__all__ = ["Sockets"]


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
            yield
        finally:
            self._open.discard(connection)

    async def drain(self, *, timeout_seconds: float) -> None:
        """Say goodbye to everyone and close; a peer that does not read is given up after the timeout."""
        self._draining.set()
        if goodbyes := [asyncio.create_task(connection.goodbye("draining")) for connection in self._open]:
            _, late = await asyncio.wait(goodbyes, timeout=timeout_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*goodbyes, return_exceptions=True)

    async def revoke(self, credential_id: str) -> None:
        """Close what was opened with an API key that is no more."""
        for connection in [held for held in self._open if held.credential_id == credential_id]:
            await connection.revoked()
