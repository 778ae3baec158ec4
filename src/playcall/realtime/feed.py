"""A subscription as its consumer holds it: a context manager and an iterator, in both faces.

Iterating costs a batch one hand-over, and an event next to nothing: no task, no lock, no hop between threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

from ..deadline import nearest
from ..errors import ClientClosedError, InvalidArgumentError, RealtimeTimeoutError
from ..loop_thread import LoopThread, wait_for
from ..models.cursor import Cursor
from ..models.ids import EventId
from .buffer import Batch, Buffer, Ended
from .connection import Connection
from .cursors import AnyCursorStore, claim
from .items import Gap, Snapshot, Want

__all__ = ["BlockingFeed", "Feed", "Opener", "Opening"]

ItemT = TypeVar("ItemT", covariant=True)
T = TypeVar("T")


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
    cursors: AnyCursorStore | None = None
    cursor_name: str = ""


class _FeedBase(Generic[ItemT]):
    """Where the consumer stands. What follows from the face is in the two classes below."""

    def __init__(self, opener: Opener, opening: Opening) -> None:
        self._opener = opener
        self._opening = opening
        self._stores = opening.cursors is not None
        self._buffer = Buffer(opening.want.window)
        self._connection: Connection | None = None
        self._opening_task: asyncio.Task[object] | None = None
        self._key = 0
        self._closed = False
        self._over = False
        """The consumer has been told that nothing follows."""
        self._items: Iterator[ItemT] = iter(())
        self._batch: Batch | None = None
        self._before: ItemT | None = None
        self._item: ItemT | None = None
        self._done: Cursor | None = None
        """Everything up to here was processed before the batch in hand."""
        self._unreported = 0
        self._report_at = max(1, opening.want.window // 4)
        self._saved: Cursor | None = None
        """What the store has, as far as we know."""

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
        """The place of the item that was given last, None before the first: `start=` it to go on after that item.

        For effects that happen exactly once, keep it in the transaction that has the item's effect.
        """
        return self._place(self._item, self._batch) or self._done

    @property
    def processed(self) -> Cursor | None:
        """How far items have been processed: those before the one in hand, which counts when the next is asked for.

        Leaving the `with` block normally counts it too; by an exception it does not. None while nothing was.
        """
        return self._after(self._before)

    @property
    def buffered(self) -> int:
        """Items received that wait for the consumer, beyond the batch in hand."""
        return self._buffer.size

    @property
    def lag(self) -> int | None:
        """How many log entries `processed` is behind the newest that was heard of; None while either is not known.

        Entries that a filter leaves out count until it is known that they were.
        """
        connection, processed = self._connection, self.processed or self._given
        head = None if connection is None else connection.head_of(self._key)
        return None if head is None or processed is None else max(0, head - processed.seq)

    @property
    def keeps(self) -> bool:
        """Whether its name in the store is its own still: not once it is over, or its loop or process is gone."""
        return not self._closed and not self._over and (self._connection is None or self._connection.usable)

    @property
    def _given(self) -> Cursor | None:
        start = self._opening.want.start
        return start if isinstance(start, Cursor) else None

    @staticmethod
    def _place(item: object, batch: Batch | None) -> Cursor | None:
        """Of an item in its batch, which is given because another thread may ask while the next one is begun."""
        to = None if batch is None else batch.to
        if item is None or to is None:
            return None
        if isinstance(item, Gap):
            return item.resume
        if isinstance(item, Snapshot):
            return item.cursor
        event = cast("_IsEvent", item)
        return Cursor(to.epoch, event.seq, event.id)

    def _after(self, item: ItemT | None) -> Cursor | None:
        """How far things have come once `item` is processed: with the last of its batch, what a filter left out after it."""
        batch = self._batch
        if batch is None or batch.to is None or (batch.items and item is None):
            return self._done
        if batch.items and item is not batch.items[-1]:
            return self._place(item, batch)
        if batch.to.event_id is not None:
            return batch.to
        place = self._place(item, batch)
        return place if place == batch.to else batch.to

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def _connect(self, ends_at: float | None, stored: Cursor | None) -> None:
        """On the loop's thread, whatever the face."""
        self._opening_task = asyncio.current_task()
        try:
            opening = self._opening
            want = opening.want if stored is None else replace(opening.want, start=stored)
            self._done = self._saved = stored
            if self._closed:  # by another thread, before it could see the task
                raise ClientClosedError(f"the subscription to {self.topic} was closed before it was open")
            connection = await self._opener.connection()
            self._key = await connection.open(want, self._buffer, wait=opening.wait, ends_at=ends_at)
            self._connection = connection
            if self._is_closed():  # meanwhile, by another thread
                connection.withdraw(self._key)
        finally:
            self._opening_task = None

    def _is_closed(self) -> bool:
        """As it is now, whatever it was a moment ago."""
        return self._closed

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
        self._batch = batch
        # The items fit ItemT: gaps and snapshots come only where on_gap asked for them.
        self._items = cast("Iterator[ItemT]", iter(batch.items))
        if self._closed:  # by another thread, which has not seen these items
            self._items = iter(())

    def in_hand(self) -> Iterator[ItemT]:
        """The item in hand, and those that need not be waited for: as each is given, the one before it counts as processed."""
        if self._item is not None:
            yield self._item
        for item in self._items:
            self._before, self._item = self._item, item
            yield item

    def _finish_batch(self) -> None:
        """The item in hand, the last of its batch, was processed, and with it what a filter left out after it."""
        self._done = self._after(self._item)
        self._batch = None
        self._before = self._item = None

    # --- the store ----------------------------------------------------------------------------------------------------

    def _claim(self) -> AnyCursorStore | None:
        """The store, if there is one, in which our name is ours from now on."""
        cursors = self._opening.cursors
        if cursors is not None:
            claim(self, cursors, self._opening.cursor_name)
        return cursors

    def _loaded(self, found: Cursor | None) -> Cursor | None:
        if found is not None and not isinstance(found, Cursor):  # pyright: ignore[reportUnnecessaryIsInstance] - a store may be untyped
            raise InvalidArgumentError(
                f"load({self._opening.cursor_name!r}) of the cursor store gave {found!r}: it has to be a Cursor or None"
            )
        return found

    def _unsaved(self) -> Cursor | None:
        """What the store is to have once the item in hand is processed, None where it has it."""
        reached = self._after(self._item)
        return None if reached == self._saved else reached


class _IsEvent(Protocol):
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
            stored = None
            if (cursors := self._claim()) is not None:
                stored = self._loaded(await _now(cursors.load(self._opening.cursor_name)))
            await self._connect(ends_at, stored)
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
            await self.settle()

    async def settle(self) -> None:
        """The item in hand has been processed: it counts, and is stored, now and not only when the next is asked for.

        Raises: what the store raises; then it does not count.
        """
        cursors = self._opening.cursors
        if cursors is not None and (reached := self._unsaved()) is not None:
            await _now(cursors.save(self._opening.cursor_name, reached))
            self._saved = reached
        self._before = self._item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        while True:
            if self._stores and not self._closed:
                await self.settle()  # before anything moves: if the store raises, the item stays in hand
            for item in self._items:
                self._before, self._item = self._item, item
                return item
            connection = self._opened()
            if self._closed:
                raise StopAsyncIteration
            self._finish_batch()
            batch = await self._take()
            self._start(batch)
            if count := self._count(batch):
                connection.taken(self._key, count)

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
                self._over = True
                raise StopAsyncIteration if taken.error is None else taken.error
            if ends_at is None:
                await ready
            else:
                await asyncio.wait([ready], timeout=ends_at - time.monotonic())


class BlockingFeed(_FeedBase[ItemT]):
    """`Feed` for the calling thread: `with client.subscribe(...) as feed: for event in feed: ...`

    What has arrived is taken without a hop to the loop's thread. Ctrl-C ends a waiting `next()` at once; `close()` may
    be called from another thread, and ends the iteration there.
    """

    def open(self) -> None:
        """As `Feed.open`."""
        self.open_until(nearest(self._opening.deadline_seconds))

    def open_until(self, ends_at: float | None) -> None:
        """As `open`, bounded by a `time.monotonic()` moment; None for no bound."""
        self._refuse_reopening()
        try:
            stored = None
            if (cursors := self._claim()) is not None:
                stored = self._loaded(_wait(cursors.load(self._opening.cursor_name)))
            LoopThread.shared().call(self._connect, ends_at, stored)
        except BaseException:
            self.close()  # an interrupt may have come when it was open already
            raise

    def close(self) -> None:
        """As `Feed.close`. It also ends an `open` that waits in another thread."""
        self._shut()
        with suppress(ClientClosedError):  # the interpreter is exiting, and ends it by itself
            connection = self._connection
            if connection is not None and connection.usable:
                LoopThread.shared().post(partial(connection.withdraw, self._key))
            elif self._opening_task is not None:
                LoopThread.shared().post(self._stop_opening)

    def _stop_opening(self) -> None:
        if self._opening_task is not None:
            self._opening_task.cancel()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if exc_type is None:
            self.settle()

    def settle(self) -> None:
        """As `Feed.settle`."""
        cursors = self._opening.cursors
        if cursors is not None and (reached := self._unsaved()) is not None:
            _wait(cursors.save(self._opening.cursor_name, reached))
            self._saved = reached
        self._before = self._item

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ItemT:
        while True:
            if self._stores and not self._closed:
                self.settle()
            for item in self._items:
                self._before, self._item = self._item, item
                return item
            connection = self._opened()
            if self._closed:
                raise StopIteration
            self._finish_batch()
            batch = self._take(connection)
            self._start(batch)
            if count := self._count(batch):
                LoopThread.shared().post(partial(connection.taken, self._key, count))

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
                self._over = True
                raise StopIteration if taken.error is None else taken.error
            if not connection.usable:
                raise ClientClosedError("this subscription belongs to the process before the fork: make another")
            LoopThread.shared().refuse_own_thread()
            wait_for(ready, ends_at)


async def _now(said: Awaitable[T] | T) -> T:
    """What a store answers, plain or awaitable."""
    if isinstance(said, Awaitable):
        return await said  # pyright: ignore[reportUnknownVariableType] - it thinks that a T may be awaitable itself
    return said


def _wait(said: Awaitable[T] | T) -> T:
    """`_now` for the calling thread: a plain method has run on it by now, a coroutine runs on the loop's."""
    if isinstance(said, Awaitable):
        return LoopThread.shared().call(_now, said)  # pyright: ignore[reportUnknownArgumentType] - as above
    return said


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
