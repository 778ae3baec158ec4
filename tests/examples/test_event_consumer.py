"""A service that consumes events is killed again and again, and has its effect once for each of them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import runpy
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from playcall import ApiKey, Playcall
from playcall.errors import PlaycallError
from playcall.testing import LiveBackend

pytestmark = pytest.mark.xdist_group("subprocesses")

FOLDER = Path(__file__).parents[2] / "examples" / "event_consumer"
TYPES = ["run.completed", "run.failed", "run.cancelled"]
RUNS, KILLS = 24, 4
PATIENCE_SECONDS = 60.0

# Dies at the third statement of a kind, before it is executed.
DYING = """
import os, signal
import aiosqlite

count = 0

def dying_at(name):
    original = getattr(aiosqlite.Connection, name)

    def method(self, *values):
        global count
        count += (values[0] if values else name).startswith(os.environ["DIE_AT"])
        if count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *values)

    setattr(aiosqlite.Connection, name, method)

dying_at("execute")
dying_at("commit")
from service import app
"""


class Service:
    """The example, beside a backend; what it is told by its environment can be changed until it is started."""

    def __init__(self, folder: Path, backend_url: str, api_key: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.ledger = folder / "ledger.sqlite3"
        self.environment = {
            **os.environ,
            "PLAYCALL_URL": backend_url,
            "PLAYCALL_API_KEY": api_key,
            "LEDGER": str(self.ledger),
            "PYTHONPATH": str(FOLDER),
        }
        self._command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "error"]

    @contextmanager
    def running(self, app: str = "service:app", *, cwd: Path = FOLDER) -> Iterator[subprocess.Popen[bytes]]:
        """Killed at the end, with no warning."""
        with subprocess.Popen([*self._command, app], cwd=cwd, env=self.environment) as process:
            try:
                yield process
            finally:
                process.kill()

    def get(self, path: str) -> Any:  # Any: JSON; None while nobody answers, and after an answer other than 200
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    def lines(self) -> list[dict[str, Any]]:
        return self.get("/ledger") or []

    def has_done(self, count: int, process: subprocess.Popen[bytes]) -> None:
        until(lambda: len(self.lines()) >= count, process)


def until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert process.poll() is None, "the service has ended by itself"
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def backend() -> Iterator[LiveBackend]:
    """With a playbook that is quick, and four runs of it that have ended."""
    with LiveBackend() as running, Playcall(running.url, auth=ApiKey(running.api_key)) as client:
        client.agents.create({"name": "Reader", "tools": ["text.stats"]})
        step = {
            "id": "s",
            "type": "standard",
            "agent": "Reader",
            "operation": "text.stats",
            "parameters": {"text": "a"},
        }
        playbook = client.playbooks.create({"name": "Short", "agents": ["Reader"], "steps": [step]})
        for started in [client.playbooks.run(playbook.id) for _ in range(4)]:
            client.runs.wait(started.id, check=True)
        yield running


@pytest.fixture
def client(backend: LiveBackend) -> Iterator[Playcall]:
    with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        yield client


@pytest.fixture
def service(backend: LiveBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Service(tmp_path, backend.url, backend.api_key)


def kept(client: Playcall) -> list[str]:
    return [event.id for event in client.events.history("runs", types=TYPES)]


def test_killed_again_and_again_it_does_its_work_once_for_each_event(client: Playcall, service: Service) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    [playbook] = client.playbooks.list(text="Short")
    there = len(kept(client))
    for number in range(KILLS):
        with service.running() as process:
            until(lambda: service.get("/health") is not None, process)
            before = len(service.lines())
            for _ in range(RUNS // KILLS):
                client.playbooks.run(playbook.id)
            # In the middle of its work, with some of it done, and the rest while it is away.
            wanted = before + chance.randrange(1, RUNS // KILLS)
            service.has_done(wanted, process)
            print(f"kill {number + 1}: {wanted - before} were done")
    with service.running() as process:
        service.has_done(there + RUNS, process)
        lines = service.lines()
        assert service.get("/health")["gaps"] == []
    assert len(lines) == there + RUNS
    assert [line["event_id"] for line in lines] == kept(client)
    assert {line["status"] for line in lines} == {"completed"}


@pytest.mark.parametrize("statement", ["INSERT OR IGNORE INTO ledger", "INSERT OR REPLACE INTO place", "commit"])
def test_killed_at_any_statement_of_its_work_it_goes_on_after_what_was_whole(
    client: Playcall, service: Service, tmp_path: Path, statement: str
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    service.environment["DIE_AT"] = statement
    with service.running("dying:app", cwd=tmp_path) as process:
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    with closing(sqlite3.connect(service.ledger)) as database:
        done = [event_id for (event_id,) in database.execute("SELECT event_id FROM ledger ORDER BY rowid")]
        [(place,)] = database.execute("SELECT event_id FROM place")
    assert done == kept(client)[:2]
    assert place == done[-1], "what was done, and that it was, are one"
    with service.running() as process:
        service.has_done(len(kept(client)), process)
        assert [line["event_id"] for line in service.lines()] == kept(client)


def test_of_a_database_that_was_put_back_it_notes_the_gap_and_does_nothing_twice(
    client: Playcall, service: Service
) -> None:
    everything = kept(client)
    with service.running() as process:
        service.has_done(len(everything), process)
    with closing(sqlite3.connect(service.ledger)) as database, database:  # it has read on in a log that nobody has now
        database.execute("UPDATE place SET epoch = 'another', seq = 1000, event_id = NULL")
        database.execute("DELETE FROM ledger WHERE event_id = ?", (everything[-1],))
    with service.running() as process:
        service.has_done(len(everything), process)
        assert sorted(line["event_id"] for line in service.lines()) == sorted(everything)
        assert service.get("/health")["gaps"] == ["epoch: unknown is what came after another:1000"]


def test_a_service_that_cannot_go_on_says_so(service: Service) -> None:
    service.environment["PLAYCALL_API_KEY"] = "pk_not_mine"

    def refused() -> bool:
        try:
            with urllib.request.urlopen(f"{service.url}/health", timeout=10):
                return False  # it has not been told yet
        except urllib.error.HTTPError as error:
            said = json.load(error)
            return error.code == 503 and "pk_not_mine" not in str(said) and bool(said["why"])
        except OSError:
            return False

    with service.running() as process:
        until(refused, process)


async def test_a_service_that_could_not_go_on_ends_as_any_other(
    backend: LiveBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLAYCALL_URL", backend.url)
    monkeypatch.setenv("PLAYCALL_API_KEY", "pk_not_mine")
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger.sqlite3"))
    names = runpy.run_path(str(FOLDER / "service.py"))
    app = names["app"]
    async with names["lifespan"](app):
        await asyncio.wait({app.state.consuming})
    assert isinstance(app.state.consuming.exception(), PlaycallError)
