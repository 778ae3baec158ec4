"""`check` finds what a start would stumble over, and leaves everything as it was."""

from __future__ import annotations

import resource
import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import pytest_asyncio

from playcall.server.running import check as check_module
from playcall.server.running.check import Verdict, check
from playcall.server.settings import Settings

from .conftest import RunningServer

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL

on_postgresql = pytest.mark.xdist_group("postgresql")


async def look(settings: Settings, workers: int = 1) -> dict[str, tuple[Verdict, str]]:
    return {finding.subject: (finding.verdict, finding.says) for finding in await check(settings, workers=workers)}


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in (folder, *folder.rglob("*"))
    }


async def test_a_new_folder_would_do_and_is_not_made(tmp_path: Path) -> None:
    found = await look(Settings(data_dir=tmp_path / "new" / "data", port=0))
    assert {verdict for verdict, _ in found.values()} <= {Verdict.OK, Verdict.WARNING}
    assert "would be made" in found["data folder"][1]
    assert "a new file" in found["database"][1]
    assert list(tmp_path.iterdir()) == []


async def test_a_used_folder_is_as_it_was_afterwards(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    with RunningServer(settings):
        pass
    before = tree(tmp_path)
    found = await look(settings)
    assert found["database"] == (Verdict.OK, f"SQLite {sqlite3.sqlite_version}, tables up to date")
    assert tree(tmp_path) == before


async def test_a_server_that_runs_is_found_by_its_address_and_its_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with RunningServer(settings) as server:
        found = await look(replace(settings, port=server.started.port))
    assert found["address"][0] == found["data folder"][0] == Verdict.FAILED
    assert "in use" in found["address"][1]
    assert "another server uses" in found["data folder"][1]


async def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder, words in ((file, "is a file"), (file / "below", "cannot be made")):
        verdict, says = (await look(Settings(data_dir=folder, port=0)))["data folder"]
        assert verdict == Verdict.FAILED
        assert words in says


async def test_read_roots_are_looked_at_as_a_start_does(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for root, verdict in (("root", Verdict.OK), ("missing", Verdict.FAILED), (".", Verdict.FAILED)):
        found = await look(Settings(data_dir=tmp_path / "data", port=0, read_roots=(tmp_path / root,)))
        assert found["read roots"][0] == verdict


async def test_a_database_that_is_none_or_of_a_later_version(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    settings.database_path.write_bytes(b"this is no database, however long it is" * 100)
    assert "not a database" in (await look(settings))["database"][1]
    settings.database_path.unlink()
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("CREATE TABLE playcall_schema_version (version_num TEXT)")
        connection.execute("INSERT INTO playcall_schema_version VALUES ('0001_first')")
    connection.close()
    assert (await look(settings))["database"][0] == Verdict.FAILED


async def test_little_room_is_a_warning_and_none_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    for free, verdict in ((10**6, Verdict.FAILED), (500 * 10**6, Verdict.WARNING), (10**10, Verdict.OK)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: Usage(free))
        assert (await look(Settings(data_dir=tmp_path, port=0)))["disk space"][0] == verdict


async def test_too_few_open_files_are_told_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1_024, 4_096))
    assert (await look(Settings(data_dir=tmp_path, port=0, max_sockets=500)))["open files"][0] == Verdict.OK
    verdict, says = (await look(Settings(data_dir=tmp_path, port=0)))["open files"]
    assert verdict == Verdict.WARNING
    assert "ulimit -n 10256" in says


async def test_workers_on_a_file_fail(tmp_path: Path) -> None:
    assert (await look(Settings(data_dir=tmp_path, port=0), workers=2))["workers"][0] == Verdict.FAILED


# --- with PostgreSQL --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def on_it(postgresql: PostgreSQL, tmp_path: Path) -> AsyncIterator[Settings]:
    url = postgresql.new_database(migrated=False)
    yield Settings(data_dir=tmp_path / "data", port=0, database_url=url)
    postgresql.drop(url)


@on_postgresql
async def test_postgresql_is_looked_at_and_nothing_made(postgresql: PostgreSQL, on_it: Settings) -> None:
    assert on_it.database_url is not None
    found = await look(on_it, workers=2)
    assert {verdict for verdict, _ in found.values()} <= {Verdict.OK, Verdict.WARNING}
    assert found["migrations"][1].startswith("no tables yet")
    assert {"rights", "connections", "clock"} <= found.keys()
    assert postgresql.execute(on_it.database_url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    with RunningServer(on_it):
        found = await look(on_it)
        assert found["data folder"][0] == Verdict.OK
        assert found["migrations"] == (Verdict.OK, "tables up to date")
        assert found["folder of it"][0] == Verdict.OK
    found = await look(replace(on_it, data_dir=on_it.data_dir / "elsewhere"))
    assert found["folder of it"][0] == Verdict.FAILED
    assert (await look(on_it, workers=60))["connections"][0] == Verdict.WARNING


@on_postgresql
async def test_rights_that_are_missing_are_named(postgresql: PostgreSQL, on_it: Settings) -> None:
    url = on_it.database_url
    assert url is not None
    postgresql.execute(url, "CREATE ROLE somebody LOGIN")
    try:
        found = await look(replace(on_it, database_url=url.replace("playcall@", "somebody:geheim@")))
        assert found["rights"] == (
            Verdict.FAILED,
            "missing: the right to CREATE in the schema public; the right to CREATE in the database, for the schema dbos",
        )
        assert "geheim" not in str(found)
    finally:
        postgresql.execute(url, "DROP ROLE somebody")


@on_postgresql
async def test_a_clock_that_is_off_is_told_by_how_much(on_it: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = check_module.time.time
    monkeypatch.setattr(check_module.time, "time", lambda: now() + 60)
    verdict, says = (await look(on_it))["clock"]
    assert verdict == Verdict.WARNING
    assert says.startswith("the database's is ")
    assert " behind this machine's" in says


async def test_a_database_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        given: dict[str, Any] = {"data_dir": tmp_path, "port": 0}
        found = await look(Settings(**given, database_url=f"postgresql://u:geheim@127.0.0.1:{port}/db"))
    assert found["database"][0] == Verdict.FAILED
    assert f"the database db at 127.0.0.1:{port} cannot be reached" in found["database"][1]
    assert "geheim" not in str(found)
    assert (await look(Settings(**given, database_url="mysql://u:geheim@h/db")))["database"][0] == Verdict.FAILED
