"""Bounds in time for what a task does, as `asyncio.timeout` gives them, for a third of its cost.

A call that ends well has set its bound for nothing. `asyncio.timeout` makes a timer for it and takes it back; here one timer
of the loop serves all bounds, and one that is left before its moment costs an entry in a heap.
"""
# pyright: reportPrivateUsage=false
# An alarm and the heap that holds it are halves of one thing.

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
import time
import weakref
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["NEVER", "Alarm"]

NEVER: Final = math.inf
EARLY_SECONDS: Final = 0.0005
"""Loops round their timers, uvloop to a millisecond: what is due so soon is due."""
USELESS_KEPT: Final = 64
"""Entries of alarms that were left, which a heap may hold before it is swept."""


class Alarm:
    """Ends what a task does within `with Alarm(at):` by a TimeoutError, at the `time.monotonic()` moment `at`.

    `at` may be moved while it is set, and may be infinite. Alarms can be nested, and mixed with `asyncio.timeout`. A
    cancellation by somebody else passes through as it is.
    """

    __slots__ = ("_alarms", "_at", "_cancelling", "_queued_at", "_task", "rang")

    def __init__(self, at: float = NEVER) -> None:
        self._at = at
        self._queued_at = NEVER
        self._alarms: _Alarms | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self.rang = False
        """Whether its moment came before it was left."""

    @property
    def at(self) -> float:
        return self._at

    @at.setter
    def at(self, at: float) -> None:
        self._at = at
        if self._alarms is not None and at < self._queued_at:
            self._alarms.add(self)

    def __enter__(self) -> Self:
        """Raises: RuntimeError: this is no task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("an alarm is set in a task")
        alarms = _here.alarms
        if alarms is None or alarms.loop() is not loop:  # a thread runs one loop at a time, mostly the one of last time
            alarms = _here.alarms = _Alarms(loop)
        self._task = task
        self._cancelling = task.cancelling()
        self._alarms = alarms
        if self._at < NEVER:
            alarms.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        alarms, task = self._alarms, self._task
        assert alarms is not None  # noqa: S101 - entered
        assert task is not None  # noqa: S101 - entered
        self._alarms = self._task = None
        if self._queued_at < NEVER:
            alarms.left()
        if self.rang and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _ring(self) -> None:
        assert self._task is not None  # noqa: S101 - the heap rings only those that are set
        self.rang = True
        self._task.cancel()


class _Alarms:
    """Those of one loop. `_armed_at` is the next moment for which the loop has a timer; others may be left over."""

    __slots__ = ("__weakref__", "_armed_at", "_heap", "_useless", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self._heap: list[tuple[float, int, Alarm]] = []
        self._useless = 0
        self._armed_at = NEVER

    def add(self, alarm: Alarm) -> None:
        at = alarm._queued_at = alarm._at
        heapq.heappush(self._heap, (at, next(_numbers), alarm))
        if at < self._armed_at:
            self._arm(at)

    def left(self) -> None:
        """One more entry is of no use."""
        self._useless += 1
        if self._useless > USELESS_KEPT and self._useless * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2]._alarms is self]
            heapq.heapify(self._heap)
            self._useless = 0

    def _arm(self, at: float) -> None:
        loop = self.loop()
        if loop is not None:  # else it is gone, with whoever waited in it
            self._armed_at = at
            loop.call_later(max(0.0, at - time.monotonic()), self._due, at)

    def _due(self, armed_at: float) -> None:
        if armed_at == self._armed_at:
            self._armed_at = NEVER
        due_by = time.monotonic() + EARLY_SECONDS
        heap = self._heap
        while heap:
            at, _, alarm = heap[0]
            left = alarm._alarms is not self
            if at > due_by and not left:
                break
            heapq.heappop(heap)
            if left:
                self._useless -= 1
            elif at == alarm._queued_at:  # else it was moved to an earlier moment, and has rung
                alarm._queued_at = NEVER
                if alarm.at > due_by:
                    self.add(alarm)  # it was moved to a later one
                else:
                    alarm._ring()
        if heap and heap[0][0] < self._armed_at:
            self._arm(heap[0][0])


_numbers: Final = itertools.count()
"""Tells apart what rings at the same moment: alarms have no order."""


class _Here(threading.local):
    alarms: _Alarms | None = None


_here: Final = _Here()
