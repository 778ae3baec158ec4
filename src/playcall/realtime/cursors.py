"""Where a consumer keeps how far it has come, so that it goes on from there when it starts again."""

from __future__ import annotations

import threading
from typing import Protocol, TypeAlias
from weakref import WeakValueDictionary

from ..errors import InvalidArgumentError
from ..models.cursor import Cursor

__all__ = ["AnyCursorStore", "BlockingCursorStore", "CursorStore", "Keeper", "MemoryCursors", "claim"]


class CursorStore(Protocol):
    """Keeps cursors by name, on either face; on the blocking one its methods run on the loop's thread.

    A cursor says that everything up to it was processed, and carries the id of the event at it where that is known.
    """

    async def load(self, name: str) -> Cursor | None:
        """What was saved last, its `event_id` included; None if nothing was.

        Whatever it raises, the subscription is not opened.
        """
        ...

    async def save(self, name: str, cursor: Cursor) -> None:
        """Keeps `cursor`: within an epoch never an older one than it has; another epoch replaces what was there.

        What it raises reaches the consumer, or ends the handler; the event does not count as processed.
        """
        ...


class BlockingCursorStore(Protocol):
    """`CursorStore` with plain methods, for cursors in a database connection of the application's own.

    On the blocking face both are called on the consumer's own thread: a handler's is the one that it runs on. On the
    async face they are called in the consumer's task, and must not block the loop for long.
    """

    def load(self, name: str) -> Cursor | None: ...
    def save(self, name: str, cursor: Cursor) -> None: ...


AnyCursorStore: TypeAlias = CursorStore | BlockingCursorStore


class MemoryCursors:
    """Keeps cursors for as long as the object lives: a consumer that is restarted within the process goes on.

    Safe to share between threads and between clients.
    """

    def __init__(self) -> None:
        self._stored: dict[str, Cursor] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._stored)} names>"

    async def load(self, name: str) -> Cursor | None:
        return self._stored.get(name)

    async def save(self, name: str, cursor: Cursor) -> None:
        with self._lock:
            before = self._stored.get(name)
            if before is None or before.epoch != cursor.epoch or _is_ahead(cursor, before):
                self._stored[name] = cursor


def _is_ahead(cursor: Cursor, before: Cursor) -> bool:
    """In one epoch; knowing the event at the same place counts."""
    return cursor.seq > before.seq or (cursor.seq == before.seq and cursor.event_id is not None)


# --- one consumer a name ----------------------------------------------------------------------------------------------


class Keeper(Protocol):
    """A consumer that holds a name."""

    @property
    def keeps(self) -> bool:
        """Whether it is still one: not once it is closed or over."""
        ...


_keepers: WeakValueDictionary[tuple[int, str], Keeper] = WeakValueDictionary()
"""By the store's identity, which its consumer keeps alive. Weak: one that was dropped without closing keeps nothing."""
_keepers_lock = threading.RLock()  # reentrant: the garbage collector may run while it is held


def claim(keeper: Keeper, store: AnyCursorStore, name: str) -> None:
    """Takes the name for `keeper`, for as long as it `keeps` it.

    Two consumers under one name would lose events in a crash: the faster one's cursor passes what the slower one has
    not processed, and nothing in the store could tell them apart.

    Raises:
        InvalidArgumentError: another consumer in this process has it.
    """
    with _keepers_lock:
        other = _keepers.get((id(store), name))
        if other is not None and other is not keeper and other.keeps:
            raise InvalidArgumentError(
                f"the cursor {name!r} of this store is kept by another open subscription or handler: give each a name "
                "of its own by cursor_name=, or close the other first"
            )
        _keepers[id(store), name] = keeper
