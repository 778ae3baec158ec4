"""A resource that stays current: read once, then each newer version that an event carries; in both faces."""

# pyright: reportPrivateUsage=false
# `BlockingLive` is the other face of `Live`.

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

from ..blocking_iterator import nothing_came
from ..deadline import nearest
from ..errors import ClientClosedError, InvalidArgumentError, PlaycallError, RealtimeError
from ..loop_thread import LoopThread, wait_for
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..realtime.items import Snapshot

__all__ = ["BlockingLive", "EventFeed", "Live", "LiveSource"]

T = TypeVar("T")

Read: TypeAlias = Callable[[], Awaitable[tuple[T, Cursor]]]


class EventFeed(Protocol):
    """Events and snapshots in order, and the place of the one that was given last."""

    @property
    def cursor(self) -> Cursor | None: ...
    def __aiter__(self) -> AsyncIterator[AnyEvent | Snapshot]: ...


class LiveSource(Generic[T]):
    """Where a live value comes from.

    Args:
        name: For messages: `the run 7f3a`.
        read: Gives the value and its place in the log, of one moment.
        follow: Subscribes from a place; after a gap a `Snapshot` comes.
        pick: The value that an item carries, None if it carries none.
        is_newer: Whether the first of two values, which an event carries, is newer than the second. A snapshot is not
            asked about: after a restored database it is what holds, and may well be older.
        is_over: Whether nothing can follow a value.
    """

    def __init__(
        self,
        name: str,
        *,
        read: Read[T],
        follow: Callable[[Cursor], AbstractAsyncContextManager[EventFeed]],
        pick: Callable[[AnyEvent | Snapshot], T | None],
        is_newer: Callable[[T, T], bool],
        is_over: Callable[[T], bool],
    ) -> None:
        self.name = name
        self.read = read
        self.follow = follow
        self.pick = pick
        self.is_newer = is_newer
        self.is_over = is_over


class _Current(Generic[T]):
    """The value at this moment; written on the loop's thread, read on any."""

    def __init__(self, value: T, cursor: Cursor) -> None:
        self.value = value
        self.cursor = cursor
        self.count = 0
        """How often the value has changed."""
        self.over = False
        self.error: PlaycallError | None = None
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []

    def move(self, cursor: Cursor, value: T | None) -> None:
        """Up to `cursor` all is known; with it came a newer value, unless that is None."""
        with self._lock:
            self.cursor = cursor
            if value is not None:
                self.value = value
                self.count += 1
                self._wake()

    def end(self, error: PlaycallError | None) -> None:
        with self._lock:
            if not self.over:
                self.over, self.error = True, error
            self._wake()

    def _wake(self) -> None:
        for wake in self._waiting:
            wake()
        self._waiting.clear()

    def after(self, count: int, wake: Callable[[], None]) -> tuple[int, T] | None:
        """The value if it has changed since it had changed `count` times, with the count now.

        None if it has not: then `wake` is called once it has, or it is over, unless it is over already.
        """
        with self._lock:
            if self.count > count:
                return self.count, self.value
            if not self.over:
                self._waiting.append(wake)
            return None


class Live(Generic[T]):
    """`async with client.runs.live(id) as live:` then `live.value` is current for as long as the block lasts."""

    def __init__(self, source: LiveSource[T]) -> None:
        self._source = source
        self._current: _Current[T] | None = None
        self._subscription = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self._opening = False
        self._closed = False
        self._pid: int | None = None
        """The process that opened it: what keeps it current does not come along into a forked child."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source.name}>"

    @property
    def value(self) -> T:
        """As it stands; readable from any thread. Once the block is left, or `error` is set, as it stood then."""
        return self._opened().value

    @property
    def cursor(self) -> Cursor:
        """The place in the log up to which `value` says all: a GET that carries this cursor gives the same."""
        return self._opened().cursor

    @property
    def error(self) -> PlaycallError | None:
        """Why it is not kept current any more; None while it is, and when the resource has come to its end."""
        return self._opened().error

    def changes(self) -> AsyncIterator[T]:
        """Each newer value from this call on; the newest only, where several came while one was being worked on.

        After a gap that is the value as it was read then. Ends with the resource, or the block.

        Raises:
            InvalidArgumentError: at once: it is not open.
            RealtimeError: while iterating: it cannot be kept current any more.
            ClientClosedError: the client was closed; or it was opened by the process before a fork.
        """
        current = self._opened()
        self._refuse_other_process()
        return self._changes(current, current.count)

    async def _changes(self, current: _Current[T], seen: int) -> AsyncIterator[T]:
        while True:
            loop = asyncio.get_running_loop()
            ready: asyncio.Future[None] = loop.create_future()
            got = current.after(seen, partial(_resolve_soon, loop, ready))
            if got is not None:
                seen, value = got
                yield value
            elif current.over:
                if current.error is not None:
                    raise current.error
                return
            else:
                self._refuse_other_process()
                await ready

    async def open(self) -> None:
        """What entering does: reads the value and subscribes. After an error it may be tried again.

        Raises:
            NotFoundError: there is no such resource.
            RealtimeError: events cannot be had.
            RequestError: it could not be read.
            ClientClosedError: it was closed meanwhile; or it was opened by the process before a fork.
        """
        self._refuse_other_process()
        if self._opening or self._closed or self._current is not None:
            raise InvalidArgumentError(f"{self!r} was opened or closed already: make another")
        self._opening, self._pid = True, os.getpid()
        try:
            self._current = await self._begin()
        except BaseException:
            await self._subscription.aclose()
            raise
        finally:
            self._opening = False

    async def _begin(self) -> _Current[T]:
        source = self._source
        value, cursor = await source.read()
        self._refuse_closed()
        current = _Current(value, cursor)
        if source.is_over(value):
            current.end(None)
            return current
        events = await self._subscription.enter_async_context(source.follow(cursor))
        self._refuse_closed()
        # An empty context: it outlives the deadline, and whatever else is in the context, of whoever opens it.
        self._task = asyncio.get_running_loop().create_task(self._keep(current, events), context=contextvars.Context())
        return current

    async def close(self) -> None:
        """Ends it, and what waits for its changes, or for it to be open. Safe to call again."""
        self._closed = True
        if self._is_elsewhere:
            return
        if self._task is not None and not self._task.done():
            self._task.cancel()
            try:
                await asyncio.wait([self._task])
            finally:
                await self._subscription.aclose()  # a task that was cancelled before it began has not done it
        if self._current is not None:
            self._current.end(None)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _opened(self) -> _Current[T]:
        if self._current is None:
            raise InvalidArgumentError(f"{self!r} is not open: use it in a `with` (`async with` on the async client)")
        return self._current

    @property
    def _is_elsewhere(self) -> bool:
        return self._pid is not None and self._pid != os.getpid()

    def _refuse_other_process(self) -> None:
        if self._is_elsewhere:
            raise ClientClosedError(f"{self!r} belongs to the process before the fork: make another")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ClientClosedError(f"{self!r} was closed before it was open")

    async def _keep(self, current: _Current[T], events: EventFeed) -> None:
        source = self._source
        error: PlaycallError | None = None
        try:
            async for item in events:
                value = source.pick(item)
                if not isinstance(item, Snapshot) and value is not None and not source.is_newer(value, current.value):
                    value = None
                current.move(events.cursor or current.cursor, value)
                if source.is_over(current.value):
                    break
            else:
                # Its log has ended, by an event of a kind that we cannot read.
                value, cursor = await source.read()
                current.move(cursor, value)
        except PlaycallError as ended:
            error = ended
        except asyncio.CancelledError:
            raise
        except Exception as ended:
            error = RealtimeError(f"{source.name} is not kept current any more ({type(ended).__name__})")
            error.__cause__ = ended
        finally:
            await self._subscription.aclose()
            current.end(error)


class BlockingLive(Generic[T]):
    """`Live` for the calling thread: `with client.runs.live(id) as live:`; the loop thread keeps it current meanwhile."""

    def __init__(self, source: LiveSource[T]) -> None:
        self._live = Live(source)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._live._source.name}>"

    @property
    def value(self) -> T:
        """As `Live.value`."""
        return self._live.value

    @property
    def cursor(self) -> Cursor:
        """As `Live.cursor`."""
        return self._live.cursor

    @property
    def error(self) -> PlaycallError | None:
        """As `Live.error`."""
        return self._live.error

    def changes(self) -> Iterator[T]:
        """As `Live.changes`. A `with deadline(…)` around it bounds the waiting: DeadlineExceededError."""
        current = self._live._opened()
        self._live._refuse_other_process()
        return self._changes(current, current.count)

    def _changes(self, current: _Current[T], seen: int) -> Iterator[T]:
        while True:
            ready = threading.Lock()
            ready.acquire()
            got = current.after(seen, ready.release)
            if got is not None:
                seen, value = got
                yield value
            elif current.over:
                if current.error is not None:
                    raise current.error
                return
            else:
                self._live._refuse_other_process()
                LoopThread.shared().refuse_own_thread()
                began_at = time.monotonic()
                if not wait_for(ready, nearest(None)):
                    raise nothing_came(f"changes of {self._live._source.name}", began_at)

    def open(self) -> None:
        """As `Live.open`."""
        self._live._refuse_other_process()
        try:
            LoopThread.shared().call(self._live.open)
        except PlaycallError:
            raise  # by `Live.open`, which has left nothing
        except BaseException:
            self.close()  # an interrupt may have come when it was open already
            raise

    def close(self) -> None:
        """As `Live.close`."""
        if self._live._is_elsewhere:
            return
        try:
            LoopThread.shared().call(self._live.close)
        except ClientClosedError:
            pass  # the interpreter is exiting, and ends it by itself

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _resolve_soon(loop: asyncio.AbstractEventLoop, ready: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # its loop has closed, so nobody waits any more
        loop.call_soon_threadsafe(_resolve, ready)  # whoever changes the value may be on another loop


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
