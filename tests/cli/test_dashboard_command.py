"""`playcall dashboard` serves until it is told to end, leaves nothing behind, and says in one sentence why it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.machinery import ModuleSpec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from playcall.cli import dashboard as module

from .commands import Run

KEY = "pk_that_nobody_may_see"
SECONDS = 90.0
"""For a start, on a machine that has other things to do."""


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`playcall dashboard` on a free port, of a backend that is not there."""
    environment = {**os.environ, "PLAYCALL_URL": "http://127.0.0.1:1", "PLAYCALL_API_KEY": KEY, "HOME": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-m", "playcall", "dashboard", "--port=0", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answers(url: str) -> bool:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < ends_at, "it never came to be so"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_it_serves_where_it_says_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        line = first_line(process)
        assert line.startswith("playcall dashboard at http://127.0.0.1:")
        url = line.rpartition(" ")[2]
        assert answers(url)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert not answers(url)
        assert process.stderr is not None
        assert process.stderr.read() == "Ctrl-C ends it.\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it looks into /proc, where Linux has processes")
def test_killed_it_takes_its_server_with_it_and_the_key_was_in_no_argument(tmp_path: Path) -> None:
    with running(tmp_path, "--json") as process:
        url: str = json.loads(first_line(process))["url"]
        [server] = children(process.pid)
        for pid in (process.pid, server):
            assert KEY not in Path(f"/proc/{pid}/cmdline").read_text()
        process.kill()
        until(lambda: not answers(url))
        until(lambda: not Path(f"/proc/{server}/task").exists() or "Z" in Path(f"/proc/{server}/stat").read_text())


def test_a_port_that_is_taken_is_told_in_a_sentence(playcall: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = playcall("dashboard", f"--port={port}")
    assert done.returncode == 1
    assert done.stderr == (
        f"playcall: the dashboard cannot listen on 127.0.0.1:{port}: address already in use; --port 0 takes a free one\n"
    )


def test_an_address_of_another_machine_is_told_in_a_sentence(playcall: Run) -> None:
    done = playcall("dashboard", "--host=192.0.2.1")
    assert done.returncode == 1
    assert done.stderr.startswith("playcall: the dashboard cannot listen on 192.0.2.1:8501: ")


def test_without_streamlit_it_says_what_to_install(playcall: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_of_it(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(module, "find_spec", none_of_it)
    done = playcall("dashboard")
    assert done.returncode == 1
    assert done.stderr == "playcall: streamlit is missing; the dashboard needs: pip install 'playcall[dashboard]'\n"


def test_a_profile_that_is_not_there_is_told_before_anything_starts(playcall: Run) -> None:
    done = playcall("dashboard", "--profile", "nowhere")
    assert done.returncode == 2
    assert "there is no profile 'nowhere'" in done.stderr


def test_a_server_that_ends_by_itself_ends_the_command(
    playcall: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import os\nimport streamlit as st\napp = st.App(__file__)\nos._exit(7)\n")
    monkeypatch.setattr(module, "APP", broken)
    done = playcall("dashboard", "--port=0")
    assert done.returncode == 1
    assert "playcall: the dashboard could not be started: its process ended with status 7\n" in done.stderr
