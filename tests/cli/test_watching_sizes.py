"""A watched run in terminals of any size, and of any size itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from playcall import ApiKey, Playcall
from playcall.models import Run
from playcall.testing import LiveBackend
from tests.dashboard.installed_tools import install
from tests.dashboard.large_run import begin_large_run

from .terminal import Terminal

_numbers = count(1)
STEPS, LINES = 2_000, 50_000
MOST_MEMORY_KIB = 110 * 1024
"""What a command takes anyway is some 60 MiB; the events of such a run, held in memory, would be 150 MiB more."""


def peak_kib(pid: int) -> int:
    """0 once it has ended."""
    lines = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) if lines else 0


@pytest.fixture
def run(client: Playcall) -> Iterator[Run]:
    """A name that fills lines, and a step that goes on until the test ends."""
    name = f"A report with a name as long as the year that it is about, number {next(_numbers)}"
    step = {"id": "long", "type": "standard", "agent": "Reader", "operation": "wait", "parameters": {"seconds": 600}}
    playbook = client.playbooks.create({"name": name, "agents": ["Reader"], "steps": [step]})
    begun = client.playbooks.run(playbook.id)
    yield begun
    client.runs.cancel(begun.id)


def _runs(screen: str) -> bool:
    """It was queued first, and is told so."""
    return "● connected" in screen and "running  0/1 steps" in screen


@pytest.mark.parametrize("columns", [70, 90])
def test_a_long_name_gives_way_to_how_the_run_stands_and_to_the_connection(
    run: Run, live: LiveBackend, columns: int
) -> None:
    environment = {"PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key}
    with Terminal("runs", "watch", run.id, environment=environment, columns=columns) as terminal:
        head = terminal.until(_runs).splitlines()[0]
    assert head.startswith("A report with a name")
    assert "…  running  0/1 steps  0:0" in head
    assert head.endswith("  ● connected")


def test_the_view_follows_the_size_of_its_window(run: Run, live: LiveBackend) -> None:
    environment = {"PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key}
    with Terminal("runs", "watch", run.id, environment=environment, columns=60, rows=20) as terminal:
        assert terminal.until(_runs).splitlines()[1].startswith("running  0/1 steps")
        terminal.resize(100, 20)
        # Also that the bars have the room that there is; a screen may be looked at in the middle of its drawing.
        terminal.until(lambda screen: _one_bar(screen) == 100 and screen.splitlines()[0].endswith("● connected"))
        terminal.resize(40, 20)
        terminal.until(
            lambda screen: _one_bar(screen) <= 40 and screen.endswith("0/600") and "\n● connected\n" in screen
        )


def _one_bar(screen: str) -> float:
    """How wide the screen's only bar is, with its label and figure."""
    bars = [line for line in screen.splitlines() if "━" in line]
    return len(bars[0]) if len(bars) == 1 else float("inf")


def test_a_window_of_ten_short_lines_has_the_head_a_bar_and_the_last_that_was_said(
    live: LiveBackend, client: Playcall
) -> None:
    client.agents.create({"name": "Talker", "tools": ["shell", "wait"]})
    said = {
        "operation": "shell",
        "parameters": {"command": "seq -f 'line %g, with more than fits here' 20; exec sleep 600"},
    }
    step = {"type": "standard", "agent": "Talker"}
    steps = [{**step, "id": f"s{n}", "operation": "wait", "parameters": {"seconds": 0}} for n in range(8)]
    playbook = client.playbooks.create(
        {"name": "Small", "agents": ["Talker"], "steps": [*steps, {**step, **said, "id": "talks"}]}
    )
    run = client.playbooks.run(playbook.id)
    environment = {"PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key}
    with Terminal("runs", "watch", run.id, environment=environment, columns=40, rows=10) as terminal:
        lines = terminal.until("line 20, with").splitlines()
        client.runs.cancel(run.id)
        assert terminal.ended() == 1
    assert lines[0] == "Small"
    assert lines[1].startswith("running  8/9 steps")
    assert lines[2] == "● connected"
    assert lines[3].startswith("talks ")
    assert lines[4] == "… of 9 in all, 8 have ended"
    assert lines[5:] == ["", *(f"line {n}, with more than fits here" for n in (18, 19, 20))]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveBackend, Run, Path]]:
    """A run that waits at its last but one step, and the file that lets it go on."""
    folder = tmp_path_factory.mktemp("large")
    gate = folder / "gate"
    gate.mkdir()
    with (
        LiveBackend(environment=install(folder / "packages")) as backend,
        Playcall(backend.url, auth=ApiKey(backend.api_key)) as client,
    ):
        client.tools.register({"name": "show.gate", "kind": "installed", "implementation": "show.gate"})
        client.agents.create({"name": "Clerk", "tools": ["show.gate", "wait"]})
        yield backend, begin_large_run(backend, client, "Clerk", gate, steps=STEPS, lines=LINES), gate / "1"


def test_a_run_of_two_thousand_steps_and_fifty_thousand_lines_is_followed_in_bounds(
    large: tuple[LiveBackend, Run, Path],
) -> None:
    backend, run, gate = large
    environment = {"PLAYCALL_URL": backend.url, "PLAYCALL_API_KEY": backend.api_key}
    with Terminal("runs", "watch", run.id, environment=environment) as terminal:
        screen = terminal.until(lambda screen: f"line {LINES - 1} of the quarterly report" in screen)
        assert screen.splitlines()[0].startswith("Reconciliation of 2,000 accounts  running  1998/2000 steps")
        assert "… of 2,000 in all, 1,998 have ended" in screen
        assert [line.split()[0] for line in screen.splitlines() if "━" in line][-2:] == ["gate", "last"]
        gate.touch()
        peaks: list[int] = []  # at each look: by the last one the process may have ended

        def has_completed(screen: str) -> bool:
            peaks.append(peak_kib(terminal.process.pid))
            return "completed  2000/2000 steps" in screen

        terminal.until(has_completed)
        assert terminal.ended() == 0
        assert terminal.scrolled == "", "nothing of it has left the screen"
    peak = max(peaks)
    assert 0 < peak < MOST_MEMORY_KIB

    for option in ([], ["--json"]):
        with subprocess.Popen(
            [sys.executable, "-m", "playcall", "runs", "watch", run.id, *option],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
        ) as piped:
            assert piped.stdout is not None
            told = 0
            for told, _ in enumerate(piped.stdout, 1):
                if told % 5_000 == 0:
                    peak = max(peak, peak_kib(piped.pid))
        assert piped.returncode == 0
        assert told > LINES + 2 * STEPS - 10
    assert peak < MOST_MEMORY_KIB
