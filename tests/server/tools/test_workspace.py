"""A new file is at its place whole, or everything is as it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from playcall.server.tools import NewFile, ToolFailure


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "work"


def new(workspace: Path, path: str = "sub/a", max_bytes: int = 10) -> NewFile:
    return NewFile(workspace, path, max_bytes=max_bytes)


def there(workspace: Path) -> dict[str, bytes]:
    files = [path for path in workspace.rglob("*") if path.is_file()]
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in files}


def test_a_file_is_seen_when_it_is_placed_and_stays_when_it_is_kept(workspace: Path) -> None:
    with new(workspace) as file:
        file.write(b"on")
        file.write(b"e")
        assert "sub/a" not in there(workspace)
        written = file.place()
        assert there(workspace) == {"sub/a": b"one"}
        file.keep()
    assert there(workspace) == {"sub/a": b"one"}
    assert (written.name, written.size_bytes) == ("sub/a", 3)
    assert written.stands_in(workspace)


@pytest.fixture(params=["hard links", "no hard links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system has them."""

    def refuse(source: Path, target: Path) -> None:
        if not source.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("placed", [True, False])
def test_what_is_not_kept_is_taken_back_with_the_folders_made_for_it(workspace: Path, placed: bool) -> None:
    with new(workspace) as file:
        file.write(b"one")
        if placed:
            file.place()
        assert (workspace / "sub" / "a").exists() is placed
    assert not workspace.exists()


@pytest.mark.usefixtures("links")
def test_what_was_there_before_is_there_again(workspace: Path) -> None:
    (workspace / "sub").mkdir(parents=True)
    (workspace / "sub" / "a").write_bytes(b"old")
    with new(workspace) as file:
        file.write(b"new")
        file.place()
        assert (workspace / "sub" / "a").read_bytes() == b"new"
    assert there(workspace) == {"sub/a": b"old"}
    with new(workspace) as file:
        file.write(b"new")
        file.place()
        file.keep()
    assert there(workspace) == {"sub/a": b"new"}


def test_what_others_have_put_there_meanwhile_is_left_alone(workspace: Path) -> None:
    with new(workspace) as mine:
        mine.write(b"mine")
        written = mine.place()
        with new(workspace) as theirs:
            theirs.write(b"theirs")
            theirs.place()
            theirs.keep()
        assert not written.stands_in(workspace)
    assert there(workspace) == {"sub/a": b"theirs"}


def test_a_folder_is_never_replaced(workspace: Path) -> None:
    (workspace / "sub" / "a").mkdir(parents=True)
    with pytest.raises(IsADirectoryError), new(workspace) as file:
        file.place()
    assert (workspace / "sub" / "a").is_dir()
    assert there(workspace) == {}


def test_more_than_the_limit_is_refused_when_it_comes(workspace: Path) -> None:
    with new(workspace) as file:
        file.write(b"1234567890")
        with pytest.raises(ToolFailure, match="more than 10 bytes"):
            file.write(b"1")
    assert not workspace.exists()
