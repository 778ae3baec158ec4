"""The demo as people run it: a process of its own, on sources that are not ours."""

from __future__ import annotations

import email
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("subprocesses")

EMAIL = str(Path(email.__file__).parent)
PATIENCE_SECONDS = 120


def start(*arguments: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "playcall", "demo", *arguments]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def children(pid: int) -> list[int]:
    """The processes that a process has started (Linux)."""
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def read_until(demo: subprocess.Popen[str], wanted: str) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if wanted in line:
            return
    raise AssertionError(f"it ended without {wanted!r}: {demo.stderr and demo.stderr.read()}")


def test_every_event_arrives_once_though_the_connection_is_cut(tmp_path: Path) -> None:
    demo = start(EMAIL, "--plain", cwd=tmp_path)
    out, err = demo.communicate(timeout=PATIENCE_SECONDS)
    assert demo.returncode == 0, err
    assert err == ""
    assert all(character.isprintable() or character == "\n" for character in out)
    assert "the connection is cut" in out
    assert "connected again" in out

    said = json.loads(out.splitlines()[-1])
    assert said["status"] == "completed"
    assert said["events_received"] == said["events_in_log"] >= 30
    assert said["events_repeated"] == 0
    assert said["reconnects"] >= 1
    events = [line for line in out.splitlines() if re.match(r" *\d+ +\d+\.\d\d s  ", line)]
    assert len(events) == said["events_in_log"]

    report = Path(said["report"])
    assert report == tmp_path / "playcall-demo-report.md"
    text = report.read_text()
    assert text.startswith("# email: what stands in the source\n")
    assert "| `message.py` |" in text
    for heading in ("Languages", "Largest files", "Longest functions", "Imports", "TODO comments"):
        assert f"\n## {heading}\n" in text
    assert "{{" not in text
    assert "{%" not in text


@pytest.mark.skipif(sys.platform != "linux", reason="finds the backend by /proc")
@pytest.mark.parametrize(
    ("hurt", "status", "said"),
    [
        pytest.param(lambda demo, backend: demo.send_signal(signal.SIGINT), 130, "interrupted", id="ctrl-c"),
        pytest.param(lambda demo, backend: demo.send_signal(signal.SIGTERM), 143, "", id="sigterm"),
        pytest.param(
            lambda demo, backend: os.kill(backend, signal.SIGKILL), 1, "backend's process ended", id="backend"
        ),
    ],
)
def test_ended_in_the_middle_it_says_so_and_leaves_nothing(
    tmp_path: Path, hurt: Callable[[subprocess.Popen[str], int], None], status: int, said: str
) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    with start(EMAIL, "--plain", cwd=tmp_path, env=environment) as demo:
        read_until(demo, "run.created")
        (backend,) = children(demo.pid)
        hurt(demo, backend)
        _, err = demo.communicate(timeout=PATIENCE_SECONDS)
    assert demo.returncode == status, err
    assert said in err
    assert err.count("\n") <= 1
    assert not Path(f"/proc/{backend}").exists()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "playcall-demo-report.md").exists()


def test_on_a_terminal_it_shows_bars_and_ends_with_the_same_line(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("import os\n\ndef f():\n    return os  # TODO: more\n")
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "300"}
    command = [sys.executable, "-m", "playcall", "demo", "code"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment
    ) as demo:
        os.close(slave)
        output = read_terminal(master)
        assert demo.wait(PATIENCE_SECONDS) == 0, demo.stderr and demo.stderr.read()
    os.close(master)
    assert "\x1b[" in output
    assert "━" in output
    said = json.loads(output.rstrip().splitlines()[-1])
    assert said["events_received"] == said["events_in_log"]
    assert said["reconnects"] >= 1


def read_terminal(master: int) -> str:
    """Everything that is written until the other side closes."""
    output, ends_at = b"", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at and select.select([master], [], [], PATIENCE_SECONDS)[0]:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # EIO: that is how Linux tells the end of a terminal
            break
        if not piece:
            break
        output += piece
    return output.decode()
