"""Handlers on the async client: one ordered queue each, so that nothing a handler does delays another, the reading or
the heartbeats.

The queue is the handler's own subscription: when it is full, the server's credit is spent, and the log waits.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self, TypeAlias, cast

from ..deadline import nearest
from ..errors import ClientClosedError, InvalidArgumentError, PlaycallError, RealtimeTimeoutError
from ..models.event import AnyEvent
from .feed import Feed, Opening
from .items import Gap
from .own_thread import OwnThread
from .plain_items import PlainGap
from .plain_protocol import EventT
from .registration import Handler, Reactions, RegistrationBase

__all__ = ["Registration"]

LOOP_MODULES = frozenset({"asyncio", "_asyncio", "uvloop", "anyio"})
"""Whose objects may be touched on the loop's thread only."""


_Calls: TypeAlias = "tuple[Registration[Any], int, _Calls] | None"

_calls: contextvars.ContextVar[_Calls] = contextvars.ContextVar("playcall_handler_calls", default=None)
"""The call of a handler that the running code belongs to, by its number, and what that was made in; it may have ended."""


class Registration(RegistrationBase[EventT]):
    """A handler on the async client. It is registered at once; `await` it to know that the server has answered.

    A coroutine function is awaited on the event loop. Any other function is called on a thread of the handler's own,
    one event after another, so that it may sleep, compute or use blocking libraries. It must not touch what belongs to
    the loop: `asyncio.create_task` raises there, and a `lambda` around `queue.put_nowait` may fail to wake who waits.
    To fill an `asyncio.Queue`, give its `queue.put` as the handler, which also waits while the queue is full. Methods
    of asyncio's own objects that are given directly (`queue.put_nowait`, `event.set`) are called on the loop.

    The handler has a context of its own, which begins empty: neither deadlines nor other variables of whoever
    registered it reach into it. A thread sees a copy.
    """

    def __init__(
        self,
        pattern: str,
        handler: Handler,
        reactions: Reactions,
        make_feed: Callable[[Opening], Feed[AnyEvent | Gap]],
        opening: Opening,
    ) -> None:
        super().__init__(pattern, opening, handler, reactions)
        self._feed = make_feed(opening)
        self._deadline_seconds = opening.deadline_seconds
        self._on_loop = _runs_on_loop(handler)
        self._is_coroutine = inspect.iscoroutinefunction(handler)
        self._lock = asyncio.Lock()
        """One call at a time; the events in hand are handled under it while no replay waits."""
        self._replays_waiting = 0
        self._call_number = 0
        """Of the call under way, or the last."""
        self._depth = 0
        """That call, and the replays that it has begun itself; 0 when there is none."""
        self._idle: list[OwnThread] = []
        """One, but for a handler that waits for its own replay: that one calls it on another."""
        self._abandoned: concurrent.futures.Future[Any] | None = None
        """A call on a thread whose caller was cancelled: it cannot be ended, so the next call waits for it."""
        self._loop = loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[PlaycallError | None] = loop.create_future()
        # An empty context: the handler outlives the caller's deadline.
        self.task: asyncio.Task[None] = loop.create_task(self._run(), context=contextvars.Context())

    def __await__(self) -> Generator[Any, None, Self]:
        return self._wait().__await__()

    async def _wait(self) -> Self:
        """Raises: RealtimeTimeoutError: no answer in time, and it was removed. RealtimeError: as a subscription's."""
        ends_at = nearest(self._deadline_seconds)
        try:
            async with asyncio.timeout(None if ends_at is None else max(0.0, ends_at - time.monotonic())):
                error = await asyncio.shield(self._answered)
        except TimeoutError:
            self.remove()
            raise RealtimeTimeoutError(f"the handler's subscription to {self.topic} was not answered in time") from None
        if error is not None:
            raise error
        return self

    @property
    def lag(self) -> int | None:
        return self._feed.lag

    @property
    def is_caller(self) -> bool:
        """Whether the code that asks was called by this handler, so that waiting for its task would never end."""
        return self._is_own_turn()

    def remove(self) -> None:
        """No further event is handled; one that is being handled is finished, and then counts as processed.

        Safe to call again, and in the handler.
        """
        self.active = False
        self._feed.stop()
        if not self._answered.done():
            self.task.cancel()  # it still waits for the server
            self._answer(ClientClosedError("the handler was removed before the server answered"))

    async def replay(self) -> int:
        """Gives each event that is set aside to the handler again, oldest first, between the events that arrive.

        Those that succeed leave the queue; the others stay in their place, with their new error. Works after the end of
        the registration too, and in the handler.

        Returns:
            How many succeeded.

        Raises:
            InvalidArgumentError: this is another event loop than the registration's.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise InvalidArgumentError("replay() belongs on the event loop on which the handler was registered")
        succeeded = 0
        try:
            for number in self._aside.numbers:
                async with self._turn():
                    succeeded += await self._replay_one(number)
        finally:
            if self.task.done():
                self._end_threads()
        return succeeded

    async def _replay_one(self, number: int) -> bool:
        event = self._aside.take(number)
        if event is None:
            return False
        try:
            self.handled += 1
            await self._call(self._handler, event, on_loop=self._on_loop)
        except BaseException as error:
            if _is_fault(error):
                self._raised_again(number, event, error)
                return False
            self._aside.put_back(number)
            raise
        self._aside.done(number)
        return True

    async def _run(self) -> None:
        # What stands here if it is cancelled: before the answer that is no success.
        error: PlaycallError | None = ClientClosedError(f"the handler of {self.pattern!r} was ended from outside")
        try:
            await self._feed.open_until(None)
            self._answer(None)
            async for item in self._feed:
                if not await self._work_off(item):
                    break
                await self._feed.settle()
            error = None
        except PlaycallError as ended:
            error = ended
        except asyncio.CancelledError:
            raise
        except BaseException as ended:
            error = self._ended_by(ended)
            if not isinstance(ended, Exception):
                raise
        finally:
            self._feed.stop()
            self._end_threads()
            self._answer(error)
            self._ended(error)

    async def _work_off(self, first: AnyEvent | Gap) -> bool:
        """Handles `first`, and what came with it while nobody else wants the turn; False where it has been removed."""
        handler, keeps_cursor, begin = self._handler, self._keeps_cursor, _calls.set
        feed = cast("Feed[Any]", self._feed)  # Any: `is_gap` says of a whole batch what its items are
        is_gap = isinstance(first, Gap | PlainGap)  # which is alone in its batch
        directly = self._is_coroutine and not is_gap
        await self._lock.acquire()
        self._depth = 1
        number = self._call_number
        try:
            if not self.active:  # removed while somebody's replay had the turn
                return False
            for item in feed.in_hand():
                number += 1
                self._call_number = number
                begin((self, number, None))
                if directly:  # as `_handle`, whose own two coroutines would cost as much as all that is done here
                    self.handled += 1
                    try:
                        await handler(item)
                    except BaseException as error:
                        if not _is_fault(error):
                            raise
                        self._raised(item, error)
                else:
                    await self._abandoned_ended()
                    await (self._tell(item) if is_gap else self._handle(item))
                if keeps_cursor:
                    await feed.settle()
                if self._depth > 1 or self._replays_waiting or not self.active:
                    break
        finally:
            self._depth -= 1
            self._free()
        return True

    def _answer(self, error: PlaycallError | None) -> None:
        if not self._answered.done():
            self._answered.set_result(error)

    async def _handle(self, event: AnyEvent) -> None:
        try:
            self.handled += 1
            await self._call(self._handler, event, on_loop=self._on_loop)
        except BaseException as error:
            if not _is_fault(error):
                raise
            self._raised(event, error)

    async def _tell(self, gap: Gap | PlainGap) -> None:
        self._lost(gap)
        if self._on_gap is not None:
            try:
                await self._call(self._on_gap, gap, on_loop=_runs_on_loop(self._on_gap))
            except Exception:
                self._on_gap_raised()

    # --- calling it ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """A replay's: what a call has begun itself, in its task, a task of its own or its thread, is part of it."""
        if not self._is_own_turn():
            self._replays_waiting += 1
            try:
                await self._lock.acquire()
            finally:
                self._replays_waiting -= 1
            self._call_number += 1
        self._depth += 1
        token = _calls.set((self, self._call_number, _calls.get()))
        try:
            if self._depth == 1:
                await self._abandoned_ended()
            yield
        finally:
            _calls.reset(token)
            self._depth -= 1
            self._free()

    def _free(self) -> None:
        """Lets others have their turn, unless a replay that the call has begun is under way still: it does so then."""
        if not self._depth:
            self._lock.release()

    def _is_own_turn(self) -> bool:
        calls = _calls.get()
        while calls is not None:
            owner, number, calls = calls
            if owner is self and number == self._call_number:
                return self._depth > 0
        return False

    async def _call(self, fn: Callable[[Any], Any], argument: AnyEvent | Gap | PlainGap, *, on_loop: bool) -> None:
        result = fn(argument) if on_loop else await self._call_on_thread(fn, argument)
        if result is not None and inspect.isawaitable(result):
            await result

    async def _call_on_thread(
        self, fn: Callable[[Any], Any], argument: AnyEvent | Gap | PlainGap
    ) -> Any:  # Any: as it returns
        thread = self._idle.pop() if self._idle else OwnThread(f"playcall-on-{self.pattern}")
        call = thread.submit(contextvars.copy_context().run, fn, argument)
        try:
            return await asyncio.wrap_future(call)
        finally:
            if call.done():
                self._idle.append(thread)
            else:
                self._abandoned = call
                thread.end()

    async def _abandoned_ended(self) -> None:
        if self._abandoned is not None:
            ended = asyncio.wrap_future(self._abandoned)
            await asyncio.wait([ended])
            self._abandoned = None
            if not ended.cancelled():
                ended.exception()  # nobody is left to tell

    def _end_threads(self) -> None:
        """After what they are doing; another call would start one anew."""
        while self._idle:
            self._idle.pop().end()


def _runs_on_loop(fn: Callable[[Any], Any]) -> bool:
    while isinstance(fn, partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)):  # noqa: B004
        return True
    owner: object = getattr(fn, "__self__", None)
    return any(cls.__module__.partition(".")[0] in LOOP_MODULES for cls in type(owner).__mro__)


def _is_fault(error: BaseException) -> bool:
    """Whether a handler raised it by itself; a cancellation is not, where it was our task that was cancelled."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(error, Exception)
