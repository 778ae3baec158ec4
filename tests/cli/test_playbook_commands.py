"""`playcall playbooks`, as a process against a real backend: what works, and how each mistake ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend

Run = Callable[..., "subprocess.CompletedProcess[str]"]

GOOD = """\
name: Look
agents: [Reader]
inputs: {path: {type: string}}
steps:
  - {id: look, type: standard, agent: Reader, operation: text.stats, parameters: {text: "{{ inputs.path }}"}}
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[LiveBackend]:
    with LiveBackend() as running, Playcall(running.url, auth=ApiKey(running.api_key)) as client:
        client.agents.create({"name": "Reader", "tools": ["text.stats"]})
        yield running


@pytest.fixture
def playcall(backend: LiveBackend, tmp_path: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "playcall", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PLAYCALL_URL": backend.url, "PLAYCALL_API_KEY": backend.api_key, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def said(done: subprocess.CompletedProcess[str], status: int) -> str:
    """What a failed command says: never a traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("playcall: ")
    return done.stderr


def test_a_playbook_is_checked_stored_listed_run_and_watched(playcall: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    assert playcall("playbooks", "validate", "good.yaml").stdout == "valid\n"
    stored = playcall("playbooks", "create", "good.yaml").stdout.strip()
    assert f"{stored}  Look" in playcall("playbooks", "list").stdout
    assert f'"id":"{stored}"' in playcall("playbooks", "list", "--json").stdout
    watched = playcall("playbooks", "run", stored, "--input", "path=some words", "--watch")
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.splitlines()[1] == "run.created"
    assert watched.stdout.splitlines()[-1] == "run.completed"


def test_a_wrong_url_is_a_usage_error(playcall: Run) -> None:
    assert "http://host:port" in said(playcall("playbooks", "list", "--url", "localhost"), 2)


def test_no_backend_says_where_none_was_found(playcall: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert "is the backend running there?" in said(playcall("playbooks", "list", "--url", url), 1)


def test_a_refused_key_says_so_and_is_not_shown(playcall: Run) -> None:
    text = said(playcall("playbooks", "list", PLAYCALL_API_KEY="pk_wrong"), 1)
    assert "401" in text
    assert "pk_wrong" not in text


def test_a_missing_playbook_file_is_named(playcall: Run) -> None:
    assert "nowhere.yaml cannot be read" in said(playcall("playbooks", "create", "nowhere.yaml"), 2)


@pytest.mark.parametrize("command", ["create", "validate"])
def test_an_invalid_yaml_is_told_with_its_line(playcall: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text("name: [unclosed\nagents: {}\n")
    assert "line" in said(playcall("playbooks", command, "bad.yaml"), 1)


@pytest.mark.parametrize("command", ["create", "validate"])
def test_an_unknown_step_type_is_told_with_its_line_and_nothing_is_stored(
    playcall: Run, tmp_path: Path, command: str
) -> None:
    (tmp_path / "odd.yaml").write_text(GOOD.replace("name: Look", "name: Odd").replace("standard", "telepathy"))
    assert "line 5" in said(playcall("playbooks", command, "odd.yaml"), 1)
    assert "Odd" not in playcall("playbooks", "list").stdout


def test_inputs_that_do_not_fit_are_named(playcall: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD.replace("name: Look", "name: Inputs"))
    stored = playcall("playbooks", "create", "good.yaml").stdout.strip()
    assert "inputs.path" in said(playcall("playbooks", "run", stored), 1)
    assert "NAME=VALUE" in said(playcall("playbooks", "run", stored, "--input", "path"), 2)
