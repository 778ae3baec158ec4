"""`playcall runs` against a real backend, except for watching on a terminal (test_watching.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from playcall import Playcall
from playcall.models import Run

from .commands import Run as Command
from .commands import done, objects, said

_numbers = count(1)
Begin = Callable[..., Run]


@pytest.fixture
def begin(client: Playcall) -> Begin:
    """Starts a run of a playbook with these steps, each a tool and its parameters."""
    client_tools = {tool for agent in client.agents.list() if agent.name == "Maker" for tool in agent.tools}
    if not client_tools:
        client.agents.create({"name": "Maker", "tools": ["files.write", "wait", "shell", "text.stats"]})

    def run(*steps: tuple[str, dict[str, Any]], name: str = "") -> Run:
        stored = client.playbooks.create(
            {
                "name": name or f"Made {next(_numbers)}",
                "agents": ["Maker"],
                "steps": [
                    {"id": f"s{number}", "type": "standard", "agent": "Maker", "operation": tool, "parameters": values}
                    for number, (tool, values) in enumerate(steps, 1)
                ],
            }
        )
        return client.playbooks.run(stored.id)

    return run


WRITES = ("files.write", {"path": "out/report.md", "content": "some words"})
WAITS = ("wait", {"seconds": 600})
SAYS = ("shell", {"command": "echo one; echo two >&2; printf 'three \\033[2J\\n'"})
FAILS = ("shell", {"command": "exit 3"})


def test_runs_are_listed_the_newest_first_and_shown_with_their_steps(
    playcall: Command, client: Playcall, begin: Begin
) -> None:
    first, second = begin(WRITES, name="Listed"), begin(WAITS, name="Going on")
    client.runs.wait(first.id)
    assert "it is completed" in said(playcall("runs", "cancel", first.id), 1)
    assert [each["id"] for each in objects(playcall("runs", "list", "--limit", "2", "--json"))] == [second.id, first.id]
    assert [each["id"] for each in objects(playcall("runs", "list", "--playbook", "Listed", "--json"))] == [first.id]
    listed = done(playcall("runs", "list", "--playbook", "Listed", "--status", "completed", "--oldest-first"))
    assert listed.splitlines()[1].split()[:4] == [first.id, "completed", "Listed", "1/1"]
    shown = done(playcall("runs", "show", first.id)).splitlines()
    assert "status    completed" in shown
    assert [line.split()[:2] for line in shown if line.startswith("s1")] == [["s1", "completed"]]
    (facts,) = objects(playcall("runs", "show", first.id, "--json"))
    assert (facts["id"], [step["status"] for step in facts["steps"]]) == (first.id, ["completed"])
    client.runs.cancel(second.id)
    assert "404" in said(playcall("runs", "show", "run_none"), 1)


def test_a_run_is_paused_resumed_cancelled_retried_and_deleted(
    playcall: Command, client: Playcall, begin: Begin
) -> None:
    run = begin(("shell", {"command": "sleep 1"}), WAITS)
    assert "asked to pause" in done(playcall("runs", "pause", run.id)) or client.runs.get(run.id).status == "paused"
    for event in client.runs.watch(run.id, start="start"):
        if event.type == "run.paused":
            break
    assert objects(playcall("runs", "resume", run.id, "--json"))[0]["status"] in ("queued", "running")
    assert run.id in done(playcall("runs", "cancel", run.id))
    assert client.runs.wait(run.id).status == "cancelled"
    assert done(playcall("runs", "cancel", run.id)) == f"{run.id}  cancelled\n", "somebody else was quicker"
    again = done(playcall("runs", "retry", run.id)).strip()
    assert client.runs.get(again).retry_of == run.id
    assert "409" in said(playcall("runs", "delete", again, "--yes"), 1)
    client.runs.cancel(again)
    client.runs.wait(again)
    assert "--yes" in said(playcall("runs", "delete", again), 2)
    assert objects(playcall("runs", "delete", again, "--yes", "--json")) == [{"id": again, "deleted": True}]


def test_a_retry_is_watched_to_its_end(playcall: Command, client: Playcall, begin: Begin) -> None:
    failed = begin(WRITES, FAILS)
    assert client.runs.wait(failed.id).status == "failed"
    watched = playcall("runs", "retry", failed.id, "--watch")
    assert watched.returncode == 1
    assert "reused" in watched.stdout


def test_logs_are_printed_by_level_without_what_a_terminal_would_obey(
    playcall: Command, client: Playcall, begin: Begin
) -> None:
    run = begin(SAYS)
    client.runs.wait(run.id)
    told = done(playcall("runs", "logs", run.id))
    # What a process writes to its two outputs comes in no certain order.
    assert sorted(line.split(": ")[-1] for line in told.splitlines()) == ["one", "three ?[2J", "two"]
    assert "\x1b" not in told
    (warning,) = objects(playcall("runs", "logs", run.id, "--level", "warning", "--json"))
    assert (warning["message"], warning["step_id"]) == ("two", "s1")
    assert len(objects(playcall("runs", "logs", run.id, "--limit", "1", "--json"))) == 1
    assert "--level is one of" in said(playcall("runs", "logs", run.id, "--level", "loud"), 2)


def test_logs_are_followed_until_the_run_ends(playcall: Command, client: Playcall, begin: Begin) -> None:
    run = begin(("shell", {"command": "echo one; sleep 0.3; echo two"}), SAYS)
    followed = objects(playcall("runs", "logs", run.id, "--follow", "--level", "info", "--json"))
    assert [line["message"] for line in followed[:2]] == ["one", "two"]
    assert sorted(line["message"] for line in followed[2:]) == ["one", "three \x1b[2J", "two"]
    assert client.runs.get(run.id).status == "completed"


def test_files_are_listed_and_fetched_and_nothing_is_overwritten_by_chance(
    playcall: Command, client: Playcall, begin: Begin, tmp_path: Path
) -> None:
    run = begin(WRITES)
    client.runs.wait(run.id)
    assert "out/report.md  10 B" in done(playcall("runs", "artifacts", run.id))
    assert [each["name"] for each in objects(playcall("runs", "artifacts", run.id, "--json"))] == ["out/report.md"]
    fetch = ("runs", "artifacts", run.id, "--download", "out/report.md")
    assert done(playcall(*fetch)) == "report.md\n"
    assert (tmp_path / "report.md").read_text() == "some words"
    assert "there is a file report.md here already" in said(playcall(*fetch), 2)
    assert "there is a file report.md here already" in said(playcall(*fetch, "--to", "."), 2)
    (tmp_path / "folder").mkdir()
    assert done(playcall(*fetch, "--to", "folder")) == "folder/report.md\n"
    assert done(playcall(*fetch, "--to", "report.md")) == "report.md\n", "the one that was named is meant"
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in said(playcall(*fetch, "--to", "fifo"), 2)
    assert done(playcall(*fetch, "--to", "-")) == "some words"
    assert "give one of them" in said(playcall(*fetch, "--to", "-", "--json"), 2)
    (fetched,) = objects(playcall(*fetch, "--to", "other.md", "--json"))
    assert fetched == {"name": "out/report.md", "path": "other.md", "size_bytes": 10}
    assert "404" in said(playcall("runs", "artifacts", run.id, "--download", "none.md"), 1)
    assert "--download NAME" in said(playcall("runs", "artifacts", run.id, "--to", "x"), 2)


def test_a_list_into_head_ends_quietly(live_environment: dict[str, str], begin: Begin) -> None:
    begin(WRITES)
    begin(WRITES)
    line = f"{sys.executable} -m playcall runs list --json | head -n 1"
    completed = subprocess.run(line, shell=True, env=live_environment, capture_output=True, text=True, timeout=60)
    assert (completed.stdout.count("\n"), completed.stderr) == (1, "")
