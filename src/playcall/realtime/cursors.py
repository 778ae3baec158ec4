"""Where a consumer keeps how far it has come, so that it goes on from there when it starts again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..models.cursor import Cursor
from ..models.ids import EventId

__all__ = ["CursorStore", "MemoryCursors", "StoredCursor"]


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """Everything up to `cursor` has been processed; `event_id` is the event at it, None where a filter left it out."""

    cursor: Cursor
    event_id: EventId | None = None


class CursorStore(Protocol):
    """Keeps cursors by name. Implement it over your own database to share the application's transaction."""

    async def load(self, name: str) -> StoredCursor | None:
        """What was saved last, None if nothing was. Whatever it raises, the subscription is not opened."""
        ...

    async def save(self, name: str, stored: StoredCursor) -> None:
        """Keeps `stored`; within an epoch never an older one than it has. What it raises reaches the consumer."""
        ...


class MemoryCursors:
    """Keeps cursors for as long as the object lives: a consumer that is restarted within the process goes on."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredCursor] = {}

    async def load(self, name: str) -> StoredCursor | None:
        return self._stored.get(name)

    async def save(self, name: str, stored: StoredCursor) -> None:
        before = self._stored.get(name)
        if before is None or before.cursor.epoch != stored.cursor.epoch or before.cursor.seq <= stored.cursor.seq:
            self._stored[name] = stored
