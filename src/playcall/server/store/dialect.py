"""Everything in which SQLite and PostgreSQL differ, in one place.

SQLite: WAL, and transactions that say what they are when they begin. A writer says BEGIN IMMEDIATE, because a deferred
transaction that reads and then writes fails as "database is locked" whatever the busy timeout. A reader says BEGIN,
because without it each SELECT is a snapshot of its own.
PostgreSQL: READ COMMITTED for writers, REPEATABLE READ and READ ONLY for readers, and limits that the database keeps: a
process that stopped in the middle of a transaction must not hold its locks, and everybody with them.
What cannot be done now is raised as OperationalError by both: a database that is gone, busy, full, or must not be written.
Errors of both leave out the values of the statement: they hold secrets, and errors are logged.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Protocol, cast

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = [
    "CONNECT_ERRORS",
    "LOCK_SECONDS",
    "Insert",
    "connect",
    "create_lone",
    "create_reader",
    "create_writer",
    "insert_for",
    "is_lock_timeout",
    "is_lost",
    "limit_lock_waits",
]

BUSY_TIMEOUT_MS: Final = 30_000
POOL_SIZE: Final = 5
OVERFLOW: Final = 5
"""Connections beyond the pool's, while it is busy. More writers would only wait for each other's locks."""
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 30
IDLE_SECONDS: Final = 10
"""How long a transaction may do nothing: its process has stopped, or its machine is gone."""
_LIMITS: Final = {
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
}
_UNAVAILABLE: Final = ("08", "40", "53", "55", "57", "58", "25006", "25P03")
"""Beginnings of SQLSTATE: lost connections, transactions that lost to others, too little of something, locks, shutdowns,
disks; a database that may only be read; a transaction that was idle for too long.
"""
_GONE: Final = ("08", "57P")
_LOCK_TIMEOUT: Final = "55P03"
CONNECT_ERRORS: tuple[type[Exception], ...] = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What `connect` raises of a PostgreSQL that cannot be reached, or does not let us in; the engines raise OperationalError."""

Insert = sqlite.Insert | postgresql.Insert
"""Both know `on_conflict_do_nothing`, `on_conflict_do_update` and `returning`."""


_driver: Any = asyncpg
"""It has no types."""


class _SqliteConnection(Protocol):
    isolation_level: str | None


class _AsyncpgConnection(Protocol):
    def is_closed(self) -> bool: ...


def create_writer(url: str | URL) -> AsyncEngine:
    """The engine whose transactions may write, from their first statement on."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, begin="BEGIN IMMEDIATE", read_only=False)
    return _postgresql_engine(parsed)


def create_reader(url: str | URL) -> AsyncEngine:
    """The engine whose transactions see one snapshot and cannot write.

    It has a pool of its own, so that readers need not queue behind writers who wait for each other.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, begin="BEGIN", read_only=True)
    return _postgresql_engine(parsed).execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def create_lone(url: str | URL) -> AsyncEngine:
    """An engine of one connection to PostgreSQL, whose transactions may write: for what must not wait for a pool."""
    return _postgresql_engine(make_url(url), size=1, overflow=0)


async def connect(url: URL) -> Any:
    """A connection of the driver's own, to PostgreSQL; whoever takes it closes it.

    The driver reads the address itself: SQLAlchemy would hand it parameters, such as `sslmode`, by names it does not take.

    Raises:
        Exception: One of `CONNECT_ERRORS`.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return await _driver.connect(dsn, timeout=CONNECT_SECONDS, server_settings=_LIMITS)


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


async def limit_lock_waits(session: AsyncSession, seconds: float) -> None:
    """For this transaction, on PostgreSQL, if it is less than anybody waits anyhow."""
    if seconds < LOCK_SECONDS:
        # 0 would be no limit.
        limit = {"limit": str(max(1, int(seconds * 1_000)))}
        await session.execute(text("SELECT set_config('lock_timeout', :limit, true)"), limit)


def is_lost(error: Exception) -> bool:
    """Whether PostgreSQL was not there, or went away in the middle; not when it is there, and full or read-only."""
    if not isinstance(error, DBAPIError):
        return False
    original = error.orig
    is_unreached = original is not None and isinstance(original.__cause__, OSError)
    return error.connection_invalidated or is_unreached or str(getattr(original, "sqlstate", "")).startswith(_GONE)


def is_lock_timeout(error: DBAPIError) -> bool:
    """Whether others held a lock for too long."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_TIMEOUT


def _postgresql_engine(url: URL, *, size: int = POOL_SIZE, overflow: int = OVERFLOW) -> AsyncEngine:
    engine = create_async_engine(
        url,
        async_creator=partial(_connect, url),
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=BUSY_TIMEOUT_MS / 1_000,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def _on_checkout(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        # The loop has been told when the other side closed it. Asking, as `pool_pre_ping` does, costs three ways there
        # and back at each transaction.
        if cast("_AsyncpgConnection", connection.driver_connection).is_closed():
            raise DisconnectionError("the database has closed it")

    @event.listens_for(engine.sync_engine, "handle_error")
    def _on_error(context: ExceptionContext) -> BaseException | None:
        original = context.original_exception
        if not isinstance(original, Exception):
            return None  # a task that is cancelled stays cancelled
        is_gone = context.is_disconnect or isinstance(original, OSError)
        if not is_gone and not str(getattr(original, "sqlstate", "")).startswith(_UNAVAILABLE):
            return None
        context.is_disconnect = is_gone
        return OperationalError(
            context.statement,
            None,
            original,
            hide_parameters=True,
            connection_invalidated=is_gone,
        )

    return engine


async def _connect(url: URL) -> Any:
    """As `connect`, for SQLAlchemy: what it cannot tell from a mistake of ours is said in its own words."""
    try:
        return await connect(url)
    except CONNECT_ERRORS as error:
        message = str(error) or "it does not answer"
        raise AsyncAdapt_asyncpg_dbapi.OperationalError(message, error) from error  # type: ignore[no-untyped-call]


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
