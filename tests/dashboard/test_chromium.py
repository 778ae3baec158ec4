"""Which Chromium the tests take, and how they get one; with programs that only pretend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import chromium
from tests.chromium import VARIABLE, ChromiumMissingError, find_chromium, install_chromium, main


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH, but for what shells need."""
    for name in ("sh", "env"):
        (tmp_path / name).symlink_to(Path("/usr/bin") / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def put(folder: Path, name: str, script: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_what_only_says_how_to_get_it_is_passed_over(programs: Path) -> None:
    put(programs, "chromium", "echo get the snap >&2; exit 1")
    real = put(programs, "chromium-browser", "echo Chromium 150")
    assert find_chromium() == real


def test_where_there_is_none_it_is_told_what_to_do(programs: Path) -> None:
    with pytest.raises(ChromiumMissingError, match=f"Install Debian's package `chromium`, or name .* {VARIABLE}"):
        find_chromium()
    put(programs, "chromium", "echo get the snap >&2; exit 1")
    with pytest.raises(ChromiumMissingError, match="get the snap"):
        find_chromium()


def test_the_variable_wins_and_is_never_passed_over(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(programs, "chromium", "echo Chromium 150")
    mine = put(programs, "mine", "echo Chromium 151")
    monkeypatch.setenv(VARIABLE, str(mine))
    assert find_chromium() == mine
    monkeypatch.setenv(VARIABLE, "nothing-of-this-name")
    with pytest.raises(ChromiumMissingError, match="nothing-of-this-name, which is no program"):
        find_chromium()


def test_it_is_installed_once_nobody_else_installs(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(chromium, "LOCK_PAUSE_SECONDS", 0.0)
    calls = programs / "calls"
    put(
        programs,
        "apt-get",
        f'echo "$DEBIAN_FRONTEND $*" >> {calls}\n'
        f'[ "$(/usr/bin/wc -l < {calls})" -gt 2 ] || {{ echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100; }}\n'
        'case "$*" in *install*) '
        f"printf '#!/bin/sh\\necho Chromium 150\\n' > {programs}/chromium; /usr/bin/chmod 755 {programs}/chromium;; esac",
    )
    main(["--install"])
    assert find_chromium() == programs / "chromium"
    *updates, install = calls.read_text().splitlines()
    assert [line.split()[-1] for line in updates] == ["update"] * 3
    assert install.startswith("noninteractive ")
    assert "chromium" in install.split()


def test_what_cannot_be_installed_is_told_with_what_was_said(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(ChromiumMissingError, match="no apt-get"):
        install_chromium()
    put(programs, "apt-get", "echo 'E: Temporary failure resolving' >&2; exit 100")
    with pytest.raises(SystemExit, match="status 100:\nE: Temporary failure resolving"):
        main(["--install"])


def test_nobody_is_asked_for_a_password(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    put(programs, "apt-get", "exit 0")
    put(programs, "sudo", '[ "$1" = -n ] || exit 0; exit 1')
    with pytest.raises(ChromiumMissingError, match="takes root, or a sudo that asks for no password"):
        install_chromium()
