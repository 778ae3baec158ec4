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
    assert sum("agents     #1    agent.created: reader" in line for line in lines) == 1
    assert sum("agents     #2    agent.created: writer" in line for line in lines) == 1
    assert sum("handler    #1    playbook.created" in line for line in lines) == 1
    assert any(line.startswith("* ready -> backoff") for line in lines)
    assert "received 3, repeated 0, gaps 0, reconnects 1" in lines
    assert lines[-1] == "* closing -> closed: closed by the user"
