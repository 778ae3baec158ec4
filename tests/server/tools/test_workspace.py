"""A new file is at its place whole, or everything is as it was."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from playcall.server.tools import NewFile, ToolContext, ToolFailure, ToolStopped
from playcall.server.tools.writing import Writing, writings_folder


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


def nothing_left(workspace: Path) -> bool:
    """Of what was on its way."""
    return list(writings_folder(workspace).iterdir()) == []


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
    assert nothing_left(workspace)
    assert workspace.exists() is placed, "the workspace itself stays"
    assert not (workspace / "sub").exists()


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
    assert nothing_left(workspace)


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
    assert nothing_left(workspace)
    assert not workspace.exists()


def test_a_workspace_that_others_use_by_now_stays_when_a_file_breaks_off(workspace: Path) -> None:
    """A step that begins meanwhile must not lose the folder that it works in."""
    with new(workspace, "a") as file:
        file.write(b"x")
        workspace.mkdir(exist_ok=True)
    assert workspace.is_dir()
    with new(workspace, "a") as file:
        file.place()
    assert workspace.is_dir()


def test_what_is_kept_is_not_taken_back_though_its_note_stays(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry has been committed by then."""

    def breaks(writing: Writing) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Writing, "accept", breaks)
    with new(workspace) as file:
        file.write(b"x")
        file.place()
        file.keep()
    assert there(workspace) == {"sub/a": b"x"}
    assert nothing_left(workspace)


def test_what_cannot_be_begun_leaves_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode == "xb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space"), new(workspace):
        pass
    assert nothing_left(workspace)


def test_closing_twice_takes_back_once(workspace: Path) -> None:
    file = new(workspace).open()
    file.place()
    file.close()
    (workspace / "sub").mkdir()
    (workspace / "sub" / "a").write_bytes(b"theirs")
    file.close()
    assert there(workspace) == {"sub/a": b"theirs"}


@pytest.mark.usefixtures("links")
def test_what_could_not_be_given_back_is_given_back_later(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another try of this process, or by the next one."""
    (workspace / "sub").mkdir(parents=True)
    (workspace / "sub" / "a").write_bytes(b"old")
    file = new(workspace).open()
    file.write(b"new")
    move = os.replace

    def breaks(source: Path, target: Path) -> None:
        if Path(source).name in broken:
            raise OSError(errno.EIO, "Input/output error")
        move(source, target)

    monkeypatch.setattr(os, "replace", breaks)
    broken = {"new", "old"}
    with pytest.raises(OSError, match="Input/output"):
        file.place()
    broken = {"old"}
    with contextlib.suppress(OSError):  # with hard links the old file has never left its place
        file.close()
    broken = set()
    for writing in Writing.left(workspace.parent):
        writing.take_back(workspace)
        writing.remove()
    file.close()
    assert there(workspace) == {"sub/a": b"old"}
    assert nothing_left(workspace)


def test_a_file_is_as_young_as_its_placing(workspace: Path) -> None:
    """Whoever knows an older entry of the name sees that this content is not the entry's."""
    with new(workspace) as file:
        file.write(b"x")
        file.finish()
        between = time.time_ns()
        file.place()
        file.keep()
    assert (workspace / "sub" / "a").stat().st_mtime_ns >= between


def test_content_and_place_are_on_the_disk_when_the_file_is_placed(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the entry's commit must not leave an entry of an empty file, or of none."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    with new(workspace) as file:
        file.write(b"x")
        file.place()
        places = [workspace / "sub" / "a", workspace / "sub", workspace]
        assert synced == [path.stat().st_ino for path in places]


@pytest.mark.parametrize("name", ["a\nb", "a\x7f", "a\x85", "a\u2028", "a\ufffd"])
def test_a_name_that_nobody_can_write_down_is_refused(workspace: Path, name: str) -> None:
    with pytest.raises(ToolFailure, match="control characters") as refused:
        new(workspace, name)
    assert refused.value.code == "path_refused"


@pytest.mark.parametrize("name", ["naïve.txt", "\u8868\u3000.csv", ".writing-x", "a b", "data:x,y"])
def test_other_names_are_taken(workspace: Path, name: str) -> None:
    with new(workspace, name) as file:
        file.place()
        file.keep()
    assert there(workspace) == {name: b""}


def test_a_file_is_not_placed_while_another_process_may_have_gone_on_with_the_work(tmp_path: Path) -> None:
    looked = threading.Event()
    ours = [False]

    def still_ours() -> bool:
        looked.set()
        return ours[0]

    context = ToolContext(tmp_path / "workspace", still_ours=still_ours)
    writer = threading.Thread(target=lambda: context.write_bytes("late.txt", b"late"))
    writer.start()
    assert looked.wait(10)
    assert not (context.workspace / "late.txt").exists()
    ours[0] = True
    writer.join(10)
    assert (context.workspace / "late.txt").read_bytes() == b"late"


def test_work_that_was_taken_over_meanwhile_places_nothing(tmp_path: Path) -> None:
    looked = threading.Event()

    def never() -> bool:
        looked.set()
        return False

    context = ToolContext(tmp_path / "workspace", still_ours=never)
    stopped: list[type[BaseException]] = []

    def write() -> None:
        try:
            context.write_bytes("late.txt", b"late")
        except ToolStopped as error:
            stopped.append(type(error))

    writer = threading.Thread(target=write)
    writer.start()
    assert looked.wait(10)
    context.stop.set()
    writer.join(10)
    assert stopped == [ToolStopped]
    assert not (context.workspace / "late.txt").exists()
