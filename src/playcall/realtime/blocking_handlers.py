"""Handlers on the blocking client: a thread each, which also waits for the handler's events."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ..deadline import nearest
from ..errors import PlaycallError
from ..loop_thread import LoopThread, wait_for
from ..models.event import AnyEvent
from .feed import BlockingFeed, Opening
from .items import Gap
from .plain_items import PlainGap
from .plain_protocol import EventT
from .registration import Handler, Reactions, RegistrationBase

__all__ = ["BlockingRegistration"]


class BlockingRegistration(RegistrationBase[EventT]):
    """A handler on the blocking client, on a thread of its own: it may call the client, sleep, or close it.

    A coroutine function runs on the loop's thread, one event after another, and must not call the blocking client. A
    `BlockingCursorStore` is called on the handler's thread.
    """

    def __init__(
        self,
        pattern: str,
        handler: Handler,
        reactions: Reactions,
        make_feed: Callable[[Opening], BlockingFeed[AnyEvent | Gap]],
        opening: Opening,
    ) -> None:
        """Raises: as `BlockingFeed.open`, but a store's foreign exception as a RealtimeError; nothing is registered."""
        LoopThread.shared().refuse_own_thread()
        super().__init__(pattern, opening, handler, reactions)
        self._feed = make_feed(opening)
        self._turn = threading.RLock()
        self._opened = threading.Lock()
        self._opened.acquire()
        self._refused: PlaycallError | None = None
        # The deadline is the caller's, which the thread does not see.
        ends_at = nearest(opening.deadline_seconds)
        self._thread = threading.Thread(target=self._main, args=(ends_at,), name=f"playcall-on-{pattern}", daemon=True)
        self._thread.start()
        try:
            wait_for(self._opened)
        except BaseException:
            self.remove()
            raise
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    @property
    def lag(self) -> int | None:
        return self._feed.lag

    def remove(self) -> None:
        """As `Registration.remove`; does not wait for the event that is being handled."""
        self.active = False
        self._feed.close()

    def replay(self) -> int:
        """As `Registration.replay`, on the calling thread.

        Raises:
            PlaycallError: called on playcall's own loop thread, as by a handler that is a coroutine function.
        """
        LoopThread.shared().refuse_own_thread()
        succeeded = 0
        for number in self._aside.numbers:
            with self._turn:
                succeeded += self._replay_one(number)
        return succeeded

    def _replay_one(self, number: int) -> bool:
        event = self._aside.take(number)
        if event is None:
            return False
        try:
            self.handled += 1
            self._call(self._handler, event)
        except (Exception, asyncio.CancelledError) as error:
            self._raised_again(number, event, error)
            return False
        except BaseException:
            self._aside.put_back(number)
            raise
        self._aside.done(number)
        return True

    @property
    def running(self) -> bool:
        """Whether its thread is: also while it finishes the event that it had in hand when it was removed."""
        return self._thread.is_alive()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the handler to finish what it is doing, unless it is the handler who asks."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _main(self, ends_at: float | None) -> None:
        try:
            self._feed.open_until(ends_at)
        except BaseException as error:  # the constructor raises it
            self.active = False
            self._refused = error if isinstance(error, PlaycallError) else self._ended_by(error)
            return
        finally:
            self._opened.release()
        self._run()

    def _run(self) -> None:
        error: PlaycallError | None = None
        try:
            for item in self._feed:
                with self._turn:
                    if not self.active:  # removed while somebody's replay had the turn
                        break
                    if isinstance(item, Gap | PlainGap):
                        self._tell(item)
                    else:
                        self._handle(item)
                self._feed.settle()
        except PlaycallError as ended:
            error = ended
        except BaseException as ended:  # its thread has nobody else to tell
            error = self._ended_by(ended)
        finally:
            with suppress(Exception):  # it is over either way
                self._feed.close()
            self._ended(error)

    def _handle(self, event: AnyEvent) -> None:
        try:
            self.handled += 1
            self._call(self._handler, event)
        except (Exception, asyncio.CancelledError) as error:
            self._raised(event, error)

    def _tell(self, gap: Gap | PlainGap) -> None:
        self._lost(gap)
        if self._on_gap is not None:
            try:
                self._call(self._on_gap, gap)
            except Exception:
                self._on_gap_raised()

    @staticmethod
    def _call(fn: Callable[[Any], Any], argument: AnyEvent | Gap | PlainGap) -> None:
        result = fn(argument)
        if result is not None and inspect.isawaitable(result):
            LoopThread.shared().call(_await, result)


async def _await(awaitable: Awaitable[Any]) -> None:
    await awaitable
