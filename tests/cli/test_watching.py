"""A run that is followed in a terminal: bars move, a cut shows and heals, Ctrl-C asks. On the real backend."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from pydantic import TypeAdapter

from playcall import ApiKey, Playcall, RetryPolicy
from playcall.models import Playbook, Run
from playcall.models.event import AnyEvent
from playcall.testing import DeliveryOracle, FaultProxy, LiveBackend, read_log

from .commands import Run as Command
from .terminal import CTRL_C, Terminal

_numbers = count(1)


def steps(number_of: int, seconds: float) -> list[dict[str, Any]]:
    wait = {"type": "standard", "agent": "Reader", "operation": "wait", "parameters": {"seconds": seconds}}
    return [{**wait, "id": f"step{number}"} for number in range(1, number_of + 1)]


@pytest.fixture
def slow(client: Playcall) -> Playbook:
    name = f"Slow and steady {next(_numbers)}"
    return client.playbooks.create({"name": name, "agents": ["Reader"], "steps": steps(3, 1.0)})


@pytest.fixture
def proxy(live: LiveBackend) -> Iterator[FaultProxy]:
    with FaultProxy(live.url) as between:
        yield between


def environment(url: str, live: LiveBackend) -> dict[str, str]:
    return {"PLAYCALL_URL": url, "PLAYCALL_API_KEY": live.api_key}


def figures(screen: str, step: str) -> str:
    """What stands beside the step's bar; "" while there is none."""
    found = re.search(rf"^{step} .*?([\w./]+)$", screen, re.MULTILINE)
    return found[1] if found else ""


def test_bars_move_a_cut_shows_and_heals_and_the_run_is_seen_to_its_end(
    slow: Playbook, proxy: FaultProxy, live: LiveBackend, client: Playcall
) -> None:
    seen: list[str] = []
    with Terminal("playbooks", "run", slow.name, "--watch", environment=environment(proxy.url, live)) as terminal:

        def moves(screen: str) -> bool:
            if (figure := figures(screen, "step1")) and figure not in seen:
                seen.append(figure)
            return "1/3 steps" in screen

        terminal.until("● connected")
        terminal.until(moves)
        assert proxy.cut()
        screen = terminal.until("connected, 1 reconnect")
        assert "the connection is lost" in screen
        assert "connected again after" in screen
        assert terminal.ended() == 0
        last = terminal.text
    assert len(set(seen)) >= 2, f"the bar of a second stood still: {seen}"
    assert seen[-1] == "1/1"
    assert f"{slow.name}  completed  3/3 steps" in last
    assert [figures(last, f"step{number}") for number in (1, 2, 3)] == ["1/1"] * 3
    [run] = client.runs.list(playbook=slow.id)
    assert run.status == "completed"


@pytest.mark.parametrize(
    ("key", "status", "ends_as"), [("c", 1, "cancelled"), ("w", 0, "completed"), ("l", 130, "completed")]
)
def test_ctrl_c_asks_and_does_what_it_is_told(
    slow: Playbook, live: LiveBackend, client: Playcall, key: str, status: int, ends_as: str
) -> None:
    run = client.playbooks.run(slow.id)
    with Terminal("runs", "watch", run.id, environment=environment(live.url, live)) as terminal:
        terminal.until("step1")
        terminal.type(CTRL_C)
        terminal.until("cancel it [c]")
        assert client.runs.get(run.id).wish is None, "nothing is done before somebody has said so"
        terminal.type(f"{key}\n")
        assert terminal.ended() == status
        if key == "l":
            said = terminal.text.replace("\n", "")
            assert f"{run.id} goes on; playcall runs watch {run.id}" in said
        else:
            assert f"{slow.name}  {ends_as}" in terminal.text
    assert client.runs.wait(run.id).status == ends_as


def test_a_second_ctrl_c_leaves_the_run_alone(slow: Playbook, live: LiveBackend, client: Playcall) -> None:
    run = client.playbooks.run(slow.id)
    with Terminal("runs", "watch", run.id, environment=environment(live.url, live)) as terminal:
        terminal.until("step1")
        terminal.type(CTRL_C)
        terminal.until("cancel it [c]")
        terminal.type(CTRL_C)
        assert terminal.ended() == 130
        assert "Traceback" not in terminal.text
    assert client.runs.wait(run.id).status == "completed"


def test_the_backend_is_killed_and_comes_back_and_no_step_is_missed() -> None:
    with LiveBackend() as backend:
        patient = RetryPolicy(attempts=100, max_seconds=1.0, budget=None)
        with Playcall(backend.url, auth=ApiKey(backend.api_key), deadline_seconds=120, retry=patient) as client:
            client.agents.create({"name": "Reader", "tools": ["wait"]})
            playbook = client.playbooks.create({"name": "Through it", "agents": ["Reader"], "steps": steps(4, 0.5)})
            run = client.playbooks.run(playbook.id)
            with Terminal("runs", "watch", run.id, environment=environment(backend.url, backend)) as terminal:
                terminal.until("1/4 steps")
                backend.kill()
                terminal.until("↻ reconnecting")
                backend.restart()
                terminal.until("1 reconnect")
                assert terminal.ended() == 0
                assert "Through it  completed  4/4 steps" in terminal.text
                assert [figures(terminal.text, f"step{n}") for n in range(1, 5)] == ["0.5/0.5"] * 4


def test_forty_columns_show_whole_lines_and_other_peoples_names_obey_nothing(
    live: LiveBackend, client: Playcall
) -> None:
    name = "Bericht für 東京 🚀\x1b[31m rot\x07, and a name that goes on and on for ever"
    playbook = client.playbooks.create({"name": name, "agents": ["Reader"], "steps": steps(2, 0.3)})
    run = client.playbooks.run(playbook.id)
    with Terminal("runs", "watch", run.id, environment=environment(live.url, live), columns=40) as terminal:
        assert terminal.ended() == 0
        lines = terminal.lines
        assert b"\x1b[31m rot" not in terminal.written
        assert b"\x07" not in terminal.written
    assert lines[0].startswith("Bericht für 東京")
    assert lines[0].endswith("…")
    assert lines[1].startswith("completed  2/2 steps")
    assert [line.split()[0] for line in lines if "━" in line] == ["step1", "step2"]


def test_a_run_of_many_steps_fits_the_screen(live: LiveBackend, client: Playcall) -> None:
    stats = {"type": "standard", "agent": "Reader", "operation": "text.stats", "parameters": {"text": "a"}}
    many = [{**stats, "id": f"s{number}"} for number in range(30)]
    playbook = client.playbooks.create({"name": "Many", "agents": ["Reader"], "steps": many})
    with Terminal(
        "playbooks", "run", playbook.id, "--watch", environment=environment(live.url, live), rows=12
    ) as terminal:
        screen = terminal.until("have ended")
        assert sum("━" in line for line in screen.splitlines()) <= 10
        assert terminal.ended() == 0
        assert "Many  completed  30/30 steps" in terminal.text, "the head is still in sight"
        assert "of 30 in all, 30 have ended" in terminal.text


def test_a_failed_run_says_why_and_ends_with_one(live: LiveBackend, client: Playcall) -> None:
    step = {
        "id": "read",
        "type": "standard",
        "agent": "Reader",
        "operation": "text.stats",
        "parameters": {"text": "{{ inputs.text }}", "path": "nowhere.txt"},
    }
    playbook = client.playbooks.create(
        {"name": "Fails", "agents": ["Reader"], "inputs": {"text": {"type": "string", "default": "a"}}, "steps": [step]}
    )
    with Terminal("playbooks", "run", playbook.id, "--watch", environment=environment(live.url, live)) as terminal:
        assert terminal.ended() == 1
        assert "Fails  failed" in terminal.text
        assert "playcall: the run ended as failed: " in terminal.text


def test_piped_it_is_plain_lines_and_json_lines_tell_every_event(
    slow: Playbook, process: Command, client: Playcall, live: LiveBackend
) -> None:
    plain = process("playbooks", "run", slow.id, "--watch")
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout
    assert "run.completed" in plain.stdout.splitlines()[-1]
    run: Run = max(client.runs.list(playbook=slow.id), key=lambda each: each.created_at)
    told = process("runs", "watch", run.id, "--json")
    assert told.returncode == 0
    kept = [event.id for event in client.events.history(f"run:{run.id}")]
    assert [json.loads(line)["id"] for line in told.stdout.splitlines()] == kept


def test_ctrl_c_leaves_the_run_alone_where_nobody_can_be_asked(
    slow: Playbook, client: Playcall, live: LiveBackend
) -> None:
    run = client.playbooks.run(slow.id)
    with subprocess.Popen(
        [sys.executable, "-m", "playcall", "runs", "watch", run.id],
        env={**os.environ, **environment(live.url, live)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert "Slow and steady" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert said.strip() == f"playcall: {run.id} goes on; playcall runs watch {run.id} shows it again"
    assert client.runs.wait(run.id).status == "completed"


def test_the_oracle_agrees_with_what_json_lines_told_across_a_cut(
    slow: Playbook, proxy: FaultProxy, live: LiveBackend, client: Playcall
) -> None:
    run = client.playbooks.run(slow.id)
    oracle = DeliveryOracle()
    read = TypeAdapter[Any](AnyEvent)
    with subprocess.Popen(
        [sys.executable, "-m", "playcall", "runs", "watch", run.id, "--json"],
        env={**os.environ, **environment(proxy.url, live)},
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        cuts = 0
        for line in watching.stdout:
            oracle.saw(read.validate_json(line))
            if "task.started" in line:
                cuts += proxy.cut()
    assert watching.returncode == 0
    assert cuts >= 1
    verdict = oracle.judge(read_log(live.url, f"run:{run.id}", auth=ApiKey(live.api_key)))
    assert verdict.ok, verdict.explain()
