"""Everything in which SQLite and PostgreSQL differ, in one place.

SQLite: WAL, and transactions that say what they are when they begin. A writer says BEGIN IMMEDIATE, because a deferred
transaction that reads and then writes fails as "database is locked" whatever the busy timeout. A reader says BEGIN,
because without it each SELECT is a snapshot of its own.
PostgreSQL: READ COMMITTED for writers, REPEATABLE READ and READ ONLY for readers.
Errors of both leave out the values of the statement: they hold secrets, and errors are logged.
"""

from __future__ import annotations

from typing import Protocol, cast

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["Insert", "create_reader", "create_writer", "insert_for"]

BUSY_TIMEOUT_MS = 30_000
POOL_SIZE = 5

Insert = sqlite.Insert | postgresql.Insert
"""Both know `on_conflict_do_nothing`, `on_conflict_do_update` and `returning`."""


class _SqliteConnection(Protocol):
    isolation_level: str | None


def create_writer(url: str | URL) -> AsyncEngine:
    """The engine whose transactions may write, from their first statement on."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, begin="BEGIN IMMEDIATE", read_only=False)
    return create_async_engine(parsed, pool_size=POOL_SIZE, pool_pre_ping=True, hide_parameters=True)


def create_reader(url: str | URL, writer: AsyncEngine) -> AsyncEngine:
    """The engine whose transactions see one snapshot and cannot write.

    On SQLite it has a pool of its own, so that readers need not queue behind writers who wait for each other.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, begin="BEGIN", read_only=True)
    return writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def insert_for(session: AsyncSession, table: type) -> Insert:
    """An INSERT of the session's own database, which can say what a conflict does.

    Raises:
        NotImplementedError: The database is neither SQLite nor PostgreSQL.
    """
    name = session.get_bind().dialect.name
    if name == "sqlite":
        return sqlite.insert(table)
    if name == "postgresql":
        return postgresql.insert(table)
    raise NotImplementedError(f"the server knows SQLite and PostgreSQL, not {name}")


def _sqlite_engine(url: URL, *, begin: str, read_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=BUSY_TIMEOUT_MS / 1_000, hide_parameters=True
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver must not begin transactions of its own accord: the listener below does.
        cast("_SqliteConnection", connection).isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
