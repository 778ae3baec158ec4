"""A resource that stays current: read once, then each newer version that an event carries; in both faces."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

from ..blocking_iterator import nothing_came
from ..deadline import nearest
from ..errors import ClientClosedError, InvalidArgumentError, PlaycallError, RealtimeError
from ..loop_thread import LoopThread
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
        is_newer: Whether the first of two values is newer than the second.
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
        self._task: asyncio.Task[None] | None = None

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

    async def changes(self) -> AsyncIterator[T]:
        """Each newer value from now on; the newest only, where several came while one was being worked on.

        Ends with the resource, or the block.

        Raises:
            RealtimeError: it cannot be kept current any more.
            ClientClosedError: the client was closed.
        """
        current = self._opened()
        seen = current.count
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
                await ready

    async def open(self) -> None:
        """What entering does: reads the value and subscribes.

        Raises:
            NotFoundError: there is no such resource.
            RealtimeError: events cannot be had.
            RequestError: it could not be read.
        """
        if self._current is not None:
            raise InvalidArgumentError(f"{self!r} was opened already: make another")
        source = self._source
        value, cursor = await source.read()
        self._current = _Current(value, cursor)
        if source.is_over(value):
            self._current.end(None)
            return
        feed = source.follow(cursor)
        events = await feed.__aenter__()
        # An empty context: it outlives the deadline, and whatever else is in the context, of whoever opens it.
        self._task = asyncio.get_running_loop().create_task(
            self._keep(self._current, feed, events), context=contextvars.Context()
        )

    async def close(self) -> None:
        """Ends it, and what waits for its changes. Safe to call again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
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

    async def _keep(
        self, current: _Current[T], feed: AbstractAsyncContextManager[EventFeed], events: EventFeed
    ) -> None:
        source = self._source
        error: PlaycallError | None = None
        try:
            async for item in events:
                value = source.pick(item)
                newer = value if value is not None and source.is_newer(value, current.value) else None
                current.move(events.cursor or current.cursor, newer)
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
            await feed.__aexit__(None, None, None)
            current.end(error)


class BlockingLive(Generic[T]):
    """`Live` for the calling thread: `with client.runs.live(id) as live:`; the loop thread keeps it current meanwhile."""

    def __init__(self, source: LiveSource[T]) -> None:
        self._live = Live(source)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._live._source.name}>"  # pyright: ignore[reportPrivateUsage] - its other face

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
        current = self._live._opened()  # pyright: ignore[reportPrivateUsage] - its other face
        seen = current.count
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
                LoopThread.shared().refuse_own_thread()
                began_at, ends_at = time.monotonic(), nearest(None)
                left = -1 if ends_at is None else min(max(0, ends_at - began_at), threading.TIMEOUT_MAX)
                if not ready.acquire(timeout=left):
                    raise nothing_came(f"changes of {self._live._source.name}", began_at)  # pyright: ignore[reportPrivateUsage]

    def open(self) -> None:
        """As `Live.open`."""
        LoopThread.shared().call(self._live.open)

    def close(self) -> None:
        """As `Live.close`."""
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
