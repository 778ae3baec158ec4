"""The database: its migrations make what the code expects, and its dialects are in one place."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, StatementError

from playcall.server.store import migrate
from playcall.server.store.database import Database, NoTurnError
from playcall.server.store.dialect import insert_for
from playcall.server.store.migrate import VERSION_TABLE, SchemaTooNewError
from playcall.server.store.tables import Base, MetaRow, UserRow, UtcDateTime


def differences(connection: Connection) -> Any:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)


async def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    async with database.engine.begin() as connection:
        assert await connection.run_sync(differences) == []


REVISIONS = [
    script.revision for script in ScriptDirectory(str(Path(migrate.__file__).with_name("migrations"))).walk_revisions()
]


@pytest.mark.parametrize("revision", REVISIONS[1:])
async def test_each_earlier_version_is_brought_up_to_date(
    database_kind: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database_kind == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/old.sqlite3"
    else:
        url = request.getfixturevalue("postgresql").new_database(migrated=False)

    def make(connection: Connection) -> None:
        command.upgrade(migrate.migration_config(connection), revision)

    old = Database.at(url)
    async with old.engine.begin() as connection:
        await connection.run_sync(make)
    await old.close()
    database = await Database.create(url)
    async with database.engine.begin() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_a_database_of_a_later_version_is_left_alone(database: Database) -> None:
    async with database.engine.begin() as connection:
        was = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'later'"))
    try:
        with pytest.raises(SchemaTooNewError):
            await Database.create(database.url)
    finally:
        async with database.engine.begin() as connection:
            await connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))
            await connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:was)"), {"was": was})


@pytest.mark.sqlite_only("the settings are of SQLite's")
async def test_sqlite_runs_with_the_settings_that_hold(database: Database) -> None:
    async with database.read() as session:
        for pragma, value in (
            ("journal_mode", "wal"),
            ("synchronous", 1),
            ("foreign_keys", 1),
            ("busy_timeout", 30_000),
        ):
            assert (await session.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value


async def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
    async with database.write() as tx:
        tx.session.add(UserRow(id="u", username="u", password_hash=None, created_at=at))
    async with database.read() as session:
        found = (await session.execute(select(UserRow.created_at))).scalar_one()
    assert found == at
    assert found.tzinfo is UTC


async def test_a_time_without_a_zone_is_a_mistake(database: Database) -> None:
    async def store() -> None:
        async with database.write() as tx:
            naive = datetime(2026, 1, 2)  # noqa: DTZ001 - that is the point
            tx.session.add(UserRow(id="u", username="u", password_hash=None, created_at=naive))

    with pytest.raises(StatementError, match="needs a zone"):
        await store()


def test_postgresql_gives_aware_times_and_none_stays_none() -> None:
    column = UtcDateTime()
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    aware = datetime(2026, 1, 2, 5, tzinfo=timezone(timedelta(hours=2)))
    assert column.process_result_value(aware, dialect) == datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert column.process_bind_param(None, dialect) is None
    assert column.process_result_value(None, dialect) is None


class _Bound:
    """A session bound to a database that is not there."""

    def __init__(self, name: str) -> None:
        self.dialect = type("Dialect", (), {"name": name})()

    def get_bind(self) -> _Bound:
        return self


@pytest.mark.parametrize(("name", "kind"), [("sqlite", sqlite.Insert), ("postgresql", postgresql.Insert)])
def test_an_insert_is_of_the_sessions_own_database(name: str, kind: type) -> None:
    session: Any = _Bound(name)
    assert isinstance(insert_for(session, MetaRow), kind)


def test_another_database_is_refused() -> None:
    session: Any = _Bound("mysql")
    with pytest.raises(NotImplementedError, match="mysql"):
        insert_for(session, MetaRow)


async def test_an_error_of_a_statement_does_not_tell_its_values(database: Database) -> None:
    """Errors are logged, and values are secrets."""
    for engine in (database.engine, database.reader):
        with pytest.raises(DBAPIError) as caught:
            async with engine.begin() as connection:
                await connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "a-secret-value"})
        assert "a-secret-value" not in str(caught.value)


@pytest.mark.sqlite_only("turns are of SQLite's")
async def test_writers_on_sqlite_take_turns_in_the_order_in_which_they_came(database: Database) -> None:
    order: list[int] = []

    async def write(number: int) -> None:
        async with database.write() as tx:
            await tx.session.execute(select(UserRow.id).limit(1))
            order.append(number)
            await asyncio.sleep(0.003)

    async with asyncio.TaskGroup() as tasks:
        for number in range(40):
            tasks.create_task(write(number))
    assert order == list(range(40))


async def write_meta(database: Database, value: str, *, wait_seconds: float | None = None) -> None:
    async with database.write(wait_seconds=wait_seconds) as tx:
        statement = insert_for(tx.session, MetaRow).values(key="k", value=value)
        await tx.session.execute(statement.on_conflict_do_update(index_elements=[MetaRow.key], set_={"value": value}))


async def test_a_turn_that_does_not_come_in_time_is_given_up(database: Database) -> None:
    """On PostgreSQL it is a lock on what both write."""
    await write_meta(database, "before")
    async with database.write() as tx:
        await tx.session.execute(update(MetaRow).where(MetaRow.key == "k").values(value="first"))
        with pytest.raises(NoTurnError):
            await write_meta(database, "second", wait_seconds=0.01)
    assert await database.meta("k") == "first"
    await write_meta(database, "second", wait_seconds=5)  # nobody holds it any more


@pytest.mark.sqlite_only("turns are of SQLite's")
async def test_a_writer_that_is_cancelled_while_it_waits_leaves_the_turn_to_others(database: Database) -> None:
    async def write() -> None:
        async with database.write():
            pass

    async with database.write():
        waiting = asyncio.create_task(write())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    await asyncio.wait_for(write(), 5)


@pytest.mark.parametrize("fails", ["its own work", "its events", "its commit"])
async def test_what_is_not_the_databases_is_undone_before_others_may_write(
    database: Database, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    done: list[str] = []

    async def undo(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    async def breaks(*args: Any) -> None:
        raise RuntimeError(fails)

    async def first() -> None:
        async with database.write() as tx:
            tx.session.add(MetaRow(key="k", value="v"))
            await tx.session.flush()
            tx.if_it_fails(lambda: undo("first"))
            tx.if_it_fails(lambda: undo("second"))
            asking.set()
            if fails == "its events":
                monkeypatch.setattr(tx.outbox, "flush", breaks)
            elif fails == "its commit":
                monkeypatch.setattr(tx.session, "commit", breaks)
            else:
                raise RuntimeError(fails)

    async def second() -> None:
        await asking.wait()
        async with database.write() as tx:
            # PostgreSQL waits here, at the unique index.
            tx.session.add(MetaRow(key="k", value="w"))
            await tx.session.flush()
            done.append("others")

    asking = asyncio.Event()
    failed, _ = await asyncio.gather(first(), second(), return_exceptions=True)
    assert str(failed) == fails
    assert done == ["second", "first", "others"]


async def test_what_was_committed_is_not_undone(database: Database) -> None:
    done: list[str] = []

    async def undo() -> None:
        done.append("undone")

    async with database.write() as tx:
        tx.session.add(MetaRow(key="k", value="v"))
        tx.if_it_fails(undo)
    async with database.read() as session:
        assert await session.get(MetaRow, "k") is not None
    assert done == []
