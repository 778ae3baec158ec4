"""Events whose handler raised, kept until `replay()` gives them to it again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic

from ..models.event import AnyEvent
from .plain_protocol import EventT

__all__ = ["SET_ASIDE_KEPT", "SetAside", "SetAsideQueue"]

SET_ASIDE_KEPT = 1_000
"""Of each handler; beyond that the oldest are dropped, and counted."""


@dataclass(frozen=True, slots=True)
class SetAside(Generic[EventT]):
    """An event whose handler raised `error`, the last time if more than once; the ones after it were delivered."""

    event: EventT
    error: BaseException


class SetAsideQueue:
    """In the order in which they failed. Safe to read and to change from any thread."""

    def __init__(self, kept: int = SET_ASIDE_KEPT) -> None:
        self.dropped = 0
        """Events that had no room any more."""
        self._kept = kept
        self._lock = threading.Lock()
        self._entries: dict[int, SetAside] = {}
        self._in_hand: set[int] = set()
        self._last = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, event: AnyEvent, error: BaseException) -> None:
        with self._lock:
            self._last += 1
            self._entries[self._last] = SetAside(event, error)
            if len(self._entries) > self._kept:
                del self._entries[next(iter(self._entries))]
                self.dropped += 1

    @property
    def entries(self) -> tuple[SetAside, ...]:
        with self._lock:
            return tuple(self._entries.values())

    # --- for a replay, which names entries by number ------------------------------------------------------------------

    @property
    def numbers(self) -> tuple[int, ...]:
        """Oldest first."""
        with self._lock:
            return tuple(self._entries)

    def take(self, number: int) -> AnyEvent | None:
        """The event, in hand until it is put back or done; None if it is gone, or in somebody's hand already."""
        with self._lock:
            entry = self._entries.get(number)
            if entry is None or number in self._in_hand:
                return None
            self._in_hand.add(number)
            return entry.event

    def put_back(self, number: int, error: BaseException | None = None) -> None:
        """It stays in its place, with `error` where it has failed anew."""
        with self._lock:
            self._in_hand.discard(number)
            if error is not None and (entry := self._entries.get(number)) is not None:
                self._entries[number] = SetAside(entry.event, error)

    def done(self, number: int) -> None:
        with self._lock:
            self._in_hand.discard(number)
            self._entries.pop(number, None)
