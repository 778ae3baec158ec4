"""A database that was put back from a copy gets a new epoch, and one that was not keeps its own."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from playcall.server.running import incarnation
from playcall.server.running.incarnation import Incarnation, Mark, read_witness, why_another, write_witness
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.store.tables import EPOCH, MetaRow, UserRow
from playcall.server.store.tables.meta import MARK

from .conftest import RunningServer
from .test_serving import failure

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL

on_postgresql = pytest.mark.xdist_group("postgresql")


def epoch_of(settings: Settings, events: int = 0) -> str:
    """What one start of a server, in which so many events happen, serves under."""
    with RunningServer(settings) as server:
        if events:

            async def emit() -> None:
                await server.emit(await server.new_user(), "run:1", count=events)

            asyncio.run(emit())
        return server.call(server.core.database.meta(EPOCH))


def copy(source: Path, target: Path) -> None:
    """A consistent copy, whoever writes at the same time."""
    with sqlite3.connect(source) as from_, sqlite3.connect(target) as to:
        from_.backup(to)
    from_.close()
    to.close()


def put_back(backup: Path, settings: Settings) -> None:
    for path in settings.data_dir.glob("playcall.sqlite3*"):
        path.unlink()
    shutil.copyfile(backup, settings.database_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0)


def test_a_restart_keeps_the_epoch_and_says_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    first = epoch_of(settings, events=3)
    assert [epoch_of(settings), epoch_of(settings, events=1), epoch_of(settings)] == [first] * 3
    assert "new_epoch" not in caplog.text


def test_a_database_that_was_put_back_alone_gets_a_new_epoch_once(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = epoch_of(settings, events=3)
    copy(settings.database_path, tmp_path / "backup")
    assert epoch_of(settings, events=2) == first
    put_back(tmp_path / "backup", settings)
    with caplog.at_level(logging.WARNING, "playcall.server"):
        second = epoch_of(settings)
    assert second != first
    (line,) = [record.getMessage() for record in caplog.records if "new_epoch" in record.getMessage()]
    assert "older than when it was used here last" in line
    assert epoch_of(settings) == second
    put_back(tmp_path / "backup", settings)
    assert epoch_of(settings) not in {first, second}


CHILD = """
import sys
from pathlib import Path
from playcall.server.running.serving import serve
from playcall.server.settings import Settings
serve(Settings(data_dir=Path(sys.argv[1]), port=0), engine=None, on_started=lambda started: print(started.url, flush=True))
"""


def killed_in_the_middle(settings: Settings, meanwhile: Callable[[], None] = lambda: None) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(settings.data_dir)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        meanwhile()
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def test_a_killed_server_keeps_its_epoch(settings: Settings) -> None:
    first = epoch_of(settings, events=1)
    killed_in_the_middle(settings)
    killed_in_the_middle(settings)
    assert epoch_of(settings) == first


async def test_a_copy_made_while_a_server_ran_is_told_from_what_that_server_left(
    settings: Settings, tmp_path: Path
) -> None:
    """The count moves while the server writes, not with its starts alone."""
    with RunningServer(settings) as server:
        user = await server.new_user()
        await server.emit(user, "run:1", count=3)
        copy(settings.database_path, tmp_path / "backup")
        seen = read_witness(settings.witness_path)
        await server.emit(user, "run:1", count=3)
        async with asyncio.timeout(10):
            while read_witness(settings.witness_path) == seen:
                await asyncio.sleep(0.05)
        # As a kill would leave it: the clean end, which counts too, is not what is looked at here.
        copy(settings.database_path, tmp_path / "killed")
        shutil.copy(settings.witness_path, tmp_path / "witness")
        first = await server.acall(server.core.database.meta(EPOCH))
    for database, is_kept in (("killed", True), ("backup", False)):
        put_back(tmp_path / database, settings)
        shutil.copy(tmp_path / "witness", settings.witness_path)
        assert (await asyncio.to_thread(epoch_of, settings) == first) is is_kept


def test_what_was_written_in_the_last_moment_counts_too(settings: Settings, tmp_path: Path) -> None:
    with RunningServer(settings) as server:
        copy(settings.database_path, tmp_path / "backup")

        async def emit() -> str:
            await server.emit(await server.new_user(), "run:1")
            return await server.acall(server.core.database.meta(EPOCH))

        first = asyncio.run(emit())
    put_back(tmp_path / "backup", settings)
    assert epoch_of(settings) != first


def test_a_database_without_a_witness_gets_a_new_epoch_once(settings: Settings) -> None:
    """It was copied here alone, or is from before there were witnesses."""
    first = epoch_of(settings, events=1)
    settings.witness_path.unlink()
    second = epoch_of(settings)
    assert second != first
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("DELETE FROM meta WHERE key = ?", (MARK,))
    connection.close()
    settings.witness_path.unlink()
    third = epoch_of(settings)
    assert third not in {first, second}
    assert epoch_of(settings) == third


def test_another_servers_database_gets_a_new_epoch_however_far_it_has_come(settings: Settings, tmp_path: Path) -> None:
    epoch_of(settings)
    other = Settings(data_dir=tmp_path / "other", port=0)
    theirs = {epoch_of(other, events=1), epoch_of(other, events=1), epoch_of(other, events=1)}
    put_back(other.database_path, settings)
    assert epoch_of(settings) not in theirs
    assert {epoch_of(other)} == theirs


def test_a_first_start_is_no_restored_database(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    epoch_of(settings)
    assert "new_epoch" not in caplog.text


@pytest.mark.parametrize("content", [b"", b"\0" * 30, b"e1", b"e1 x\n", b"e1 5", b"\xff\xff 1\n"])
def test_a_witness_that_cannot_be_understood_says_nothing_for_the_database(settings: Settings, content: bytes) -> None:
    first = epoch_of(settings)
    settings.witness_path.write_bytes(content)
    second = epoch_of(settings)
    assert second != first
    assert epoch_of(settings) == second


def test_a_witness_that_cannot_be_read_stops_the_start_in_one_sentence(settings: Settings) -> None:
    epoch_of(settings)
    settings.witness_path.unlink()
    settings.witness_path.mkdir()
    message = failure(settings)
    assert str(settings.witness_path) in message
    assert "is a directory" in message


def test_a_new_epoch_is_taken_when_it_is_asked_for(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    first = epoch_of(settings, events=1)
    asked = Settings(data_dir=settings.data_dir, port=0, new_epoch=True)
    second = epoch_of(asked)
    assert second != first
    assert "it was asked for" in caplog.text
    assert epoch_of(settings) == second


def test_the_command_line_asks_for_it(settings: Settings) -> None:
    first = epoch_of(settings)
    command = [sys.executable, "-m", "playcall", "serve", "--port=0", f"--data={settings.data_dir}", "--new-epoch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("playcall serves at")
        server.terminate()
        _, log = server.communicate()
    assert server.returncode == 0
    assert log.count("new_epoch") == 1
    assert epoch_of(settings) != first


def test_the_whole_folder_put_back_is_not_noticed_which_is_why_it_can_be_asked_for(
    settings: Settings, tmp_path: Path
) -> None:
    first = epoch_of(settings, events=1)
    shutil.copytree(settings.data_dir, tmp_path / "backup")
    epoch_of(settings, events=1)
    shutil.rmtree(settings.data_dir)
    shutil.copytree(tmp_path / "backup", settings.data_dir)
    assert epoch_of(settings) == first


# --- between the two writes --------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Used: it has a user."""
    database = await Database.create(f"sqlite+aiosqlite:///{tmp_path / 'db'}")
    await use(database, "u1")
    try:
        yield database
    finally:
        await database.close()


async def use(database: Database, name: str) -> None:
    from playcall.server.clock import utc_now

    async with database.write() as tx:
        tx.session.add(UserRow(id=name, username=name, password_hash=None, created_at=utc_now()))


async def count_of(database: Database) -> int:
    async with database.read() as session:
        row = await session.get(MetaRow, MARK)
        return 0 if row is None else int(row.value)


class Crash(BaseException):
    """Nothing handles it, as nothing handles a kill."""


def crash(*_args: object, **_kwargs: object) -> None:
    raise Crash


async def test_a_crash_between_the_two_writes_of_a_start_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    first = await Incarnation.begin(database, witness)
    with monkeypatch.context() as patch:
        patch.setattr(incarnation, "write_witness", crash)
        for _ in range(3):
            with pytest.raises(Crash):
                await Incarnation.begin(database, witness)
    assert await count_of(database) == first.mark.count + 3
    assert read_witness(witness) == first.mark
    again = await Incarnation.begin(database, witness)
    assert again.mark.epoch == first.mark.epoch
    assert read_witness(witness) == again.mark


async def test_a_crash_before_the_first_write_of_a_start_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    first = await Incarnation.begin(database, witness)
    with monkeypatch.context() as patch:
        patch.setattr(incarnation, "_count_on", crash)
        with pytest.raises(Crash):
            await Incarnation.begin(database, witness)
    assert (await count_of(database), read_witness(witness)) == (first.mark.count, first.mark)
    assert (await Incarnation.begin(database, witness)).mark.epoch == first.mark.epoch


async def test_a_crash_while_a_new_epoch_is_taken_is_followed_by_a_new_one_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in between has been served to nobody."""
    witness = tmp_path / "witness"
    first = await Incarnation.begin(database, witness)
    write_witness(witness, Mark(first.mark.epoch, first.mark.count + 5), durably=False)
    with monkeypatch.context() as patch:
        patch.setattr(incarnation, "write_witness", crash)
        with pytest.raises(Crash):
            await Incarnation.begin(database, witness)
    between = await database.meta(EPOCH)
    after = await Incarnation.begin(database, witness)
    assert len({first.mark.epoch, between, after.mark.epoch}) == 3
    assert (await Incarnation.begin(database, witness)).mark.epoch == after.mark.epoch


async def test_a_crash_while_the_count_moves_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    first = await Incarnation.begin(database, witness)
    await use(database, "u2")
    with monkeypatch.context() as patch:
        patch.setattr(incarnation, "write_witness", crash)
        with pytest.raises(Crash):
            await first.move()
    assert await count_of(database) == first.mark.count
    assert (await Incarnation.begin(database, witness)).mark.epoch == first.mark.epoch


@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
async def test_a_full_disk_leaves_the_old_witness_and_the_next_move_tells_it_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    witness = tmp_path / "witness"
    first = await Incarnation.begin(database, witness)
    before = read_witness(witness)
    await use(database, "u2")

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*{"write": (os, "fdopen"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[at], full)
        with pytest.raises(OSError, match="No space left"):
            await first.move(durably=True)
    assert read_witness(witness) == before
    await first.move()
    assert read_witness(witness) == first.mark != before


async def test_the_count_stands_still_while_nothing_is_written(database: Database, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    first = await Incarnation.begin(database, witness)
    mark = first.mark
    await first.move()
    await first.move()
    assert first.mark == mark
    await use(database, "u2")
    await first.move()
    await first.move()
    assert first.mark.count == mark.count + 1


@pytest.mark.parametrize(
    ("found", "seen", "is_another"),
    [
        (Mark("e", 5), Mark("e", 5), False),
        (Mark("e", 6), Mark("e", 5), False),
        (Mark("e", 4), Mark("e", 5), True),
        (Mark("e", 0), Mark("e", 5), True),
        (Mark("f", 9), Mark("e", 5), True),
        (Mark("e", 9), None, True),
    ],
)
def test_a_database_is_another_if_it_is_behind_or_unknown(found: Mark, seen: Mark | None, is_another: bool) -> None:
    assert (why_another(found, seen) is not None) is is_another


# --- several processes on one PostgreSQL ------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def shared(postgresql: PostgreSQL) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' hold of one database, which is used."""
    url = postgresql.new_database()
    first, second = await Database.create(url), await Database.create(url)
    await use(first, "u1")
    try:
        yield first, second
    finally:
        await first.close()
        await second.close()
        postgresql.drop(url)


@on_postgresql
async def test_two_that_start_at_once_on_a_restored_database_take_one_new_epoch(
    shared: tuple[Database, Database], tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    epoch = (await Incarnation.begin(shared[0], witness)).mark.epoch
    for _ in range(5):
        write_witness(witness, Mark(epoch, 1_000 + await count_of(shared[0])), durably=False)
        begun = await asyncio.gather(*(Incarnation.begin(each, witness) for each in shared * 2))
        epochs = {each.mark.epoch for each in begun}
        assert len(epochs) == 1
        assert epochs != {epoch}
        (epoch,) = epochs
        assert await shared[1].meta(EPOCH) == epoch


@on_postgresql
async def test_no_move_is_lost_and_the_witness_is_never_ahead(
    shared: tuple[Database, Database], tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    begun = [await Incarnation.begin(each, witness) for each in shared]
    before = begun[1].mark

    async def work(name: str, database: Database, own: Incarnation) -> None:
        for number in range(10):
            await use(database, f"{name}{number}")
            await own.move()
            seen = read_witness(witness)  # before the count is
            assert seen is not None
            assert seen.epoch == before.epoch
            assert seen.count <= await count_of(database)

    await asyncio.gather(*(work(f"w{n}", *each) for n, each in enumerate(zip(shared, begun, strict=True))))
    assert await count_of(shared[0]) == before.count + 20


@on_postgresql
async def test_a_start_beside_one_that_serves_changes_nothing_until_it_is_asked_to(
    shared: tuple[Database, Database], tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    serving = await Incarnation.begin(shared[0], witness)
    for number in range(3):
        await use(shared[0], f"v{number}")
        await serving.move()
        assert (await Incarnation.begin(shared[1], witness)).mark.epoch == serving.mark.epoch
    asked = await Incarnation.begin(shared[1], witness, new_epoch=True)
    assert asked.mark.epoch != serving.mark.epoch
    await use(shared[0], "later")
    await serving.move()  # says what the database says, whatever it began with
    assert read_witness(witness) == serving.mark
    assert (await Incarnation.begin(shared[1], witness)).mark.epoch == asked.mark.epoch


@on_postgresql
async def test_a_start_that_hangs_is_not_waited_for_for_ever(
    shared: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incarnation, "START_SECONDS", 0.1)
    witness = tmp_path / "witness"
    async with incarnation._one_start_at_a_time(witness):
        with pytest.raises(TimeoutError):
            await Incarnation.begin(shared[0], witness)
    await Incarnation.begin(shared[0], witness)


@on_postgresql
def test_a_postgresql_that_was_put_back_is_noticed_by_the_witness_in_the_folder(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    url = postgresql.new_database()
    settings = Settings(data_dir=tmp_path / "data", port=0, database_url=url)
    first = epoch_of(settings, events=1)
    backup = url + "_copy"
    copied = f'CREATE DATABASE "{backup.rpartition("/")[2]}" TEMPLATE "{url.rpartition("/")[2]}"'
    postgresql.execute(postgresql.url("postgres"), copied)
    assert epoch_of(settings, events=1) == first
    put_back = Settings(data_dir=settings.data_dir, port=0, database_url=backup)
    second = epoch_of(put_back)
    assert second != first
    assert epoch_of(put_back) == second
