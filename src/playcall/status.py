"""Connection status: one picture of HTTP and realtime, fed by real traffic, observable.

Which facts make which state is a table in docs/status.md.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from .deadline import check_seconds, deadline
from .errors import AuthenticationError, DeadlineExceededError, RedirectRefusedError, RequestError, StatusError
from .faces import Awaiting, FaceT, Service, call, stream

__all__ = ["ConnectionState", "ConnectionStatus", "Status", "StatusBoard"]

log = logging.getLogger("playcall.http")

SAMPLES: Final = 256
"""Latencies and outcomes that the figures are made from."""
CHANGES_KEPT: Final = 64
"""Changes that a slow reader of `changes()` may lag behind before the oldest is dropped."""


class ConnectionState(StrEnum):
    CONNECTING = "connecting"
    """Nothing has been heard from the backend yet."""
    ONLINE = "online"
    """The backend answers; a 404 is an answer too."""
    DEGRADED = "degraded"
    """It answers some: attempts fail, answers are 5xx or 429, or events are being reconnected."""
    OFFLINE = "offline"
    """The last call got no answer at all."""
    AUTH_FAILED = "auth_failed"
    """The credentials are refused, or cannot be had."""
    CLOSED = "closed"


class _Http(StrEnum):
    """What HTTP alone says."""

    UNTRIED = "untried"
    ANSWERING = "answering"
    STRUGGLING = "struggling"
    SILENT = "silent"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Status:
    """The picture at one moment. Figures are over the last 256 attempts; None where there were none."""

    state: ConnectionState
    since: datetime
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    success_rate: float | None
    last_error: str | None
    in_flight: int
    waiting: int
    retry_tokens: float
    realtime: str | None
    reconnects: int


class StatusBoard:
    """Where the facts come in. Thread-safe; callbacks run on the thread that brought the fact, and must not block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._http = _Http.UNTRIED
        self._realtime: str | None = None
        self._realtime_auth_failed = False
        self._reconnects = 0
        self._closed = False
        self._state = ConnectionState.CONNECTING
        self._since = datetime.now(UTC)
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self._outcomes: deque[bool] = deque(maxlen=SAMPLES)
        self._last_error: str | None = None
        self._callbacks: list[Callable[[Status], object]] = []
        self.load: Callable[[], tuple[int, int, float]] = lambda: (0, 0, 0.0)
        """In flight, waiting, retry tokens; set by the engine."""
        self.nudge: Callable[[], None] | None = None
        """Called when HTTP succeeds while realtime pauses before a reconnect (docs/realtime.md, rule 7)."""

    # --- facts --------------------------------------------------------------------------------------------------------

    def succeeded(self, latency_seconds: float) -> None:
        self._latencies.append(latency_seconds)
        self._outcomes.append(True)
        if self._http is not _Http.ANSWERING:
            self._set_http(_Http.ANSWERING)
        if self._realtime == "backoff" and self.nudge is not None:
            self.nudge()

    def attempt_failed(self, said: str) -> None:
        """An attempt got no answer, or a 5xx or 429, and may be made again."""
        self._outcomes.append(False)
        self._last_error = said
        if self._http in (_Http.UNTRIED, _Http.ANSWERING):
            self._set_http(_Http.STRUGGLING)

    def call_failed(self, error: RequestError) -> None:
        """A call is over, and its last attempt gave an error. Not for one that came before an attempt was made."""
        self._last_error = error.message
        if isinstance(error, StatusError):
            if isinstance(error, AuthenticationError):
                self._set_http(_Http.REFUSED)
            elif error.status >= 500 or error.status == 429:
                self._outcomes.append(False)
                self._set_http(_Http.STRUGGLING)
            else:
                self._outcomes.append(True)
                self._set_http(_Http.ANSWERING)
        elif isinstance(error, RedirectRefusedError):
            self._outcomes.append(True)
            self._set_http(_Http.ANSWERING)
        else:
            self._outcomes.append(False)
            self._set_http(_Http.SILENT)

    def auth_failed(self, said: str) -> None:
        self._last_error = said
        self._set_http(_Http.REFUSED)

    def realtime(self, state: str, *, auth_failed: bool = False, reconnects: int = 0) -> None:
        """The WebSocket client's state, by its name in docs/realtime.md."""
        with self._lock:
            self._realtime = state
            self._realtime_auth_failed = auth_failed
            self._reconnects = reconnects
        self._update()

    def closed(self) -> None:
        self._closed = True
        self._update()

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock, and does not exist here."""
        self._lock = threading.Lock()

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
        with self._lock:
            self._callbacks.append(callback)

        def remove() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return remove

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
            callbacks = list(self._callbacks)
        log.info(
            "connection %s -> %s", before, after, extra={"event": "status", "before": str(before), "after": str(after)}
        )
        if callbacks:
            picture = self.current
            for callback in callbacks:
                try:
                    callback(picture)
                except Exception:
                    log.exception("a status callback raised")

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


def _percentile_ms(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else None


class ConnectionStatus(Service[FaceT]):
    """`client.status`: the picture, its changes, and waiting for the backend to be there."""

    def __init__(self, board: StatusBoard, probe: Callable[[], Awaitable[object]], *, blocking: bool = False) -> None:
        super().__init__(blocking=blocking)
        self._board = board
        self._probe = probe

    @property
    def current(self) -> Status:
        """The picture now; costs no request."""
        return self._board.current

    def subscribe(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Calls `callback` at each change of state, on the thread where it was noticed: it must not block.

        Returns a function that ends it. An exception in the callback is logged.
        """
        return self._board.subscribe(callback)

    @stream
    async def changes(self: ConnectionStatus[Awaiting]) -> AsyncIterator[Status]:
        """The picture now, then at each change of state, until the client is closed."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        pictures: deque[Status] = deque(maxlen=CHANGES_KEPT)

        def on_change(picture: Status) -> None:
            pictures.append(picture)
            loop.call_soon_threadsafe(changed.set)

        remove = self._board.subscribe(on_change)
        pictures.append(self._board.current)  # after subscribing, so that no change falls between
        try:
            while True:
                while pictures:
                    picture = pictures.popleft()
                    yield picture
                    if picture.state is ConnectionState.CLOSED:
                        return
                await changed.wait()
                changed.clear()
        finally:
            remove()

    @call
    async def wait_until_ready(self: ConnectionStatus[Awaiting], timeout_seconds: float = 60.0) -> Status:
        """Asks the backend until it answers that it is ready; for programs that start beside it.

        Raises:
            DeadlineExceededError: it was not, in time. The message says what the last try met.
            AuthenticationError: it is there, but refuses the credentials.
        """
        ends_at = time.monotonic() + check_seconds(timeout_seconds, "timeout_seconds")
        pause = 0.05
        while True:
            try:
                with deadline(max(0.001, ends_at - time.monotonic())):
                    await self._probe()
            except AuthenticationError:
                raise
            except RequestError as error:
                left = ends_at - time.monotonic()
                if left <= pause:
                    raise DeadlineExceededError(
                        f"the backend was not ready within {timeout_seconds:g} s: {error.message}",
                        timeline=error.timeline,
                    ) from error
                await asyncio.sleep(pause)
                pause = min(1.0, pause * 1.5)
            else:
                return self._board.current
