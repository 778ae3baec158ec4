"""Iteration on a calling thread over what the loop thread produces, read ahead so that most items cost no hop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Generic, Self, TypeVar

from .deadline import nearest
from .errors import ClientClosedError, DeadlineExceededError
from .loop_thread import CANCEL_WAIT_SECONDS, LoopThread, wait_for
from .timeline import Timeline

__all__ = ["READ_AHEAD", "BlockingIterator", "nothing_came"]

T = TypeVar("T")

READ_AHEAD = 256
"""Items that a blocking iterator holds ready beyond the one in use."""
LATE_SECONDS = 0.5
"""How long a source may take to say itself, and with its timeline, that the deadline has come that it runs under."""


class _Pump(Generic[T]):
    """Drives one async iterator from one task, into a bounded buffer; never refers to the `BlockingIterator`."""

    def __init__(self, owner: LoopThread, source: AsyncIterator[T], read_ahead: int) -> None:
        self.owner = owner
        self.read_ahead = read_ahead
        self.source = source
        self.items: deque[T] = deque()
        self.error: BaseException | None = None
        self.over = False
        self.waiters: list[threading.Lock] = []
        self.changed = threading.Lock()
        self.context: contextvars.Context | None = None
        self.ends_at: float | None = None
        self.room: asyncio.Event | None = None
        self.task: asyncio.Task[None] | None = None
        self.ended = threading.Event()

    def begin(self) -> None:
        """On the thread that asks for the first item: its context, and so its deadline, is the source's."""
        self.ends_at = nearest(None)
        self.context = contextvars.copy_context()
        self.owner.post(self.start)

    def start(self) -> None:
        self.room = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(), context=self.context)

    async def _run(self) -> None:
        assert self.room is not None  # noqa: S101 - set by start()
        try:
            async for item in self.source:
                with self.changed:
                    self.items.append(item)
                    full = len(self.items) >= self.read_ahead
                    if full:
                        self.room.clear()
                    self._wake()
                if full:
                    await self.room.wait()
        except asyncio.CancelledError:
            # By close(), or at the loop's end, the iteration is over; otherwise it would look complete, and is not.
            if self.task is not None and not self.task.cancelling():
                self.error = ClientClosedError("the iteration was cancelled from within")
        except BaseException as error:  # it belongs to the iterating thread, whatever it is
            self.error = error
        finally:
            aclose = getattr(self.source, "aclose", None)
            if aclose is not None:
                with contextlib.suppress(Exception):  # the iteration's own outcome has been kept already
                    await aclose()
            with self.changed:
                self.over = True
                self._wake()
            self.ended.set()

    def _wake(self) -> None:
        for waiter in self.waiters:
            waiter.release()
        self.waiters.clear()

    def patience(self, ends_at: float | None) -> float | None:
        """Until when to wait for an item, of a caller who has until `ends_at`."""
        return ends_at if ends_at is None or ends_at != self.ends_at else ends_at + LATE_SECONDS

    def make_room(self) -> None:
        if self.room is not None:
            self.room.set()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
        else:
            self.ended.set()


class BlockingIterator(Generic[T]):
    """Iterates on the calling thread over what the loop thread produces; reads up to `read_ahead` items ahead.

    Leaving the loop early is fine: `close()`, the end of a `with` block or garbage collection ends the source.

    `next()` waits no longer than the calling thread's `deadline()` allows, wherever the iterator was made, and then raises
    DeadlineExceededError: of the call that was under way, if the source began under this deadline; otherwise of the
    iteration, which can be gone on with. The source runs under the deadline that holds where the first `next()` is.
    """

    _started = False
    """Of the class, because Ctrl-C may end the constructor before its first line; `__del__` is called then too."""

    def __init__(self, owner: LoopThread, source: AsyncIterator[T], *, read_ahead: int = READ_AHEAD) -> None:
        self._pump = _Pump(owner, source, read_ahead)
        self._closed = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __next__(self) -> T:
        pump = self._pump
        while True:
            with pump.changed:
                if self._closed:
                    raise StopIteration
                if pump.items:
                    item = pump.items.popleft()
                    if len(pump.items) == pump.read_ahead // 2:
                        pump.owner.post(pump.make_room)
                    return item
                if pump.over:
                    error, pump.error = pump.error, None
                    if error is None:
                        raise StopIteration
                    break
                pump.owner.refuse_own_thread()
                if not self._started:
                    self._started = True
                    try:
                        pump.begin()
                    except ClientClosedError:
                        self._started = False
                        raise
                waiter = threading.Lock()
                waiter.acquire()
                pump.waiters.append(waiter)
            began_at = time.monotonic()
            if not wait_for(waiter, pump.patience(nearest(None))):
                with pump.changed:
                    if waiter in pump.waiters:
                        pump.waiters.remove(waiter)
                        raise nothing_came(getattr(pump.source, "__qualname__", "an iteration"), began_at)
        try:
            raise error
        finally:
            del error  # no cycle: the traceback holds this frame

    def close(self) -> None:
        """Ends the source, waiting a moment for its cleaning up. Safe to call twice, and from any thread."""
        pump = self._pump
        with pump.changed:
            if self._closed:
                return
            self._closed = True
            if not self._started or pump.over:
                return
        with contextlib.suppress(ClientClosedError):  # the interpreter is exiting, and ends it by itself
            pump.owner.post(pump.cancel)
            if not pump.owner.is_current_thread:
                pump.ended.wait(CANCEL_WAIT_SECONDS)

    def __del__(self) -> None:
        if self._started and not self._closed and not self._pump.over:
            with contextlib.suppress(Exception):  # a finaliser has nobody to tell
                self._pump.owner.post(self._pump.cancel)


def nothing_came(what: str, began_at: float) -> DeadlineExceededError:
    """The error of an iteration that waited from `began_at` (`time.monotonic()`) until the deadline of its block.

    Its timeline has no attempt: no one call was waited for.
    """
    took_seconds = time.monotonic() - began_at
    return DeadlineExceededError(
        f"{what}: nothing more came before the deadline of this block",
        timeline=Timeline("next", what, took_seconds, took_seconds=took_seconds, changes=False),
    )
