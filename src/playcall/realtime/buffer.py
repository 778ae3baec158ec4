"""Between the loop that receives and the one consumer that takes: whole batches change hands, so an event costs little."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import PlaycallError
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from .items import Gap, Snapshot
from .plain_items import PlainItem

__all__ = ["Batch", "Buffer", "Ended"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Items in order. After the last of them everything up to `to` has been taken; it is in `to.epoch` throughout.

    `to` is None where the server knows no cursors. `credit` is how many of them the server was given credit for: events,
    nothing else; or, where it knows none, how many of them take up the consumer's window.
    """

    items: Sequence[AnyEvent | Gap | Snapshot | PlainItem]
    to: Cursor | None
    credit: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing follows; `error` says why, None where the topic or the consumer is done."""

    error: PlaycallError | None


class Buffer:
    """Filled on the loop's thread, emptied on the consumer's, which may be the same.

    It needs no bound of its own: the server's credit is `window` events, and batches are cut so that credit flows back
    while a large frame is still being worked off. Where a server knows no credit, the session drops what is too much.
    """

    def __init__(self, window: int) -> None:
        self._cut = max(1, window // 4)
        self._lock = threading.Lock()
        self._batches: deque[Batch] = deque()
        self._ended: Ended | None = None
        self._dropped = False
        self._wake: Callable[[], None] | None = None

    # --- the loop's side ----------------------------------------------------------------------------------------------

    def put_events(self, events: Sequence[AnyEvent], to: Cursor) -> None:
        """`events` may be empty: then only the cursor moves, which wakes nobody."""
        cut = self._cut
        if len(events) <= cut:
            batches = [Batch(events, to, len(events))]
        else:
            parts = [events[at : at + cut] for at in range(0, len(events), cut)]
            batches = [Batch(part, Cursor(to.epoch, part[-1].seq, part[-1].id), len(part)) for part in parts[:-1]]
            batches.append(Batch(parts[-1], to, len(parts[-1])))
        with self._lock:
            if self._dropped:
                return
            if not events and self._batches and not self._batches[-1].items:
                self._batches.pop()  # a run of empty frames is one move of the cursor
            self._batches.extend(batches)
            if events:
                self._wake_consumer()

    def put_gap(self, gap: Gap) -> None:
        self._put(Batch((gap,), gap.resume, 0))

    def put_snapshot(self, snapshot: Snapshot) -> None:
        self._put(Batch((snapshot,), snapshot.cursor, 0))

    def put_plain(self, item: PlainItem) -> None:
        """Of a server that knows no cursors; its session does not give more than the window."""
        self._put(Batch((item,), None, 1))

    def _put(self, batch: Batch) -> None:
        with self._lock:
            if self._dropped:
                return
            self._batches.append(batch)
            self._wake_consumer()

    def end(self, error: PlaycallError | None) -> None:
        """Nothing follows what is here. The first word counts."""
        with self._lock:
            if self._ended is None:
                self._ended = Ended(error)
            self._wake_consumer()

    def drop(self) -> None:
        """The consumer wants nothing more: what is here is thrown away, and so is what comes. Callable from any thread."""
        with self._lock:
            self._dropped = True
            self._batches.clear()
            self._ended = Ended(None)
            self._wake_consumer()

    def _wake_consumer(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    # --- the consumer's side ------------------------------------------------------------------------------------------

    def take(self, wake: Callable[[], None]) -> Batch | Ended | None:
        """The next batch, or how it ended once all were taken.

        None when neither is there yet; then `wake` is called, once and on the loop's thread, when asking again pays.
        """
        with self._lock:
            if self._batches:
                return self._batches.popleft()
            if self._ended is None:
                self._wake = wake
            return self._ended

    @property
    def size(self) -> int:
        """Items waiting."""
        with self._lock:
            return sum(len(batch.items) for batch in self._batches)
