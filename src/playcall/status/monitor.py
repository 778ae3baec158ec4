"""Keeps the status of an idle connection true: a task that probes when nothing has been heard for a while."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from inspect import ismethod
from typing import Final, Self, TypeAlias

from ..deadline import check_seconds
from ..errors import ClientClosedError, InvalidArgumentError, PlaycallError
from ..loop_thread import CANCEL_WAIT_SECONDS, LoopThread
from .board import StatusBoard
from .picture import Status

__all__ = ["DEFAULT_IDLE_SECONDS", "BlockingMonitor", "Monitor", "Probe"]

log = logging.getLogger("playcall.http")

Probe: TypeAlias = Callable[[], Awaitable[object]]
"""Asks the backend once, and tells the board what came of it."""

DEFAULT_IDLE_SECONDS: Final = 15.0
LEAST_IDLE_SECONDS: Final = 0.1
"""Less would be a load, and no watch."""
LONGEST_WAIT_SECONDS: Final = 60.0
"""How long a monitor of a client that nobody has any more may take to notice."""


class Monitor:
    """Probes until `close()`, the end of its `async with` block or the client's close. It runs as soon as it is made.

    Several of one client probe no more than the one with the shortest pause.
    """

    def __init__(self, board: StatusBoard, probe: Probe, idle_seconds: float) -> None:
        """Raises: InvalidArgumentError; ClientClosedError; RuntimeError: no event loop is running."""
        self.idle_seconds = _checked(idle_seconds)
        self._probe = probe  # as long as somebody has this, the client is kept, too
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        # An empty context: it outlives its maker's deadline.
        self._task = self._loop.create_task(
            _keep_true(board, _weakly(probe), self.idle_seconds), context=contextvars.Context()
        )
        if not board.adopt(self._task):
            self._task.cancel()
            raise ClientClosedError("the client is closed: make a new one")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} idle_seconds={self.idle_seconds:g} active={self.active}>"

    @property
    def active(self) -> bool:
        """False once it has ended; also in a forked child, where it never was."""
        return not self._task.done() and self._pid == os.getpid()

    def stop(self) -> None:
        """As `close`, without waiting; on its loop."""
        self._task.cancel()

    async def close(self) -> None:
        """No probe is made any more, and one under way is cancelled. Safe to repeat."""
        if not self.active:
            return
        if asyncio.get_running_loop() is not self._loop:
            with suppress(RuntimeError):  # its loop has closed, and the task is over
                self._loop.call_soon_threadsafe(self._task.cancel)
            return
        self.stop()
        await asyncio.wait({self._task}, timeout=CANCEL_WAIT_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class BlockingMonitor:
    """As `Monitor`, for `with` blocks, on playcall's own thread. In a forked child it is over."""

    def __init__(self, board: StatusBoard, probe: Probe, idle_seconds: float) -> None:
        """Raises: InvalidArgumentError; ClientClosedError."""
        _checked(idle_seconds)
        self._thread = LoopThread.shared()
        self._monitor = self._thread.call(_begin, board, probe, idle_seconds)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} idle_seconds={self.idle_seconds:g} active={self.active}>"

    @property
    def idle_seconds(self) -> float:
        return self._monitor.idle_seconds

    @property
    def active(self) -> bool:
        """As `Monitor.active`."""
        return self._monitor.active

    def close(self) -> None:
        """No probe is made any more, and one under way is cancelled. Safe to repeat, and from any thread."""
        if not self.active:
            return
        if self._thread.is_current_thread:  # a status callback, which must not wait
            self._monitor.stop()
            return
        with suppress(ClientClosedError):  # the interpreter is exiting, and ends it by itself
            self._thread.call(self._monitor.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


async def _begin(board: StatusBoard, probe: Probe, idle_seconds: float) -> Monitor:
    return Monitor(board, probe, idle_seconds)


async def _keep_true(board: StatusBoard, weak_probe: Callable[[], Probe | None], idle_seconds: float) -> None:
    """The task of one monitor. It has no hold on the client, so that one which was forgotten is collected all the same."""
    changed = asyncio.Event()
    unlisten = board.listen(partial(_wake, asyncio.get_running_loop(), changed))
    try:
        while True:
            changed.clear()
            wait = board.claim_probe(idle_seconds)
            if wait > 0:
                await _first_of(changed, min(wait, LONGEST_WAIT_SECONDS))
                if weak_probe() is None:
                    return
                continue
            try:
                probe = weak_probe()
                if probe is None:
                    return
                await _once(probe)
                del probe
            finally:
                board.probe_over()
    finally:
        unlisten()


async def _once(probe: Probe) -> None:
    """Whatever it meets, the board has been told, and the next probe will tell more."""
    try:
        await probe()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        log.warning("a probe was cancelled from within", extra={"event": "status.probe_failed"})
    except PlaycallError:
        pass  # told and logged where it was made
    except Exception:
        log.exception("a probe raised", extra={"event": "status.probe_failed"})


async def _first_of(changed: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changed.wait()


def _wake(loop: asyncio.AbstractEventLoop, changed: asyncio.Event, _: Status) -> None:
    with suppress(RuntimeError):  # the loop has closed this moment
        loop.call_soon_threadsafe(changed.set)


def _checked(idle_seconds: float) -> float:
    seconds = check_seconds(idle_seconds, "idle_seconds")
    if seconds < LEAST_IDLE_SECONDS:
        raise InvalidArgumentError(
            f"idle_seconds must be at least {LEAST_IDLE_SECONDS:g}, got {idle_seconds!r}: probes that come faster are a load"
        )
    return seconds


def _weakly(probe: Probe) -> Callable[[], Probe | None]:
    """The probe without a hold on whose method it is; on the arguments of a partial, it has one."""
    if not isinstance(probe, partial):
        return weakref.WeakMethod(probe) if ismethod(probe) else weakref.ref(probe)
    method, args = _weakly(probe.func), probe.args
    return lambda: None if (alive := method()) is None else partial(alive, *args)
