"""What is counted for Prometheus: every metric with what it means, and nothing at all while nobody wants them.

`turn_on` makes the metrics that are declared here real; until then each call is a look at an attribute. With several
processes on one machine each writes into a folder that all of them share, and whoever is asked adds them up: so the library
must not have been imported before `turn_on`, which tells it of the folder.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from playcall.models.event import RunStepData

if TYPE_CHECKING:
    import prometheus_client

    from playcall.server.log.events import NewEvent

__all__ = ["METRICS", "Metric", "committed", "exposition", "is_on", "turn_off", "turn_on"]

Mode: TypeAlias = Literal["livesum", "livemin", "livemax", "livemostrecent"]
"""How a gauge of several processes becomes one: their sum, the least, the greatest, or the latest word of any."""

_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own name for it."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0)


_declared: Final[list[Metric]] = []


@dataclass(slots=True)
class Metric:
    """`labels` are given by place in every call."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _declared.append(self)

    def make(self, registry: prometheus_client.CollectorRegistry) -> None:
        """From now on it counts."""
        raise NotImplementedError

    def drop(self) -> None:
        """From now on it does not."""
        raise NotImplementedError


@dataclass(slots=True)
class Counter(Metric):
    _real: prometheus_client.Counter | None = field(default=None, init=False)
    _of: dict[tuple[str, ...], prometheus_client.Counter] = field(default_factory=dict, init=False)
    """By the labels: the library's own look is three times as slow."""

    def make(self, registry: prometheus_client.CollectorRegistry) -> None:
        from prometheus_client import Counter as Real

        self._real = Real(self.name, self.help, self.labels, registry=registry)

    def drop(self) -> None:
        self._real = None
        self._of.clear()

    def add(self, *labels: str, amount: float = 1) -> None:
        if self._real is not None:
            (self._of.get(labels) or self._new(labels, self._real)).inc(amount)

    def _new(self, labels: tuple[str, ...], real: prometheus_client.Counter) -> prometheus_client.Counter:
        self._of[labels] = child = real.labels(*labels) if labels else real
        return child


@dataclass(slots=True)
class Gauge(Metric):
    mode: Mode = "livesum"
    _real: prometheus_client.Gauge | None = field(default=None, init=False)
    _of: dict[tuple[str, ...], prometheus_client.Gauge] = field(default_factory=dict, init=False)

    def make(self, registry: prometheus_client.CollectorRegistry) -> None:
        from prometheus_client import Gauge as Real

        self._real = Real(self.name, self.help, self.labels, registry=registry, multiprocess_mode=self.mode)

    def drop(self) -> None:
        self._real = None
        self._of.clear()

    def set(self, value: float, *labels: str) -> None:
        if self._real is not None:
            (self._of.get(labels) or self._new(labels, self._real)).set(value)

    def _new(self, labels: tuple[str, ...], real: prometheus_client.Gauge) -> prometheus_client.Gauge:
        self._of[labels] = child = real.labels(*labels) if labels else real
        return child

    @contextmanager
    def held(self) -> Generator[None]:
        """One more, of a gauge without labels, while the block runs."""
        real = self._real
        if real is None:
            yield
            return
        real.inc()
        try:
            yield
        finally:
            real.dec()


@dataclass(slots=True)
class Histogram(Metric):
    buckets: tuple[float, ...] = SECONDS
    _real: prometheus_client.Histogram | None = field(default=None, init=False)
    _of: dict[tuple[str, ...], prometheus_client.Histogram] = field(default_factory=dict, init=False)

    def make(self, registry: prometheus_client.CollectorRegistry) -> None:
        from prometheus_client import Histogram as Real

        self._real = Real(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)

    def drop(self) -> None:
        self._real = None
        self._of.clear()

    def observe(self, seconds: float, *labels: str) -> None:
        if self._real is not None:
            (self._of.get(labels) or self._new(labels, self._real)).observe(seconds)

    def _new(self, labels: tuple[str, ...], real: prometheus_client.Histogram) -> prometheus_client.Histogram:
        self._of[labels] = child = real.labels(*labels) if labels else real
        return child

    @contextmanager
    def timed(self, *labels: str) -> Generator[None]:
        """The time that the block takes, however it ends."""
        if self._real is None:
            yield
            return
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - began, *labels)


# --- requests and sockets ---------------------------------------------------------------------------------------------

REQUESTS = Counter(
    "playcall_http_requests_total",
    "Requests answered, by route template (none for a path that is none) and status.",
    ("method", "route", "status"),
)
REQUEST_SECONDS = Histogram(
    "playcall_http_request_seconds", "From a request's head to its answer's last byte.", ("method", "route")
)
REQUESTS_IN_FLIGHT = Gauge(
    "playcall_http_requests_in_flight", "Requests that are being answered, long polls among them."
)
RATE_LIMITED = Counter("playcall_rate_limited_total", "Requests refused because there were too many.", ("who",))
SIGN_IN_FAILURES = Counter("playcall_sign_in_failures_total", "Passwords that were wrong.")
SOCKETS = Gauge("playcall_sockets_open", "WebSockets that are open.")
SUBSCRIPTIONS = Gauge("playcall_subscriptions_open", "Subscriptions of all sockets.")

# --- the log ----------------------------------------------------------------------------------------------------------

EVENTS_APPENDED = Counter("playcall_events_appended_total", "Events committed, by type.", ("type",))
EVENTS_SENT = Counter("playcall_events_sent_total", "Events sent to subscriptions of sockets.")
FRAMES_SENT = Counter("playcall_frames_sent_total", "Frames sent on sockets, of any kind.")
GAPS_SENT = Counter(
    "playcall_gaps_sent_total", "Subscriptions that were told that they have lost something.", ("reason",)
)
WAKES = Counter(
    "playcall_wakes_total",
    "Topics whose readers were woken: by a commit here, by another process's word, or by the poll that makes up for both.",
    ("by",),
)

# --- runs -------------------------------------------------------------------------------------------------------------

RUNS_ENDED = Counter("playcall_runs_ended_total", "Runs that ended in this process, by how.", ("status",))
TASKS_ENDED = Counter("playcall_tasks_ended_total", "Tasks that ended in this process, by how.", ("status",))
RUNS = Gauge(
    "playcall_runs", "Runs that have not ended, of the whole database; queued ones wait.", ("status",), "livemostrecent"
)
TASKS = Gauge(
    "playcall_tasks",
    "Tasks that have not ended, of the whole database; queued ones wait.",
    ("status",),
    "livemostrecent",
)
STEP_SECONDS = Histogram(
    "playcall_step_seconds", "From a step's start to its end, by its type.", ("type",), LONG_SECONDS
)
TOOL_SECONDS = Histogram(
    "playcall_tool_call_seconds",
    "Calls of tools: built-in ones by name, prompts to models as prompt, all else as other.",
    ("tool",),
    LONG_SECONDS,
)
MODEL_TOKENS = Counter("playcall_model_tokens_total", "What models read and wrote, as they say themselves.", ("kind",))
TAKEN_OVER = Counter("playcall_segments_taken_over_total", "Runs and tasks taken over from processes that had died.")
LOOKED_AT = Gauge(
    "playcall_engine_look_timestamp_seconds",
    "When the engine last saw the database; of several processes, the one that has not for the longest.",
    (),
    "livemin",
)

# --- what is kept -----------------------------------------------------------------------------------------------------

EXPIRED = Counter("playcall_expired_rows_total", "Rows removed because they were kept long enough.", ("kind",))
CONNECTIONS = Gauge("playcall_database_connections_in_use", "Connections of the pools that are taken.", ("pool",))
TURN_SECONDS = Histogram("playcall_write_turn_wait_seconds", "How long writers waited for their turn; SQLite only.")
FREE_BYTES = Gauge("playcall_data_free_bytes", "Room left where the data folder is.", (), "livemostrecent")

STARTED_AT = Gauge(
    "playcall_start_timestamp_seconds", "When the server was started; of several, the first.", (), "livemin"
)
BUILD = Gauge("playcall_build_info", "1, with the version as a label.", ("version",), "livemax")

METRICS: Final = tuple(_declared)

_ENDS: Final = ("completed", "failed", "cancelled")

_registry: prometheus_client.CollectorRegistry | None = None
_folder: Path | None = None


def is_on() -> bool:
    return _registry is not None


def turn_on(folder: Path | None = None) -> None:
    """Count, from zero.

    Args:
        folder: Shared by the processes of one machine, and nobody else's; None for a process that is alone.

    Raises:
        RuntimeError: The library has been imported before it could be told of the folder.
    """
    global _registry, _folder
    turn_off()
    if folder is not None:
        if "prometheus_client" in sys.modules and os.environ.get(_FOLDER_VARIABLE) != str(folder):
            raise RuntimeError("prometheus_client was imported before metrics were turned on")
        os.environ[_FOLDER_VARIABLE] = str(folder)
    from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for
    _registry, _folder = CollectorRegistry(), folder
    for metric in METRICS:
        metric.make(_registry)
    if folder is None:
        ProcessCollector(registry=_registry)
    STARTED_AT.set(time.time())
    BUILD.set(1, version("playcall"))


def turn_off() -> None:
    global _registry, _folder
    for metric in METRICS:
        metric.drop()
    _registry = _folder = None


def exposition() -> tuple[bytes, str]:
    """What is counted by now, by all processes of the folder, and its media type. Blocks.

    Raises:
        RuntimeError: Nothing is counted.
    """
    if _registry is None:
        raise RuntimeError("metrics are off")
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = _registry
    if _folder is not None:
        from prometheus_client.multiprocess import MultiProcessCollector

        _forget_the_dead(_folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(_folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def committed(event: NewEvent) -> None:
    """An event is in the log for good."""
    if _registry is None:
        return
    EVENTS_APPENDED.add(event.type)
    noun, _, what = event.type.partition(".")
    if what in _ENDS and noun in ("run", "task"):
        (RUNS_ENDED if noun == "run" else TASKS_ENDED).add(what)
    elif event.type == "run.step.finished" and isinstance(event.data, RunStepData):
        step = event.data.step
        if step.started_at is not None and step.ended_at is not None and step.status != "reused":
            STEP_SECONDS.observe((step.ended_at - step.started_at).total_seconds(), step.type)


def _forget_the_dead(folder: Path) -> None:
    """Gauges of processes that are no more are no longer true. What they counted stays counted.

    By the library's own names for its files, as its `mark_process_dead` does; here nobody has to see a process die.
    """
    for file in folder.glob("gauge_live*_*.db"):
        try:
            os.kill(int(file.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
