"""`examples/websocket_demo.py` does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "websocket_demo.py"


def test_the_demo_survives_the_backend_being_killed_and_receives_every_event_once() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DEMO)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    lines = done.stdout.splitlines()
    for number, kind in enumerate(["created", "started", "changed", "changed", "completed"], 1):
        assert sum(f"runs     #{number}   run.{kind}" in line for line in lines) == 1
    tasks = [line for line in lines if line.startswith("  tasks")]
    assert [int(line.split("#")[1].split()[0]) for line in tasks] == list(range(1, len(tasks) + 1))
    assert sum("handler  #1   agent.created   reader" in line for line in lines) == 1
    assert any(line.startswith("* connection: ready -> backoff") for line in lines)
    assert any(line.startswith("* tasks:") and line.endswith("-> ended") for line in lines)
    assert f"received {1 + 5 + len(tasks)}, repeated 0, gaps 0, reconnects 1" in lines
    assert lines[-1] == "* connection: closing -> closed: closed by the user"
