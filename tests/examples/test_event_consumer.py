"""A service that consumes events is killed again and again, and has its effect once for each of them."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend

FOLDER = Path(__file__).parents[2] / "examples" / "event_consumer"
TYPES = ["run.completed", "run.failed", "run.cancelled"]
RUNS, KILLS = 24, 4
PATIENCE_SECONDS = 60.0


class Service:
    def __init__(self, folder: Path, backend_url: str, api_key: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._environment = {
            **os.environ,
            "PLAYCALL_URL": backend_url,
            "PLAYCALL_API_KEY": api_key,
            "LEDGER": str(folder / "ledger.sqlite3"),
        }

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Killed at the end, with no warning."""
        command = ["uvicorn", "service:app", "--port", str(self._port), "--log-level", "warning"]
        with subprocess.Popen([sys.executable, "-m", *command], cwd=FOLDER, env=self._environment) as process:
            try:
                until(lambda: self.get("/health") is not None, process)
                yield process
            finally:
                process.kill()

    def get(self, path: str) -> Any:  # Any: JSON; None while nobody answers
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None


def until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert process.poll() is None, "the service has ended by itself"
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.02)


def test_killed_again_and_again_it_does_its_work_once_for_each_event(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        client.agents.create({"name": "Reader", "tools": ["text.stats"]})
        step = {
            "id": "s",
            "type": "standard",
            "agent": "Reader",
            "operation": "text.stats",
            "parameters": {"text": "a"},
        }
        playbook = client.playbooks.create({"name": "Short", "agents": ["Reader"], "steps": [step]})
        service = Service(tmp_path, backend.url, backend.api_key)
        for number in range(KILLS):
            with service.running() as process:
                before = len(service.get("/ledger"))
                for _ in range(RUNS // KILLS):
                    client.playbooks.run(playbook.id)
                wanted = before + chance.randrange(RUNS // KILLS)
                # In the middle of its work, with some of it done, and the rest while it is away.
                until(lambda wanted=wanted: len(service.get("/ledger")) >= wanted, process)
                print(f"kill {number + 1}: {wanted - before} were done")
        with service.running() as process:
            until(lambda: len(service.get("/ledger")) >= RUNS, process)
            kept = [event.id for event in client.events.history("runs", types=TYPES)]
            lines = service.get("/ledger")
            assert service.get("/health")["status"] == "ok"
    assert len(kept) == RUNS
    assert [line["event_id"] for line in lines] == kept
    assert {line["status"] for line in lines} == {"completed"}


def test_a_service_that_cannot_go_on_says_so(tmp_path: Path) -> None:
    with LiveBackend() as backend:
        service = Service(tmp_path, backend.url, "pk_not_mine")
        command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(service._port), "--log-level", "error"]
        with subprocess.Popen(command, cwd=FOLDER, env=service._environment) as process:
            try:
                url = f"http://127.0.0.1:{service._port}/health"

                def refused() -> bool:
                    try:
                        with urllib.request.urlopen(url, timeout=10):
                            return False  # it has not been told yet
                    except urllib.error.HTTPError as error:
                        said = json.load(error)
                        return error.code == 503 and "pk_not_mine" not in str(said) and bool(said["why"])
                    except OSError:
                        return False

                until(refused, process)
            finally:
                process.kill()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
