"""What a command does where its standard streams are closed or full, and how signals end it: seen from its shell."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from playcall import Playcall

from .commands import Completed, said
from .terminal import Terminal

PLAYCALL = f"exec {shlex.quote(sys.executable)} -m playcall"
FULL = "playcall: standard output cannot be written: no space left on device\n"


def shell(line: str, environment: Mapping[str, str], **more: str) -> Completed:
    return subprocess.run(
        ["/bin/sh", "-c", line], env={**environment, **more}, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", ["--version", "--help", "status", "tools list --json", "doctor"])
def test_output_that_cannot_be_written_is_a_sentence(
    live_environment: dict[str, str], arguments: str, unbuffered: str
) -> None:
    completed = shell(f"{PLAYCALL} {arguments} > /dev/full", live_environment, PYTHONUNBUFFERED=unbuffered)
    assert (completed.returncode, completed.stderr) == (1, FULL)


@pytest.mark.parametrize("arguments", ["--version", "status"])
def test_a_pipe_that_nobody_reads_ends_the_command_without_a_word(
    live_environment: dict[str, str], arguments: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        command = [sys.executable, "-m", "playcall", *arguments.split()]
        ended = subprocess.run(
            command, env=live_environment, stdout=pipe, stderr=subprocess.PIPE, timeout=180, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_closed_output_is_a_sentence(live_environment: dict[str, str]) -> None:
    completed = shell(f"{PLAYCALL} status >&-", live_environment)
    assert (completed.returncode, completed.stderr) == (1, "playcall: standard output is closed\n")


def test_closed_errors_are_said_nowhere(live_environment: dict[str, str]) -> None:
    completed = shell(f"{PLAYCALL} status 2>&-", live_environment)
    assert completed.returncode == 0
    assert "online" in completed.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ("status", 0, ""),
        ("login --api-key-stdin", 2, "standard input is empty"),
        ("login", 2, "there is no terminal"),
        ("playbooks validate -", 1, "mistake"),
        ("users remove ann", 2, "give --yes"),
    ],
)
def test_closed_input_is_an_empty_one(
    live_environment: dict[str, str], arguments: str, status: int, sentence: str
) -> None:
    completed = shell(f"{PLAYCALL} {arguments} <&-", live_environment)
    if status:
        assert sentence in said(completed, status)
    else:
        assert completed.returncode == 0


# --- signals ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_before_there_is_a_command_is_a_sentence(live_environment: dict[str, str], tmp_path: Path) -> None:
    """While it imports what commands stand on; a module that interrupts its own import stands for the moment."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    completed = shell(f"{PLAYCALL} --version", live_environment, PYTHONPATH=str(tmp_path))
    assert (completed.returncode, completed.stderr) == (130, "playcall: interrupted\n")


@pytest.mark.parametrize("watched", ["status", "run"])
def test_sigterm_gives_the_terminal_its_cursor_back(
    live_environment: dict[str, str], client: Playcall, watched: str
) -> None:
    run = None
    if watched == "run":
        step = {"id": "s", "type": "standard", "agent": "Reader", "operation": "wait", "parameters": {"seconds": 600}}
        book = client.playbooks.create({"name": "Ended by a signal", "agents": ["Reader"], "steps": [step]})
        run = client.playbooks.run(book.id)
        arguments = ["runs", "watch", run.id]
    else:
        arguments = ["status", "--watch"]
    with Terminal(*arguments, environment=live_environment) as terminal:
        terminal.until(lambda _: b"\x1b[?25l" in terminal.written)
        begun = len(terminal.written)
        terminal.until(lambda _: len(terminal.written) > begun)  # it is drawn again: the view has come up whole
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 128 + signal.SIGTERM
        shown, hidden = (terminal.written.rfind(code) for code in (b"\x1b[?25h", b"\x1b[?25l"))
        assert shown > hidden >= 0
        assert "Traceback" not in terminal.text
    if run is not None:
        client.runs.cancel(run.id)
