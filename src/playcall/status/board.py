"""Where the facts come in: what they make of the state, and who is told."""

from __future__ import annotations

import asyncio
import logging
import math
import random as random_module
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from ..errors import AuthenticationError, RedirectRefusedError, RequestError, StatusError
from .picture import ConnectionState, Status
from .schedule import ProbeSchedule
from .telling import Telling

__all__ = ["StatusBoard"]

log = logging.getLogger("playcall.http")

SAMPLES: Final = 256
"""Latencies and outcomes that the figures are made from."""
END_SECONDS: Final = 2.0
"""How long `end` waits for tasks that do not heed their cancellation."""

_parked: list[object] = []
"""Of the parent process, in a forked child: kept, so that nothing frees what another thread was using."""


class _Http(StrEnum):
    """What HTTP alone says."""

    UNTRIED = "untried"
    ANSWERING = "answering"
    STRUGGLING = "struggling"
    SILENT = "silent"
    REFUSED = "refused"


class StatusBoard:
    """Thread-safe. Callbacks run on a thread that brought a fact, in the order of the changes, and must not block."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, random: Callable[[], float] = random_module.random
    ) -> None:
        # Reentrant: the garbage collector may run a finaliser that unsubscribes while this very thread holds the lock.
        self._lock = threading.RLock()
        self._clock = clock
        self._random = random
        self._http = _Http.UNTRIED
        self._call_refused = False
        """The last verdict on the credentials was a no, and a call that needs them got it."""
        self._realtime: str | None = None
        self._realtime_auth_failed = False
        self._reconnects = 0
        self._closed = False
        self._state = ConnectionState.CONNECTING
        self._since = datetime.now(UTC)
        self._heard_at = -math.inf
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self._outcomes: deque[bool] = deque(maxlen=SAMPLES)
        self._last_error: str | None = None
        self._listeners: list[Callable[[Status], None]] = []
        self._telling = Telling(clock)
        self._schedule = ProbeSchedule(random)
        self._tasks: set[asyncio.Task[None]] = set()
        self.load: Callable[[], tuple[int, int, float]] = lambda: (0, 0, 0.0)
        """In flight, waiting, retry tokens; set by the engine."""
        self.nudge: Callable[[], None] | None = None
        """Called when HTTP succeeds while realtime pauses before a reconnect (docs/realtime-protocol.md, rule 7)."""

    # --- facts --------------------------------------------------------------------------------------------------------

    def succeeded(self, latency_seconds: float, *, judged: bool = True) -> None:
        """A call got its answer. `judged`: the backend looked at the credentials for it, so they are good."""
        self._heard_at = self._clock()
        self._latencies.append(latency_seconds)
        self._outcomes.append(True)
        if self._http is not _Http.ANSWERING:
            self._answering(judged)
        if self._realtime == "backoff" and self.nudge is not None:
            self.nudge()

    def attempt_failed(self, said: str) -> None:
        """An attempt got no answer, or a 5xx or 429, and may be made again."""
        self._heard_at = self._clock()
        self._outcomes.append(False)
        self._last_error = said
        if self._http in (_Http.UNTRIED, _Http.ANSWERING):
            self._set_http(_Http.STRUGGLING)

    def call_failed(self, error: RequestError, *, judged: bool = True) -> None:
        """A call is over, and its last attempt gave an error. Not for one that came before an attempt was made.

        Args:
            judged: As of `succeeded`; a 401 is lifted by a call of this kind again.
        """
        self._heard_at = self._clock()
        self._last_error = error.message
        if isinstance(error, StatusError):
            if isinstance(error, AuthenticationError):
                self._call_refused = judged
                self._set_http(_Http.REFUSED)
            elif error.status >= 500 or error.status == 429:
                self._outcomes.append(False)
                self._set_http(_Http.STRUGGLING)
            else:
                self._outcomes.append(True)
                if judged or self._http is not _Http.REFUSED:  # a token endpoint refuses with 400
                    self._answering(judged)
        elif isinstance(error, RedirectRefusedError):
            self._outcomes.append(True)
            self._answering(judged)
        else:
            self._outcomes.append(False)
            self._set_http(_Http.SILENT)

    def auth_failed(self, said: str) -> None:
        """No credentials could be had: any success shows that they can."""
        self._heard_at = self._clock()
        self._last_error = said
        self._set_http(_Http.REFUSED)

    def realtime(self, state: str, *, auth_failed: bool = False, reconnects: int = 0) -> None:
        """The WebSocket client's state, by its name in docs/realtime.md."""
        with self._lock:
            if "ready" in (self._realtime, state):
                self._heard_at = self._clock()
            self._realtime = state
            self._realtime_auth_failed = auth_failed
            self._reconnects = reconnects
        self._update()

    def closed(self) -> None:
        """The client is closed: its monitors end; `end` waits for them."""
        with self._lock:
            self._closed = True
            tasks = list(self._tasks)
        self._update()
        for task in tasks:
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:
                pass  # its loop has closed, and the task is over

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock, and does not exist here.

        Nor do its event loops: monitors, iterations and the events' connection are the parent's.
        """
        self._lock = threading.RLock()
        _parked.append((self._listeners, self._tasks))
        self._listeners, self._tasks = [], set()
        self._telling.after_fork()
        self._schedule = ProbeSchedule(self._random)
        self._realtime, self._realtime_auth_failed = None, False
        self._state = self._derive()

    # --- the picture --------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Status:
        latencies = sorted(self._latencies)
        outcomes = list(self._outcomes)
        in_flight, waiting, tokens = self.load()
        return Status(
            state=self._state,
            since=self._since,
            latency_p50_ms=_percentile_ms(latencies, 0.50),
            latency_p95_ms=_percentile_ms(latencies, 0.95),
            success_rate=sum(outcomes) / len(outcomes) if outcomes else None,
            last_error=self._last_error,
            in_flight=in_flight,
            waiting=waiting,
            retry_tokens=tokens,
            realtime=self._realtime,
            reconnects=self._reconnects,
        )

    def subscribe(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Calls `callback` with the picture at every change of state; returns how to stop that."""
        return self._telling.subscribe(callback)

    def listen(self, listener: Callable[[Status], None]) -> Callable[[], None]:
        """As `subscribe`, for our own: told how it stands now as well, under the lock, so it neither blocks nor raises.

        No callback of a user's that blocks can keep it from a listener.
        """
        with self._lock:
            self._listeners.append(listener)
            listener(self.current)

        def remove() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return remove

    def _answering(self, judged: bool) -> None:
        """An answer that says nothing of refused credentials leaves them refused."""
        if judged:
            self._call_refused = False
        self._set_http(_Http.REFUSED if self._call_refused else _Http.ANSWERING)

    def _set_http(self, http: _Http) -> None:
        self._http = http
        self._update()

    def _update(self) -> None:
        with self._lock:
            before, after = self._state, self._derive()
            if before is after:
                return
            self._state = after
            self._since = datetime.now(UTC)
            self._schedule.moved(before, after)
            picture = self.current
            for listener in list(self._listeners):
                listener(picture)
            self._telling.add(picture)
        log.info(
            "connection %s -> %s", before, after, extra={"event": "status", "before": str(before), "after": str(after)}
        )
        self._telling.tell()

    def _derive(self) -> ConnectionState:
        if self._closed:
            return ConnectionState.CLOSED
        if self._http is _Http.REFUSED or self._realtime_auth_failed:
            return ConnectionState.AUTH_FAILED
        realtime_ready = self._realtime == "ready"
        realtime_broken = self._realtime in ("backoff", "failed")
        match self._http:
            case _Http.SILENT:
                # Events still arrive, so the backend lives.
                return ConnectionState.DEGRADED if realtime_ready else ConnectionState.OFFLINE
            case _Http.STRUGGLING:
                return ConnectionState.DEGRADED
            case _Http.ANSWERING:
                return ConnectionState.DEGRADED if realtime_broken else ConnectionState.ONLINE
            case _Http.UNTRIED:
                if realtime_ready:
                    return ConnectionState.ONLINE
                return ConnectionState.OFFLINE if realtime_broken else ConnectionState.CONNECTING

    # --- for monitors -------------------------------------------------------------------------------------------------

    def claim_probe(self, idle_seconds: float) -> float:
        """Seconds until a probe is due; with 0 it is the caller's to make, and `probe_over` must follow."""
        with self._lock:
            if self._state is ConnectionState.ONLINE and self._realtime == "ready":
                return math.inf  # its heartbeats are heard all the time, and when they stay away it is no longer ready
            now = self._clock()
            wait = self._schedule.due_at(self._state, idle_seconds, self._heard_at) - now
            if wait > 0:
                return wait
            self._schedule.begin(now)
            return 0.0

    def probe_over(self) -> None:
        with self._lock:
            self._schedule.end(self._clock())

    def adopt(self, task: asyncio.Task[None]) -> bool:
        """Has `task` ended with the client; False if the client is closed already."""
        with self._lock:
            if self._closed:
                return False
            self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def end(self) -> None:
        """After `closed()`: returns when the adopted tasks of this loop are over. Those of other loops end by themselves."""
        loop, current = asyncio.get_running_loop(), asyncio.current_task()
        tasks = {task for task in list(self._tasks) if task.get_loop() is loop and task is not current}
        if tasks:
            await asyncio.wait(tasks, timeout=END_SECONDS)


def _percentile_ms(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else None
