"""The database: how it is opened, and the two kinds of transaction.

A read is one snapshot. A write collects its events and appends them as its last act before the commit; those who wait
are woken only after it. So there is no event without its change, and no change without its event.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from playcall.server.log.append import Outbox
from playcall.server.log.events import NewEvent
from playcall.server.log.shared import SharedReads
from playcall.server.log.wake import Wakes, key_of_word
from playcall.server.telemetry import metrics

from .dialect import LOCK_SECONDS, create_reader, create_writer, insert_for, is_lock_timeout, limit_lock_waits
from .migrate import upgrade
from .signals import Signals
from .tables import EPOCH, SIGNING_KEY, MetaRow

__all__ = ["Database", "NoTurnError", "Transaction"]


class NoTurnError(Exception):
    """Too many others write at the same time; nothing has been changed."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A write under way."""

    session: AsyncSession
    outbox: Outbox
    _undone_by: list[Callable[[], Awaitable[object]]] = field(default_factory=list[Callable[[], Awaitable[object]]])

    def emit(self, event: NewEvent) -> None:
        """The event is appended when the transaction commits (see `Outbox.emit` for what is refused)."""
        self.outbox.emit(event)

    def if_it_fails(self, undo: Callable[[], Awaitable[object]]) -> None:
        """`undo` is awaited if this is not committed, before anybody else may write: for what is not the database's."""
        self._undone_by.append(undo)

    async def undo(self) -> None:
        """The last first. What one of them raises keeps the others from nothing, and is raised in the end."""
        async with AsyncExitStack() as stack:
            for undo in self._undone_by:
                stack.push_async_callback(undo)


class Database:
    """Made by `create`; `engine` is the one that writes, `url` what others (DBOS) open the same database by."""

    def __init__(self, url: str, engine: AsyncEngine, reader: AsyncEngine) -> None:
        self.url = url
        self.engine = engine
        self.reader = reader
        self.wakes = Wakes()
        self.log_reads = SharedReads(self.read)
        self.signals = Signals(url)
        self.signals.on("topic", self._wake_topic)
        self.signals.on_missed(self.wakes.wake_all)
        self.writes = 0
        """Moves with every turn, once it is over: whoever saw it before knows that something may have been written."""
        self._turns = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    def at(cls, url: str) -> Database:
        """Not opened: no file is touched before it is used."""
        return cls(url, create_writer(url), create_reader(url))

    @classmethod
    async def create(cls, url: str) -> Database:
        """Open the database, bring its tables up to date, and give it an epoch if it is new.

        Raises:
            sqlalchemy.exc.DBAPIError: It cannot be opened or written.
            SchemaTooNewError: A later playcall has written it.
        """
        database = cls.at(url)
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(upgrade)
            async with database.write() as tx:
                for key in (EPOCH, SIGNING_KEY):
                    statement = insert_for(tx.session, MetaRow).values(
                        key=key, value=secrets.token_hex(8 if key == EPOCH else 32)
                    )
                    await tx.session.execute(statement.on_conflict_do_nothing())
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        await self.log_reads.settle()
        await self.reader.dispose()
        await self.engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """One snapshot: whatever is read in here was true at the same moment. Rows stay readable afterwards."""
        async with AsyncSession(self.reader, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self, *, wait_seconds: float | None = None) -> AsyncGenerator[Transaction]:
        """Commits on leaving, events included; an exception takes everything back.

        On SQLite writers take turns; on PostgreSQL they wait for each other's locks. Keep it short: no tool, no network,
        no sleep in here.

        Args:
            wait_seconds: How long to wait for others; None for as long as anybody does.

        Raises:
            NoTurnError: It did not come in that time.
        """
        outbox = self.outbox()
        async with self.turn(wait_seconds=wait_seconds), AsyncSession(self.engine, expire_on_commit=False) as session:
            transaction = Transaction(session, outbox)
            try:
                with self._no_turn(wait_seconds):
                    if self._turns is None and wait_seconds is not None:
                        await _begin_in(session, wait_seconds)
                    yield transaction
                    await outbox.flush(session)
                await session.commit()
            except BaseException:
                await transaction.undo()
                raise  # leaving the session rolls it back
            outbox.wake()

    @staticmethod
    @contextmanager
    def _no_turn(wait_seconds: float | None) -> Generator[None]:
        """A lock that did not come in the caller's own time is a turn that did not come."""
        try:
            yield
        except DBAPIError as error:
            if wait_seconds is not None and wait_seconds < LOCK_SECONDS and is_lock_timeout(error):
                raise NoTurnError("other writers were first for too long") from None
            raise

    @asynccontextmanager
    async def turn(self, *, wait_seconds: float | None = None) -> AsyncGenerator[None]:
        """A writer's turn, for a transaction that is begun and committed elsewhere (see `write`).

        First come, first served: SQLite's own waiters poll, so that under load some never get a look in, and each holds
        a connection meanwhile. PostgreSQL's writers need no turns.

        Raises:
            NoTurnError: It did not come in `wait_seconds`.
        """
        if self._turns is None:
            try:
                yield
            finally:
                self.writes += 1
            return
        try:
            with metrics.TURN_SECONDS.timed():
                async with asyncio.timeout(wait_seconds):
                    await self._turns.acquire()
        except TimeoutError:
            raise NoTurnError("other writers were first for too long") from None
        try:
            yield
        finally:
            self.writes += 1
            self._turns.release()

    def outbox(self) -> Outbox:
        """For a transaction that is committed elsewhere: `emit`, `await flush(session)`, commit, `wake`."""
        return Outbox(self.wakes, self.signals)

    async def meta(self, key: str) -> str:
        async with self.read() as session:
            return (await session.execute(select(MetaRow.value).where(MetaRow.key == key))).scalar_one()

    def _wake_topic(self, topic: str) -> None:
        metrics.WAKES.add("signal")
        self.wakes.wake(*key_of_word(topic))


async def _begin_in(session: AsyncSession, wait_seconds: float) -> None:
    """Take a connection of the pool, and wait for no lock longer than that either.

    Raises:
        NoTurnError: Others kept all connections.
    """
    try:
        async with asyncio.timeout(wait_seconds):
            await session.connection()
    except TimeoutError:
        raise NoTurnError("other writers were first for too long") from None
    await limit_lock_waits(session, wait_seconds)
