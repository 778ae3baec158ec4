"""`playcall users`, `backup` and `serve` for programs; what they do is tested where it is done (tests/server)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from playcall.cli.app import app
from playcall.testing import LiveBackend


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a backend that has run once."""
    data = tmp_path_factory.mktemp("data")
    with LiveBackend(data):
        pass
    return data


def told(*arguments: str, input: str = "") -> Any:  # Any: JSON
    result = CliRunner().invoke(app, [*arguments, "--json"], input=input)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_each_act_on_a_user_is_told_as_one_object(folder: Path) -> None:
    where = ("--data", str(folder))
    added = told("users", "add", "robot", "--api-key", *where)
    assert added["name"] == "robot"
    assert added["api_key"].startswith("pk_")
    password = ("--password-file", "-")
    assert told("users", "add", "ann", *password, *where, input="correct horse\n") == {"name": "ann", "api_key": None}
    assert told("users", "set-password", "ann", *password, *where, input="battery staple\n") == {
        "name": "ann",
        "password_set": True,
    }
    assert told("users", "disable", "robot", *where) == {"name": "robot", "disabled": True}
    assert told("users", "enable", "robot", *where) == {"name": "robot", "enabled": True}
    lines = CliRunner().invoke(app, ["users", "list", "--json", *where]).output.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["admin", "robot", "ann"]
    told("users", "disable", "ann", *where)
    assert told("users", "remove", "ann", "--yes", *where) == {"name": "ann", "removed": True}


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_password_that_is_no_text_is_a_sentence(folder: Path, locale: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "playcall", "users", "add", "eve", "--password-file", "-", "--data", str(folder)],
        input=b"caf\xe9 au lait\n",
        env={**os.environ, "LC_ALL": locale},
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (
        1,
        b"playcall: the password file - cannot be read: it is not text\n",
    )


def test_nobody_is_removed_where_nobody_can_be_asked(folder: Path) -> None:
    result = CliRunner().invoke(app, ["users", "remove", "admin", "--data", str(folder)])
    assert (result.exit_code, "--yes" in result.output) == (2, True)


def test_a_backup_is_told_as_one_object(folder: Path, tmp_path: Path) -> None:
    said = told("backup", str(tmp_path / "copy"), "--data", str(folder))
    assert said["target"] == str(tmp_path / "copy")
    assert said["size_bytes"] > 0


def test_what_a_start_would_find_is_told_as_one_object(folder: Path) -> None:
    said = told("serve", "--check", "--port", "0", "--data", str(folder))
    assert said["would_start"] is True
    assert {"verdict", "subject", "says"} <= said["findings"][0].keys()
