"""The database: how it is opened, and the two kinds of transaction.

A read is one snapshot. A write collects its events and appends them as its last act before the commit; those who wait
are woken only after it. So there is no event without its change, and no change without its event.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from playcall.server.log.append import Outbox
from playcall.server.log.events import NewEvent
from playcall.server.log.wake import Wakes

from .dialect import create_reader, create_writer, insert_for
from .migrate import upgrade
from .tables import EPOCH, SIGNING_KEY, MetaRow

__all__ = ["Database", "Transaction"]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A write under way."""

    session: AsyncSession
    outbox: Outbox

    def emit(self, event: NewEvent) -> None:
        """The event is appended when the transaction commits (see `Outbox.emit` for what is refused)."""
        self.outbox.emit(event)


class Database:
    """Made by `create`; `engine` is the one that writes, `url` what others (DBOS) open the same database by."""

    def __init__(self, url: str, engine: AsyncEngine, reader: AsyncEngine) -> None:
        self.url = url
        self.engine = engine
        self.reader = reader
        self.wakes = Wakes()

    @classmethod
    def at(cls, url: str) -> Database:
        """Not opened: no file is touched before it is used."""
        writer = create_writer(url)
        return cls(url, writer, create_reader(url, writer))

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
        await self.reader.dispose()
        await self.engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """One snapshot: whatever is read in here was true at the same moment. Rows stay readable afterwards."""
        async with AsyncSession(self.reader, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[Transaction]:
        """Commits on leaving, events included; an exception takes everything back.

        On SQLite writers take turns from the first statement on. Keep it short: no tool, no network, no sleep in here.
        """
        outbox = self.outbox()
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            async with session.begin():
                yield Transaction(session, outbox)
                await outbox.flush(session)
            outbox.wake()

    def outbox(self) -> Outbox:
        """For a transaction that is committed elsewhere: `emit`, `await flush(session)`, commit, `wake`."""
        return Outbox(self.wakes)

    async def meta(self, key: str) -> str:
        async with self.read() as session:
            return (await session.execute(select(MetaRow.value).where(MetaRow.key == key))).scalar_one()
