"""Tells callbacks of changes, one after another in the order in which they were, whichever threads bring them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from .picture import Status

__all__ = ["Telling"]

log = logging.getLogger("playcall.http")

SLOW_SECONDS: Final = 0.1
"""A callback that holds its thread this long is warned of, once."""


class _Callback:
    """One subscription: equal to no other, although the function may be the same."""

    __slots__ = ("fn", "slow")

    def __init__(self, fn: Callable[[Status], object]) -> None:
        self.fn = fn
        self.slow = False


class Telling:
    """Callbacks, and what they have not been told yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        # Reentrant: the garbage collector may run a finaliser that unsubscribes while this very thread holds the lock.
        self._lock = threading.RLock()
        self._clock = clock
        self._callbacks: list[_Callback] = []
        self._untold: deque[tuple[Status, list[_Callback]]] = deque()
        self._telling = False

    def subscribe(self, fn: Callable[[Status], object]) -> Callable[[], None]:
        """Calls `fn` at every change from now on; returns how to stop that."""
        callback = _Callback(fn)
        with self._lock:
            self._callbacks.append(callback)

        def remove() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return remove

    def add(self, picture: Status) -> None:
        """A change; `tell` must follow. The order of the calls is the order of the telling."""
        with self._lock:
            if self._callbacks:
                self._untold.append((picture, list(self._callbacks)))

    def tell(self) -> None:
        """Calls the callbacks, or leaves it to the thread that is about it already. Hold no lock."""
        with self._lock:
            if self._telling or not self._untold:
                return
            self._telling = True
        try:
            while True:
                with self._lock:
                    if not self._untold:
                        self._telling = False
                        return
                    picture, callbacks = self._untold.popleft()
                for callback in callbacks:
                    if callback in self._callbacks:
                        self._call(callback, picture)
        except BaseException:
            self._telling = False
            raise

    def after_fork(self) -> None:
        """In a forked child: what another thread of the parent was telling, it is not telling here."""
        self._lock = threading.RLock()
        self._untold.clear()
        self._telling = False

    def _call(self, callback: _Callback, picture: Status) -> None:
        began_at = self._clock()
        try:
            callback.fn(picture)
        except Exception:
            log.exception("a status callback raised", extra={"event": "status.callback_failed"})
        held = self._clock() - began_at
        if held > SLOW_SECONDS and not callback.slow:
            callback.slow = True
            log.warning(
                "a status callback held its thread, and all that runs there, for %.2f s: let it hand its work to another",
                held,
                extra={"event": "status.callback_slow"},
            )
