"""A subscription as its consumer holds it: a context manager and an iterator, in both faces.

Iterating costs a batch one hand-over, and an event next to nothing: no task, no lock, no hop between threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

from ..deadline import nearest
from ..errors import ClientClosedError, InvalidArgumentError, RealtimeTimeoutError
from ..loop_thread import LoopThread
from ..models.cursor import Cursor
from ..models.ids import EventId
from .buffer import Batch, Buffer, Ended
from .connection import Connection
from .cursors import CursorStore, StoredCursor
from .items import Gap, Want

__all__ = ["BlockingFeed", "Feed", "Opener", "Opening"]

ItemT = TypeVar("ItemT", covariant=True)


class Opener(Protocol):
    """What a feed needs of the client that it belongs to."""

    async def connection(self) -> Connection:
        """The running loop's connection. Raises ClientClosedError after `close`."""
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """How a feed is to be opened.

    `deadline_seconds` bounds waiting for the server's answer, None for no bound but the context's. With `cursors`, a
    cursor stored under `cursor_name` wins over the start, and is moved as items are processed.
    """

    want: Want
    wait: bool = True
    deadline_seconds: float | None = None
    cursors: CursorStore | None = None
    cursor_name: str = ""


class _FeedBase(Generic[ItemT]):
    """Where the consumer stands. What follows from the face is in the two classes below."""

    def __init__(self, opener: Opener, opening: Opening) -> None:
        self._opener = opener
        self._opening = opening
        self._buffer = Buffer(opening.want.window)
        self._connection: Connection | None = None
        self._key = 0
        self._closed = False
        self._items: Iterator[ItemT] = iter(())
        self._batch: Batch | None = None
        self._before: ItemT | None = None
        self._item: ItemT | None = None
        self._done: Cursor | None = None
        """Everything up to here was processed before the batch in hand."""
        self._done_id: EventId | None = None
        self._unreported = 0
        self._report_at = max(1, opening.want.window // 4)
        self._saved: Cursor | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topic!r}>"

    @property
    def topic(self) -> str:
        return self._opening.want.topic

    @property
    def types(self) -> tuple[str, ...] | None:
        return self._opening.want.types

    @property
    def cursor(self) -> Cursor | None:
        """The place of the item that was given last: subscribe from it to go on after that item. None before the first."""
        return self._place(self._item) or self._done

    @property
    def processed(self) -> Cursor | None:
        """How far items have been processed: those before the one in hand, which counts when the next is asked for.

        Leaving the `with` block normally counts it too; by an exception it does not. None while nothing was.
        """
        return self._place(self._before) or self._done

    @property
    def buffered(self) -> int:
        """Items received that wait for the consumer, beyond the batch in hand."""
        return self._buffer.size

    def _place(self, item: ItemT | None) -> Cursor | None:
        if item is None or self._batch is None:
            return None
        if isinstance(item, Gap):
            return item.resume
        return Cursor(self._batch.to.epoch, cast("_HasSeq", item).seq)

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def _open(self, ends_at: float | None) -> None:
        """On the loop's thread, whatever the face."""
        opening = self._opening
        want = opening.want
        if opening.cursors is not None:
            stored = await opening.cursors.load(opening.cursor_name)
            if stored is not None:
                want = replace(want, start=stored.cursor)
                self._done = self._saved = stored.cursor
        connection = await self._opener.connection()
        self._key = await connection.open(want, self._buffer, wait=opening.wait, ends_at=ends_at)
        self._connection = connection

    def _refuse_reopening(self) -> None:
        if self._connection is not None or self._closed:
            raise InvalidArgumentError("this subscription was opened already: call subscribe() for another")

    def _opened(self) -> Connection:
        if self._connection is None:
            raise InvalidArgumentError(
                f"the subscription to {self.topic} is not open: use `with client.subscribe(...) as feed` "
                "(`async with` on the async client), then iterate over the feed"
            )
        return self._connection

    def _shut(self) -> None:
        """No more items, also for a consumer that waits in another thread or task."""
        self._closed = True
        self._items = iter(())
        self._buffer.drop()

    def _too_late(self) -> RealtimeTimeoutError:
        return RealtimeTimeoutError(f"no more events of {self.topic} came before the deadline of this block")

    # --- taking -------------------------------------------------------------------------------------------------------

    def _count(self, batch: Batch) -> int:
        """How many events to report as taken, 0 to wait for more: the server needs to hear of it only now and then."""
        self._unreported += batch.credit
        if self._unreported < self._report_at:
            return 0
        count, self._unreported = self._unreported, 0
        return count

    def _start(self, batch: Batch) -> None:
        self._finish_batch()
        self._batch = batch
        # The items fit ItemT: gaps come only where on_gap="yield" asked for them.
        self._items = cast("Iterator[ItemT]", iter(batch.items))
        if self._closed:  # by another thread, which has not seen these items
            self._items = iter(())

    def _finish_batch(self) -> None:
        """The item in hand, the last of its batch, was processed, and with it what a filter left out after it."""
        if self._batch is not None:
            self._done = self._batch.to
            at_end = self._place(self._item) == self._done
            self._done_id = None if self._item is None or not at_end else _id(self._item)
        self._batch = None
        self._before = self._item = None

    def _unsaved(self) -> tuple[CursorStore, StoredCursor] | None:
        """What the durable store does not have yet."""
        cursors, processed = self._opening.cursors, self.processed
        if cursors is None or processed is None or processed == self._saved:
            return None
        self._saved = processed
        event_id = self._done_id if self._before is None else _id(self._before)
        return cursors, StoredCursor(processed, event_id)

    def _mark_current(self) -> None:
        """The block was left normally: what was in hand has been processed."""
        self._before = self._item


class _HasSeq(Protocol):
    """An event, as far as a feed looks into it."""

    @property
    def seq(self) -> int: ...
    @property
    def id(self) -> EventId: ...


class Feed(_FeedBase[ItemT]):
    """Events in order, each once: `async with client.subscribe(...) as feed: async for event in feed: ...`

    For one consumer at a time. Iteration ends when the topic does, after its terminal event; it raises
    TopicForbiddenError, EventGapError, another RealtimeError when the connection has failed for good,
    RealtimeTimeoutError when a `with deadline(…)` around it has passed, or ClientClosedError when the client was closed.
    """

    async def open(self) -> None:
        """What entering does: subscribes, and waits for the server's answer.

        Raises:
            RealtimeTimeoutError: no answer in time; the subscription was withdrawn.
            TopicForbiddenError: there is no such topic for this caller.
            RealtimeError: the connection cannot be made.
            ClientClosedError: the client is closed.
        """
        await self.open_until(nearest(self._opening.deadline_seconds))

    async def open_until(self, ends_at: float | None) -> None:
        """As `open`, bounded by a `time.monotonic()` moment; None for no bound."""
        self._refuse_reopening()
        try:
            await self._open(ends_at)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Unsubscribes; the item in hand does not count as processed. Safe to call again."""
        self.stop()

    def stop(self) -> None:
        """What `close` does, which waits for nothing."""
        self._shut()
        if self._connection is not None and self._connection.usable:
            self._connection.withdraw(self._key)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
        if exc_type is None:
            self._mark_current()
            await self._save()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        for item in self._items:
            self._before, self._item = self._item, item
            if self._opening.cursors is not None:
                await self._save()
            return item
        connection = self._opened()
        while True:
            if self._closed:
                raise StopAsyncIteration
            self._finish_batch()
            if self._opening.cursors is not None:
                await self._save()
            batch = await self._take()
            self._start(batch)
            if count := self._count(batch):
                connection.taken(self._key, count)
            for item in self._items:
                self._item = item
                return item

    async def _take(self) -> Batch:
        ends_at = nearest(None)
        while True:
            if ends_at is not None and time.monotonic() >= ends_at:
                raise self._too_late()
            ready = asyncio.get_running_loop().create_future()
            taken = self._buffer.take(partial(_resolve, ready))
            if isinstance(taken, Batch):
                return taken
            if isinstance(taken, Ended):
                raise StopAsyncIteration if taken.error is None else taken.error
            if ends_at is None:
                await ready
            else:
                await asyncio.wait([ready], timeout=ends_at - time.monotonic())

    async def _save(self) -> None:
        if (unsaved := self._unsaved()) is not None:
            cursors, stored = unsaved
            await cursors.save(self._opening.cursor_name, stored)


class BlockingFeed(_FeedBase[ItemT]):
    """`Feed` for the calling thread: `with client.subscribe(...) as feed: for event in feed: ...`

    What has arrived is taken without a hop to the loop's thread. Ctrl-C ends a waiting `next()` at once; `close()` may
    be called from another thread, and ends the iteration there.
    """

    def open(self) -> None:
        """As `Feed.open`."""
        self._refuse_reopening()
        try:
            LoopThread.shared().call(self._open, nearest(self._opening.deadline_seconds))
        except BaseException:
            self.close()  # an interrupt may have come when it was open already
            raise

    def close(self) -> None:
        """As `Feed.close`."""
        self._shut()
        connection = self._connection
        if connection is not None and connection.usable:
            with suppress(ClientClosedError):  # the interpreter is exiting, and ends it by itself
                LoopThread.shared().post(partial(connection.withdraw, self._key))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if exc_type is None:
            self._mark_current()
            self._save()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ItemT:
        for item in self._items:
            self._before, self._item = self._item, item
            if self._opening.cursors is not None:
                self._save()
            return item
        connection = self._opened()
        while True:
            if self._closed:
                raise StopIteration
            self._finish_batch()
            if self._opening.cursors is not None:
                self._save()
            batch = self._take(connection)
            self._start(batch)
            if count := self._count(batch):
                LoopThread.shared().post(partial(connection.taken, self._key, count))
            for item in self._items:
                self._item = item
                return item

    def _take(self, connection: Connection) -> Batch:
        ends_at = nearest(None)
        while True:
            if ends_at is not None and time.monotonic() >= ends_at:
                raise self._too_late()
            ready = threading.Lock()
            ready.acquire()
            taken = self._buffer.take(ready.release)
            if isinstance(taken, Batch):
                return taken
            if isinstance(taken, Ended):
                raise StopIteration if taken.error is None else taken.error
            if not connection.usable:
                raise ClientClosedError("this subscription belongs to the process before the fork: make another")
            LoopThread.shared().refuse_own_thread()
            left = -1 if ends_at is None else min(max(0, ends_at - time.monotonic()), threading.TIMEOUT_MAX)
            ready.acquire(timeout=left)

    def _save(self) -> None:
        if (unsaved := self._unsaved()) is not None:
            cursors, stored = unsaved
            LoopThread.shared().call(cursors.save, self._opening.cursor_name, stored)


def _id(item: object) -> EventId | None:
    return None if isinstance(item, Gap) else cast("_HasSeq", item).id


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
