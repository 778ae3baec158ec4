"""The database: its migrations make what the code expects, and its dialects are in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, StatementError

from playcall.server.store.database import Database, NoTurnError
from playcall.server.store.dialect import insert_for
from playcall.server.store.migrate import VERSION_TABLE, SchemaTooNewError
from playcall.server.store.tables import Base, MetaRow, UserRow, UtcDateTime


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.create(f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3")
    yield database
    await database.close()


async def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    def differences(connection: Connection) -> Any:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)

    async with database.engine.begin() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_of_a_later_version_is_left_alone(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'later'"))
    with pytest.raises(SchemaTooNewError):
        await Database.create(database.url)


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


async def test_a_turn_that_does_not_come_in_time_is_given_up(database: Database) -> None:
    async with database.write():
        with pytest.raises(NoTurnError):
            async with database.write(wait_seconds=0.01):
                pytest.fail("two at once")
    async with database.write(wait_seconds=0):
        pass  # nobody holds it any more


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
            done.append("others")
            assert await tx.session.get(MetaRow, "k") is None

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
