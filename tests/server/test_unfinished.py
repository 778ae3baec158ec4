"""A start settles what a killed server has left, by what was committed, and stumbles over nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from playcall.server.clock import utc_now
from playcall.server.store.database import Database
from playcall.server.store.tables import ArtifactRow, RunRow, UserRow
from playcall.server.tools import NewFile, WrittenFile
from playcall.server.tools.writing import Writing, writings_folder
from playcall.server.upkeep.unfinished import settle_unfinished


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.create(f"sqlite+aiosqlite:///{tmp_path / 'db'}")
    yield opened
    await opened.close()


@pytest.fixture
def workspaces(tmp_path: Path) -> Path:
    return tmp_path / "workspaces"


def placed(workspaces: Path, content: bytes) -> WrittenFile:
    """By a process that dies before it has kept the file, or taken it back."""
    file = NewFile(workspaces / "run_1", "sub/a", max_bytes=100).open()
    file.write(content)
    written = file.place()
    dies(file)
    return written


def dies(file: NewFile) -> None:
    """As far as the file system can tell: its process holds nothing any more."""
    assert file._writing is not None
    file._writing.release()


def accepted(workspaces: Path, content: bytes) -> WrittenFile:
    with NewFile(workspaces / "run_1", "sub/a", max_bytes=100) as file:
        file.write(content)
        written = file.place()
        file.keep()
    return written


async def enter(database: Database, file: WrittenFile) -> None:
    now = utc_now()
    async with database.write() as tx:
        if await tx.session.get(RunRow, "run_1") is None:
            tx.session.add(UserRow(id="usr_1", username="u", password_hash=None, created_at=now))
            await tx.session.flush()
            tx.session.add(
                RunRow(
                    id="run_1", owner_id="usr_1", version=1, created_at=now, updated_at=now, playbook_id="pbk_1",
                    playbook_name="p", playbook_version=1, playbook={}, status="queued", inputs={}, steps_total=1,
                    request_hash="",
                )
            )  # fmt: skip
            await tx.session.flush()
        await tx.session.merge(
            ArtifactRow(
                run_id="run_1", name=file.name, media_type=file.media_type, size_bytes=file.size_bytes,
                sha256=file.sha256, created_at=now, step_id=None,
            )
        )  # fmt: skip


def there(workspaces: Path) -> dict[str, bytes]:
    """Files of all workspaces, and of what is on its way into them."""
    files = [path for path in workspaces.rglob("*") if path.is_file()]
    return {path.relative_to(workspaces).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(params=["hard links", "no hard links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        if not source.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
async def test_what_was_never_accepted_goes_and_what_it_replaced_is_there_again(
    database: Database, workspaces: Path
) -> None:
    await enter(database, accepted(workspaces, b"old"))
    placed(workspaces, b"new")
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {"run_1/sub/a": b"old"}


async def test_what_replaced_nothing_goes_with_its_folders(database: Database, workspaces: Path) -> None:
    placed(workspaces, b"new")
    await settle_unfinished(database, workspaces)
    assert list((workspaces / "run_1").iterdir()) == []
    assert there(workspaces) == {}


@pytest.mark.usefixtures("links")
async def test_what_was_accepted_stays(database: Database, workspaces: Path) -> None:
    await enter(database, accepted(workspaces, b"old"))
    await enter(database, placed(workspaces, b"new"))
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {"run_1/sub/a": b"new"}


async def test_of_several_writings_of_one_place_only_the_one_that_stands_there_is_taken_back(
    database: Database, workspaces: Path
) -> None:
    """The first was committed, and the second came before the first was kept."""
    await enter(database, accepted(workspaces, b"old"))
    await enter(database, placed(workspaces, b"first"))
    placed(workspaces, b"second")
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {"run_1/sub/a": b"first"}


async def test_what_was_being_received_goes(database: Database, workspaces: Path) -> None:
    file = NewFile(workspaces / "run_1", "a", max_bytes=100).open()
    file.write(b"half")
    file.finish()
    dies(file)
    (writings_folder(workspaces / "run_1") / "run_2").mkdir()  # the copies of a retry
    (writings_folder(workspaces / "run_1") / "run_2" / "copy").write_bytes(b"x")
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {}
    assert list(writings_folder(workspaces / "run_1").iterdir()) == []


async def test_a_note_that_broke_off_is_of_something_that_was_not_placed(database: Database, workspaces: Path) -> None:
    writing = Writing.begin(workspaces / "run_1")
    writing.new.write_bytes(b"new")
    (writing.folder / "note").write_text('{"workspace": "run_1", "na')
    writing.release()
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {}


async def test_a_run_that_is_gone_gets_nothing_back(database: Database, workspaces: Path) -> None:
    accepted(workspaces, b"old")
    placed(workspaces, b"new")
    (workspaces / "run_1" / "sub" / "a").unlink()
    (workspaces / "run_1" / "sub").rmdir()
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {}


async def test_what_cannot_be_settled_is_told_and_left_for_the_next_start(
    database: Database, workspaces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await enter(database, accepted(workspaces, b"old"))
    placed(workspaces, b"new")

    def breaks(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", breaks)
        await settle_unfinished(database, workspaces)
    assert [record.message for record in caplog.records] == ["file_not_taken_back"]
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {"run_1/sub/a": b"old"}


async def test_what_a_living_process_writes_is_left_alone_until_that_process_is_killed(
    database: Database, workspaces: Path
) -> None:
    await enter(database, accepted(workspaces, b"old"))
    with subprocess.Popen([sys.executable, "-c", WRITER, str(workspaces)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"placed\n"
            await settle_unfinished(database, workspaces)
            assert there(workspaces)["run_1/sub/a"] == b"new"
        finally:
            writer.kill()
    await settle_unfinished(database, workspaces)
    assert there(workspaces) == {"run_1/sub/a": b"old"}


WRITER = """
import sys, time
from pathlib import Path
from playcall.server.tools import NewFile
with NewFile(Path(sys.argv[1]) / "run_1", "sub/a", max_bytes=100) as file:
    file.write(b"new")
    file.place()
    print("placed", flush=True)
    time.sleep(600)
"""


async def test_two_who_settle_at_once_take_a_file_back_once(database: Database, workspaces: Path) -> None:
    await enter(database, accepted(workspaces, b"old"))
    for _ in range(5):
        placed(workspaces, b"new")
        await asyncio.gather(*(settle_unfinished(database, workspaces) for _ in range(3)))
        assert there(workspaces) == {"run_1/sub/a": b"old"}


def test_a_folder_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    workspaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    mkdtemp = tempfile.mkdtemp

    def swept(dir: Path) -> str:
        folder = mkdtemp(dir=dir)
        made.append(Path(folder))
        if len(made) == 1:
            for other in Writing.left(workspaces):
                other.remove()
        elif len(made) == 2:
            assert [other.folder for other in Writing.left(workspaces)] == made[1:]  # held by another from here on
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    writing = Writing.begin(workspaces / "run_1")
    assert writing.folder == made[2]
    writing.new.write_bytes(b"x")
    writing.remove()


async def test_nothing_to_settle_is_nothing_to_do(database: Database, workspaces: Path) -> None:
    await settle_unfinished(database, workspaces)
    assert not workspaces.exists()
