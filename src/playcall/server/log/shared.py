"""Reads of the log that several want at the same moment: a thousand sockets that follow one topic are woken together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import Cursor

from .read import LogGap, LogSlice, read_log

__all__ = ["SharedReads"]

_Reading: TypeAlias = asyncio.Task[LogSlice | LogGap | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """What one read is of."""

    owner_id: str
    topic: str
    after: Cursor
    limit: int


class SharedReads:
    """One read of the database for all who ask for the same before it begins.

    A read that has begun is joined by nobody: its snapshot may be older than what woke whoever asks now, and they would
    wait for ever for what it does not hold.
    """

    def __init__(self, snapshot: Callable[[], AbstractAsyncContextManager[AsyncSession]]) -> None:
        self._snapshot = snapshot
        self._to_begin: dict[_Place, _Reading] = {}
        self._under_way: set[_Reading] = set()

    async def read(self, owner_id: str, topic: str, after: Cursor, *, limit: int) -> LogSlice | LogGap | None:
        """As `read_log`, from a snapshot of its own, that holds whatever was committed before this was called.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The log cannot be read now; everybody who shares the read is told.
        """
        place = _Place(owner_id, topic, after, limit)
        reading = self._to_begin.get(place)
        if reading is None:
            reading = self._to_begin[place] = asyncio.create_task(self._read(place), name="playcall-read")
            self._under_way.add(reading)
            reading.add_done_callback(self._ended)
        return await asyncio.shield(reading)  # who goes away takes it from nobody

    async def settle(self) -> None:
        """Returns when nothing is being read any more."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _read(self, place: _Place) -> LogSlice | LogGap | None:
        try:
            async with self._snapshot() as session:
                await session.connection()  # it may be waited for, and joined as long
                del self._to_begin[place]
                return await read_log(session, place.owner_id, place.topic, place.after, limit=place.limit)
        finally:
            if self._to_begin.get(place) is asyncio.current_task():
                del self._to_begin[place]

    def _ended(self, reading: _Reading) -> None:
        self._under_way.discard(reading)
        if not reading.cancelled():
            reading.exception()  # they may all have gone away
