"""Handlers: one ordered queue each, so that nothing a handler does delays another, the reading or the heartbeats.

The queue is the handler's own subscription: when it is full, the server's credit is spent, and the log waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..deadline import nearest
from ..errors import ClientClosedError, PlaycallError, RealtimeError, RealtimeTimeoutError
from ..loop_thread import LoopThread
from ..models.event import AnyEvent
from .feed import BlockingFeed, Feed, Opening
from .items import Gap

__all__ = ["BlockingRegistration", "Handler", "OnHandlerGap", "Registration", "SetAside"]

log = logging.getLogger("playcall.realtime")

Handler: TypeAlias = Callable[[AnyEvent], Any] | Callable[[AnyEvent], Awaitable[Any]]
"""Called with each event; what it returns is not looked at, beyond being awaited if it can be."""

OnHandlerGap: TypeAlias = Callable[[Gap], Any]

SET_ASIDE_KEPT = 1_000
"""Events whose handler raised, the oldest dropped first."""
SLOW_SECONDS = 0.1
"""A sync handler that holds the event loop this long is warned of, once."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """An event whose handler raised `error`; the ones after it were delivered all the same."""

    event: AnyEvent
    error: BaseException


class _RegistrationBase:
    """What a registration shows, and what becomes of an exception."""

    def __init__(self, pattern: str, topic: str, handler: Handler, on_gap: OnHandlerGap | None) -> None:
        self.pattern = pattern
        self.topic = topic
        self._handler = handler
        self._on_gap = on_gap
        self.handled = 0
        """Events given to the handler, those that it raised for included."""
        self.errors = 0
        self.gaps = 0
        self.set_aside: deque[SetAside] = deque(maxlen=SET_ASIDE_KEPT)
        self.error: PlaycallError | None = None
        """Why it ended by itself, None otherwise."""
        self.active = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.pattern!r} on {self.topic!r}>"

    def _raised(self, event: AnyEvent, error: BaseException) -> None:
        self.errors += 1
        self.set_aside.append(SetAside(event, error))
        log.error(
            "the handler of %r raised for the event %s (%s); the event was set aside",
            self.pattern,
            event.id,
            event.type,
            exc_info=error,
            extra={"event": "realtime.handler_failed", "event_id": event.id, "topic": self.topic},
        )

    def _lost(self, gap: Gap) -> None:
        self.gaps += 1
        log.warning(
            "events of %s after %s are gone (%s); the handler of %r goes on after %s",
            gap.topic,
            gap.lost_after,
            gap.reason,
            self.pattern,
            gap.resume,
            extra={"event": "realtime.handler_gap", "topic": self.topic},
        )
        if self._on_gap is not None:
            try:
                self._on_gap(gap)
            except Exception:
                log.exception("the on_gap of %r raised", self.pattern, extra={"event": "realtime.callback_failed"})

    def _ended(self, error: PlaycallError | None) -> None:
        self.active = False
        if error is None or isinstance(error, ClientClosedError):
            return
        self.error = error
        log.error(
            "the handler of %r gets no more events: %s",
            self.pattern,
            error,
            extra={"event": "realtime.handler_ended", "topic": self.topic},
        )


class Registration(_RegistrationBase):
    """A handler on the async client. It is registered at once; `await` it to know that the server has answered.

    A coroutine function is awaited. Any other runs on the event loop, like each of asyncio's callbacks, and must not
    block it.
    """

    def __init__(
        self,
        pattern: str,
        handler: Handler,
        on_gap: OnHandlerGap | None,
        make_feed: Callable[[Opening], Feed[AnyEvent | Gap]],
        opening: Opening,
    ) -> None:
        super().__init__(pattern, opening.want.topic, handler, on_gap)
        self._feed = make_feed(opening)
        self._deadline_seconds = opening.deadline_seconds
        self._warned = False
        loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[PlaycallError | None] = loop.create_future()
        # An empty context: the handler outlives the caller's deadline.
        self.task: asyncio.Task[None] = loop.create_task(self._run(), context=contextvars.Context())

    def __await__(self) -> Generator[Any, None, Registration]:
        return self._wait().__await__()

    async def _wait(self) -> Registration:
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

    def remove(self) -> None:
        """No further event is handled; one that is being handled is finished. Safe to call again, and in the handler."""
        self.active = False
        self._feed.stop()
        if not self._answered.done():
            self.task.cancel()  # it still waits for the server
            self._answer(ClientClosedError("the handler was removed before the server answered"))

    async def _run(self) -> None:
        # What stands here if it is cancelled: before the answer that is no success.
        error: PlaycallError | None = ClientClosedError(f"the handler of {self.pattern!r} was ended from outside")
        try:
            await self._feed.open_until(None)
            self._answer(None)
            async for item in self._feed:
                if isinstance(item, Gap):
                    self._lost(item)
                else:
                    await self._handle(item)
            error = None
        except PlaycallError as ended:
            error = ended
        except asyncio.CancelledError:
            raise
        except BaseException as ended:
            error = _ended_by(self.pattern, ended)
            if not isinstance(ended, Exception):
                raise
        finally:
            self._feed.stop()
            self._answer(error)
            self._ended(error)

    def _answer(self, error: PlaycallError | None) -> None:
        if not self._answered.done():
            self._answered.set_result(error)

    async def _handle(self, event: AnyEvent) -> None:
        began_at = time.monotonic()
        try:
            self.handled += 1
            result = self._handler(event)
            held = time.monotonic() - began_at
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._raised(event, error)  # nobody cancels us: what the handler waited for was cancelled
        except Exception as error:
            self._raised(event, error)
        else:
            if held > SLOW_SECONDS and not self._warned:
                self._warned = True
                log.warning(
                    "the handler of %r held the event loop for %.2f s: make it async, or use the blocking client",
                    self.pattern,
                    held,
                    extra={"event": "realtime.handler_slow", "topic": self.topic},
                )


class BlockingRegistration(_RegistrationBase):
    """A handler on the blocking client, on a thread of its own: it may call the client, sleep, or close it.

    A coroutine function runs on the loop's thread, one event after another, and must not call the blocking client.
    """

    def __init__(
        self,
        pattern: str,
        handler: Handler,
        on_gap: OnHandlerGap | None,
        make_feed: Callable[[Opening], BlockingFeed[AnyEvent | Gap]],
        opening: Opening,
    ) -> None:
        """Raises: as `BlockingFeed.open`; then nothing is registered."""
        super().__init__(pattern, opening.want.topic, handler, on_gap)
        self._feed = make_feed(opening)
        self._feed.open()
        self._thread = threading.Thread(target=self._run, name=f"playcall-on-{pattern}", daemon=True)
        self._thread.start()

    def remove(self) -> None:
        """As `Registration.remove`; does not wait for the event that is being handled."""
        self.active = False
        self._feed.close()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the handler to finish what it is doing, unless it is the handler who asks."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        error: PlaycallError | None = None
        try:
            for item in self._feed:
                if isinstance(item, Gap):
                    self._lost(item)
                else:
                    self._handle(item)
        except PlaycallError as ended:
            error = ended
        except BaseException as ended:  # its thread has nobody else to tell
            error = _ended_by(self.pattern, ended)
        finally:
            with suppress(Exception):  # it is over either way
                self._feed.close()
            self._ended(error)

    def _handle(self, event: AnyEvent) -> None:
        try:
            self.handled += 1
            result = self._handler(event)
            if inspect.isawaitable(result):
                LoopThread.shared().call(_await, result)
        except Exception as error:
            self._raised(event, error)


def _ended_by(pattern: str, error: BaseException) -> RealtimeError:
    """What ended a handler from within that is no error of ours; `SystemExit` in a handler is one such."""
    ended = RealtimeError(f"the handler of {pattern!r} was ended by {type(error).__name__}")
    ended.__cause__ = error
    return ended


async def _await(awaitable: Awaitable[Any]) -> None:
    await awaitable
