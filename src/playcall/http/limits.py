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
    """At most `limit` requests of a client at once, over all its threads and loops; nobody overtakes."""

    def __init__(self, limit: int) -> None:
        """Raises: ConfigurationError: `limit` is no positive integer."""
        check_whole_number(limit, "max_concurrency", least=1, kind=ConfigurationError)
        self.limit = limit
        self._free = limit
        self._waiters: deque[_Waiter] = deque()
        self._holders: dict[InFlight, None] = {}  # in their order
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        return self.limit - self._free

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def try_enter(self, method: str, path: str) -> InFlight | None:
        """A slot for a request, if nobody is to be waited for; `leave` must follow."""
        with self._lock:
            if not self._free or self._waiters:
                return None
            self._free -= 1
        request = InFlight(method, path)
        self._holders[request] = None
        return request

    async def enter(self, request: InFlight) -> None:
        """Takes a slot for `request`, waiting for one if need be; `leave(request)` must follow."""
        waiter: _Waiter | None = None
        with self._lock:
            if self._free and not self._waiters:
                self._free -= 1
            else:
                waiter = _Waiter()
                self._waiters.append(waiter)
        if waiter is not None:
            try:
                await waiter.future
            except asyncio.CancelledError:
                with self._lock:
                    if not waiter.granted:
                        self._waiters.remove(waiter)
                        raise
                self._pass_on()  # the slot came as we were cancelled: it is the next one's
                raise
        self._holders[request] = None

    def leave(self, request: InFlight) -> None:
        """Gives the slot to whoever waits longest."""
        self._holders.pop(request, None)
        self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            while self._waiters:
                waiter = self._waiters.popleft()
                waiter.granted = True
                try:
                    waiter.loop.call_soon_threadsafe(waiter.wake)
                except RuntimeError:
                    continue  # its loop has closed, so nobody waits there
                return
            self._free += 1

    def describe(self) -> str:
        """The requests that have held a slot longest, for people."""
        now = time.monotonic()
        holders = list(self._holders)
        shown = ", ".join(f"{each.method} {each.path} since {now - each.began_at:.1f} s" for each in holders[:SHOWN])
        more = f", and {len(holders) - SHOWN} more" if len(holders) > SHOWN else ""
        return f"in flight: {shown}{more}"
