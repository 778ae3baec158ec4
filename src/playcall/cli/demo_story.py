"""What the demo does, as a user of the blocking client would write it: the part worth reading.

A backend, a client behind a proxy, a playbook run on real files; the connection cut midway; and a second client that
compares what arrived with the backend's log.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from ..client import Playcall
from ..errors import PlaycallError
from ..event_words import file_size
from ..http.auth import ApiKey
from ..models.event import TaskCompleted, TaskProgress
from ..models.ids import StepId
from ..models.playbook import Playbook
from ..models.run import Run, RunStatus
from ..models.topic import run_topic
from ..realtime.states import ConnectionState, StateChange
from ..services.run_service import RunSnapshot
from ..testing.fault_proxy import FaultProxy
from ..testing.live_backend import LiveBackend
from ..testing.oracle import DeliveryOracle, Verdict, read_log
from .demo_view import View
from .run_picture import Picture

__all__ = ["BackendGoneError", "Outcome", "tell"]

PLAYBOOK: Final = "source-report.yaml"
REPORT: Final = "report.md"

TOOLS: Final = (
    ("sizes", "Counts files, lines and bytes"),
    ("languages", "Counts files and lines by language"),
    ("functions", "Finds the longest functions"),
    ("todos", "Finds TODO comments"),
    ("imports", "Draws the import graph"),
)
"""Each is the installed function `source.NAME`, registered under a short name with what every call starts from."""
PRESETS: Final[dict[str, Any]] = {"top": 10}
AGENTS: Final = (
    {"name": "Surveyor", "description": "Counts things", "tools": ["sizes", "languages", "todos"]},
    {"name": "Analyst", "description": "Reads syntax trees", "tools": ["functions", "imports"]},
    {"name": "Editor", "description": "Writes it down", "tools": ["files.write", "template.render"]},
)


class BackendGoneError(PlaycallError):
    """The backend's process ended while the run was watched."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The demo's last line. `report` is None where the run gave none."""

    run_id: str
    status: str
    events_in_log: int
    events_received: int
    events_repeated: int
    reconnects: int
    report: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def tell(source: Path, report: Path, view: View) -> tuple[Outcome, Verdict]:
    """Runs the whole demo on the files under `source`, and leaves the report at `report`.

    Raises:
        BackendStartError: the backend could not be started.
        PlaycallError: something could not be done; the message is for people.
    """
    with view:
        view.busy("starting the backend …")
        began = time.monotonic()
        with LiveBackend(read_roots=[source]) as backend, FaultProxy(backend.url) as proxy:
            view.say("backend", f"{backend.url}, ready after {time.monotonic() - began:.1f} s")
            view.say("proxy", f"{proxy.url}, will cut the connection midway")
            key = ApiKey(backend.api_key)
            with Playcall(proxy.url, auth=key) as client, _ended_with(backend, client):
                playbook = _prepare(client)
                view.say("playbook", f"{playbook.name}: {' → '.join(step.id for step in playbook.steps)}")
                view.say("source", str(source))
                day = f"{datetime.now().astimezone():%d %B %Y}".lstrip("0")
                inputs = {"path": str(source), "title": source.name, "day": day}
                run = client.playbooks.run(playbook.id, inputs=inputs)
                view.say("run", run.id)
                view.busy("")

                seen = DeliveryOracle()
                view.begin(Picture([StepId(step.id) for step in playbook.steps]))
                _watch(client, run, proxy, seen, view)
                run = client.runs.get(run.id)
                reconnects = client.events.picture.reconnects
                written = None
                if run.status == RunStatus.COMPLETED:
                    written = client.runs.download_artifact(run.id, REPORT, report)
            # The second client is fresh and goes straight to the backend.
            verdict = seen.judge(read_log(backend.url, run_topic(run.id), auth=key))
            view.busy("stopping the backend …")
    _conclude(view, run, verdict, reconnects, written)
    outcome = Outcome(
        run_id=run.id,
        status=run.status,
        events_in_log=verdict.in_log,
        events_received=verdict.received,
        events_repeated=len(verdict.repeated),
        reconnects=reconnects,
        report=None if written is None else str(written),
    )
    return outcome, verdict


def _prepare(client: Playcall) -> Playbook:
    """Registers tools and agents, and creates the playbook from the file that is shipped."""
    for name, description in TOOLS:
        client.tools.register(
            {
                "name": name,
                "kind": "installed",
                "description": description,
                "implementation": f"source.{name}",
                "defaults": PRESETS,
            }
        )
    for agent in AGENTS:
        client.agents.create(agent)
    with as_file(files("playcall.cli") / "playbooks" / PLAYBOOK) as file:
        return client.playbooks.create_from_file(file)


def _watch(client: Playcall, run: Run, proxy: FaultProxy, seen: DeliveryOracle, view: View) -> None:
    """Every event of the run from the first; once there is progress, the connection is cut under the client."""
    changes: deque[tuple[float, StateChange]] = deque()
    cut_at: float | None = None
    stop_listening = client.events.on_state(lambda change: changes.append((time.monotonic(), change)))
    try:
        for event in client.runs.watch(run.id, start="start"):
            if cut_at is not None:
                while changes:
                    at, change = changes.popleft()
                    if change.new is ConnectionState.READY and at > cut_at:
                        view.connection(
                            f"connected again after {(at - cut_at) * 1000:.0f} ms, and goes on from there",
                            good=True,
                        )
            seen.saw(event)
            if isinstance(event, RunSnapshot):
                continue  # from the start there is none
            view.event(event)
            if cut_at is None and isinstance(event, TaskProgress | TaskCompleted):
                changes.clear()
                cut_at = time.monotonic()
                if proxy.cut():
                    view.connection(f"the connection is cut, after event {event.seq}", good=False)
                else:
                    cut_at = None  # there was none to cut: at the next event
    finally:
        stop_listening()


def _conclude(view: View, run: Run, verdict: Verdict, reconnects: int, report: Path | None) -> None:
    took = "" if run.ended_at is None else f" after {(run.ended_at - run.created_at).total_seconds():.1f} s"
    view.say("run", f"{run.status}{took}{f': {run.error.message}' if run.error is not None else ''}")
    view.say("events", f"{verdict.explain()}, across {reconnects} reconnect{'' if reconnects == 1 else 's'}")
    if report is not None:
        view.say("report", f"{report} ({file_size(report.stat().st_size)})")


@contextmanager
def _ended_with(backend: LiveBackend, client: Playcall) -> Generator[None]:
    """Closes the client if the backend's process ends: watching would wait for its return for ever."""
    over = threading.Event()
    gone = threading.Event()

    def look() -> None:
        while not over.wait(0.25):
            if not backend.running:
                gone.set()
                client.close()
                return

    watcher = threading.Thread(target=look, name="playcall-demo-watcher", daemon=True)
    watcher.start()
    try:
        yield
    except PlaycallError:
        if gone.is_set():
            raise BackendGoneError("the backend's process ended in the middle of the run") from None
        raise
    finally:
        over.set()
        watcher.join()
