"""How many requests are under way at once: first come, first served, in front of the pool."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Final

from ..checks import check_whole_number
from ..errors import ConfigurationError

__all__ = ["InFlight", "Limiter"]

SHOWN: Final = 5
"""In-flight requests that an error names."""


class InFlight:
    """One request that holds a slot."""

    __slots__ = ("began_at", "method", "path")

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.began_at = time.monotonic()


class _Waiter:
    __slots__ = ("future", "granted", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.granted = False

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Limiter:
    """At most `limit` requests of a client at once, over all its threads and loops; nobody overtakes.

    Taking and giving back a slot are steps of a deque, which no thread comes between: no lock, unless somebody waits. Who
    finds that there is one too many steps back, so two that come at once may both do so; in the queue they have their order.
    """

    def __init__(self, limit: int) -> None:
        """Raises: ConfigurationError: `limit` is no positive integer."""
        check_whole_number(limit, "max_concurrency", least=1, kind=ConfigurationError)
        self.limit = limit
        self._taken: deque[None] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._holders: set[InFlight] = set()
        self._lock = threading.Lock()
        """Of what is done for those who wait."""

    @property
    def in_flight(self) -> int:
        return min(self.limit, len(self._taken))

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def try_enter(self, method: str, path: str) -> InFlight | None:
        """A slot for a request, if nobody is to be waited for; `leave` must follow."""
        if self._waiters:
            return None
        self._taken.append(None)
        if len(self._taken) > self.limit:
            self._taken.pop()
            if self._waiters:
                self._pass_on()  # a slot may have been passed on just now, and not have been found free because of us
            return None
        request = InFlight(method, path)
        self._holders.add(request)
        return request

    async def enter(self, method: str, path: str) -> InFlight:
        """A slot for a request, waited for if need be; `leave` must follow."""
        if (request := self.try_enter(method, path)) is not None:
            return request
        request, waiter = InFlight(method, path), _Waiter()
        with self._lock:
            self._waiters.append(waiter)
        self._pass_on()  # who gave one back before we stood in the queue has not seen us
        try:
            await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                if not waiter.granted:
                    self._waiters.remove(waiter)
                    raise
            self.leave(request)  # the slot came as we were cancelled: it is the next one's
            raise
        self._holders.add(request)
        return request

    def leave(self, request: InFlight) -> None:
        """Gives the slot to whoever waits longest."""
        self._holders.discard(request)
        self._taken.pop()
        if self._waiters:
            self._pass_on()

    def _pass_on(self) -> None:
        """Slots that are free to those who wait, in their order."""
        with self._lock:
            while self._waiters:
                self._taken.append(None)
                if len(self._taken) > self.limit:
                    self._taken.pop()
                    return
                waiter = self._waiters.popleft()
                waiter.granted = True
                try:
                    waiter.loop.call_soon_threadsafe(waiter.wake)
                except RuntimeError:
                    self._taken.pop()  # its loop has closed, so nobody waits there

    def describe(self) -> str:
        """The requests that have held a slot longest, for people."""
        now = time.monotonic()
        holders = sorted(self._holders.copy(), key=lambda each: each.began_at)
        shown = ", ".join(f"{each.method} {each.path} since {now - each.began_at:.1f} s" for each in holders[:SHOWN])
        more = f", and {len(holders) - SHOWN} more" if len(holders) > SHOWN else ""
        return f"in flight: {shown}{more}"
