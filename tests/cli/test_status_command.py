"""`playcall status`: the picture at one moment, and each change of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import datetime

import pytest

from playcall.testing import LiveBackend

from .commands import Run, done, objects
from .terminal import CTRL_C, Terminal


def test_a_backend_that_answers_is_shown_with_its_latency(playcall: Run, live: LiveBackend) -> None:
    shown = done(playcall("status")).splitlines()
    assert f"backend   {live.url}" in shown
    assert "state     online" in shown
    assert any(line.startswith("latency ") and line.endswith(" ms") for line in shown)
    (facts,) = objects(playcall("status", "--json"))
    assert (facts["state"], facts["success_rate"]) == ("online", 1.0)
    assert facts["since"] == datetime.fromisoformat(facts["since"]).isoformat(), "as programs write times"


def test_no_backend_is_a_picture_too_and_status_1(playcall: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playcall.cli.status_command.ANSWER_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        completed = playcall("status", "--json", "--url", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert (completed.returncode, completed.stderr) == (1, "")
    facts = json.loads(completed.stdout)
    assert facts["state"] == "offline"
    assert facts["last_error"]


def test_refused_credentials_are_a_picture_too_and_status_1(playcall: Run) -> None:
    completed = playcall("status", PLAYCALL_API_KEY="pk_wrong")
    assert completed.returncode == 1
    assert "state       auth_failed" in completed.stdout
    assert "pk_wrong" not in completed.stdout


@pytest.mark.parametrize("as_json", [True, False])
def test_a_watch_tells_each_change_as_it_happens_until_it_is_interrupted(as_json: bool) -> None:
    with LiveBackend() as backend:
        command = [sys.executable, "-m", "playcall", "status", "--watch", *(["--json"] if as_json else [])]
        with subprocess.Popen(
            command,
            env={**os.environ, "PLAYCALL_URL": backend.url, "PLAYCALL_API_KEY": backend.api_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None

            def until(state: str) -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    if (json.loads(line)["state"] if as_json else line.split()[1]) == state:
                        return
                raise AssertionError(f"it never was {state}: {process.communicate()}")

            until("online")
            backend.kill()
            until("offline")
            backend.restart()
            until("online")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            assert (process.returncode, errors) == (130, "playcall: interrupted\n")


def test_on_a_terminal_the_picture_changes_in_its_place() -> None:
    with LiveBackend() as backend:
        where = {"PLAYCALL_URL": backend.url, "PLAYCALL_API_KEY": backend.api_key}
        with Terminal("status", "--watch", environment=where, columns=40) as terminal:
            terminal.until(lambda screen: "online" in screen and " ms" in screen and "events    ready" in screen)
            backend.kill()
            terminal.until("offline")
            backend.restart()
            terminal.until("online")
            assert terminal.text.count("state ") == 1
            terminal.type(CTRL_C)
            assert terminal.ended() == 130
