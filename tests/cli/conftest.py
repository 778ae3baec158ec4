"""What commands are run in: no configuration of whoever runs the tests, and a backend that they share."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playcall import ApiKey, Playcall
from playcall.cli.app import app
from playcall.testing import LiveBackend

from .commands import Completed, Run


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Some commands are run in this process; what they set up for a whole process ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLAYCALL_URL", "PLAYCALL_API_KEY", "PLAYCALL_TOKEN", "PLAYCALL_PROFILE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PLAYCALL_CONFIG", str(tmp_path / "configuration" / "config.toml"))


@pytest.fixture(scope="session")
def live() -> Iterator[LiveBackend]:
    """One for all tests of commands: each uses names of its own."""
    with (
        LiveBackend(options=["--enable-shell"]) as running,
        Playcall(running.url, auth=ApiKey(running.api_key)) as client,
    ):
        client.agents.create({"name": "Reader", "tools": ["text.stats", "wait"]})
        yield running


@pytest.fixture
def client(live: LiveBackend) -> Iterator[Playcall]:
    """To see what a command did, and to set up what it needs."""
    with Playcall(live.url, auth=ApiKey(live.api_key)) as made:
        yield made


@pytest.fixture
def playcall(live: LiveBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command, in this process because that is quick, with the backend and its key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAYCALL_URL", live.url)
    monkeypatch.setenv("PLAYCALL_API_KEY", live.api_key)

    def run(*arguments: str, input: str = "", **environment: str | None) -> Completed:
        result = CliRunner().invoke(app, arguments, input=input, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Completed(arguments, result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def process(live: LiveBackend, tmp_path: Path) -> Run:
    """The same as a process of its own, with all that comes between it and a shell."""

    def run(*arguments: str, input: str = "", **environment: str) -> Completed:
        return subprocess.run(
            [sys.executable, "-m", "playcall", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key, **environment},
            input=input,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


@pytest.fixture
def live_environment(live: LiveBackend) -> dict[str, str]:
    """For a process that the test holds itself."""
    return {**os.environ, "PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key}
