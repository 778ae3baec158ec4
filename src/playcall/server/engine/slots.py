"""Places for work that runs at the same time, shared fairly among owners."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Slots"]

_SHARE = 3


class Slots:
    """An owner takes another slot only while it holds fewer than three times what is free (dynamic thresholds, Choudhury
    and Hahne 1998): alone it has three quarters of them, and whoever comes next finds one free at once.

    Belongs to one loop.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def held_by(self, owner: str) -> AsyncGenerator[None]:
        """Waits for a slot, and holds it while the block runs."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (owner, granted)
        self._waiting.append(place)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            else:
                self._release(owner)  # it was granted in the same moment
            raise
        try:
            yield
        finally:
            self._release(owner)

    def _release(self, owner: str) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._grant()

    def _grant(self) -> None:
        """To whoever holds least; among equals, to whoever came first."""
        while self._free:
            able = [p for p in self._waiting if self._held[p[0]] == 0 or self._held[p[0]] < _SHARE * self._free]
            if not able:
                return
            place = min(able, key=lambda p: self._held[p[0]])
            self._waiting.remove(place)
            self._free -= 1
            self._held[place[0]] += 1
            if not place[1].done():
                place[1].set_result(None)
