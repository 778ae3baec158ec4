"""`playcall serve`, as a process: what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playcall.cli.app import app
from playcall.cli.serve import DATABASE_URL_VARIABLE, _announce
from playcall.server.running.starting import Started

COMMAND = [sys.executable, "-m", "playcall", "serve", "--port", "0"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_it_serves_announces_itself_and_ends_well_when_asked(tmp_path: Path) -> None:
    announce = tmp_path / "announce.json"
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    command = [*COMMAND, "--data", str(tmp_path / "data"), "--announce", str(announce)]
    process = subprocess.Popen(
        [*command, "--admin-password-file", str(password)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not announce.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    facts = json.loads(announce.read_text())
    assert facts["pid"] == process.pid
    assert stat.S_IMODE(announce.stat().st_mode) == 0o600
    request = urllib.request.Request(f"{facts['url']}/api/v1/auth/me", headers={"X-API-Key": facts["api_key"]})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert json.load(response)["username"] == "admin"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.splitlines() == [
        f"playcall serves at {facts['url']}",
        f"API key of admin, shown this once: {facts['api_key']}",
    ]
    assert "Traceback" not in err


def test_a_port_in_use_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("--port", str(taken.getsockname()[1]), "--data", str(tmp_path / "data"))
    assert result.returncode == 1
    assert result.stderr.startswith("playcall: 127.0.0.1:")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "99999"],
        ["--log-level", "loud"],
        ["--nonsense"],
        ["--requests-per-second", "inf"],
        ["--event-retention-days", "inf"],
        ["--run-retention-days", "1e300"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["serve", *arguments]).exit_code == 2


def test_files_that_cannot_be_used_are_said_in_a_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    for arguments, words in (
        (["--announce", str(tmp_path / "no" / "file")], "its folder is missing"),
        (["--announce", str(tmp_path)], "it is a folder"),
        (["--announce", ""], "it is a folder"),
        (["--announce", str(fifo)], "it is no regular file"),
        (["--admin-password-file", str(tmp_path / "none")], "cannot be read"),
        (["--admin-password-file", str(binary)], "not text"),
        (["--admin-password-file", str(empty)], "no first line"),
        (["--data", str(empty)], "is a file"),
    ):
        result = CliRunner().invoke(app, ["serve", "--port", "0", "--data", str(tmp_path / "data"), *arguments])
        assert result.exit_code == 1
        assert words in result.stderr
    assert not (tmp_path / "data").exists(), "no key was made that could not be told"


def test_what_is_missing_is_named_with_its_extra(tmp_path: Path) -> None:
    """A stand-in for an environment without the extras: their first module cannot be imported."""
    for module, extra in (("typer", "cli"), ("uvicorn", "server")):
        blocked = tmp_path / extra
        blocked.mkdir()
        (blocked / f"{module}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
        )
        result = subprocess.run(
            [*COMMAND, "--data", str(tmp_path / "data")],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(blocked)},
        )  # fmt: skip
        assert result.returncode == 1
        assert result.stderr.strip().endswith(f"pip install 'playcall[{extra}]'")
        assert len(result.stderr.splitlines()) == 1


def test_several_workers_on_a_file_are_refused_with_the_reason(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--data", str(tmp_path / "data"), "--workers", "2"])
    assert result.exit_code == 1
    assert "2 workers need PostgreSQL" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_url_comes_by_option_variable_or_file_and_its_password_is_shown_nowhere(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://u:geheim@127.0.0.1:{nobody.getsockname()[1]}/db"
        file = tmp_path / "url"
        file.write_text(url + "\n")
        serve = ["serve", "--port", "0", "--data", str(tmp_path / "data"), "--log-level", "debug"]
        # With workers the message comes from one of them, which takes a start's time: once is enough.
        ways: list[tuple[list[str], dict[str, str]]] = [
            (["--database-url", url], {}),
            ([], {DATABASE_URL_VARIABLE: url}),
            (["--database-url-file", str(file)], {}),
            # A file is said for this one start, and a variable for all of them.
            (["--database-url-file", str(file)], {DATABASE_URL_VARIABLE: "postgresql://u:geheim@other/db"}),
        ]
        for arguments, environment in ways:
            for more in ([], ["--check"], ["--workers", "2"])[: 3 if "--database-url" in arguments else 2]:
                result = CliRunner().invoke(app, [*serve, *arguments, *more], env=environment)
                assert result.exit_code == 1
                assert "127.0.0.1" in result.output, result.output
                assert "geheim" not in result.output
                assert "Traceback" not in result.output


def test_two_database_urls_are_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://h/db")
    arguments = ["serve", "--database-url", "postgresql://h/other", "--database-url-file", str(file)]
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_check_shows_a_table_changes_nothing_and_its_status_says_whether_it_would_start(tmp_path: Path) -> None:
    arguments = ["serve", "--check", "--port", "0", "--data", str(tmp_path / "data")]
    good = CliRunner().invoke(app, arguments)
    assert good.exit_code == 0
    for subject in ("address", "data folder", "disk space", "database", "engine", "extra llm", "open files"):
        assert f" {subject} " in good.stdout
    assert good.stdout.splitlines()[-1] == "playcall would start"
    bad = CliRunner().invoke(app, [*arguments, "--read-root", str(tmp_path)])
    assert bad.exit_code == 1
    assert "overlap" in bad.stdout
    assert bad.stdout.splitlines()[-1] == "playcall would not start: 1 of these failed"
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_shown() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "playcall")


def test_nobody_reads_the_key_in_a_file_that_lay_ready(tmp_path: Path) -> None:
    """In a folder that others write to, the name of the draft can be guessed."""
    draft = tmp_path / f".announce.json.{os.getpid()}"
    draft.touch()
    draft.chmod(0o666)
    with draft.open() as lain_ready:
        _announce(tmp_path / "announce.json", Started("http://h:1", 1, "pk_secret", "admin"))
        assert lain_ready.read() == ""
    assert stat.S_IMODE((tmp_path / "announce.json").stat().st_mode) == 0o600


def test_an_announcement_that_fails_leaves_no_key_behind(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        _announce(tmp_path, Started("http://h:1", 1, "pk_secret", "admin"))
    assert not [file for file in tmp_path.parent.iterdir() if file.name.startswith(f".{tmp_path.name}.")]
