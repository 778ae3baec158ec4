"""Which processes are alive: each moves a count in the database, and watches that the others' move.

A process whose count stood still for a whole lease, seen by another that looked in good time again and again, is taken
for dead. Nobody's clock is compared with anybody's, so a clock that jumps kills nobody; and looks that the database did
not answer do not count, so an outage kills nobody either. A process that was only stopped is safe to be taken for dead:
what it goes on with has been given to another segment, and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import delete, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ..clock import utc_now
from ..ids import new_id
from ..store.database import Database
from ..store.dialect import create_lone, insert_for
from ..store.tables import ProcessRow

__all__ = ["LOOKS_IN_A_LEASE", "Look", "Peers", "Processes"]

LOOKS_IN_A_LEASE = 5


class Peers:
    """What was seen of the others' counts; pure."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        """The count, and in how many looks it has stood still."""

    def look(self, counts: Mapping[str, int]) -> frozenset[str]:
        """Those that are dead, by the counts as they are now."""
        seen: dict[str, tuple[int, int]] = {}
        for peer, count in counts.items():
            before, still = self._seen.get(peer, (None, 0))
            seen[peer] = (count, still + 1 if count == before else 0)
        self._seen = seen
        return frozenset(peer for peer, (_, still) in seen.items() if still >= LOOKS_IN_A_LEASE)


@dataclass(frozen=True, slots=True)
class Look:
    """`dead`: with the counts at which they stood still."""

    living: frozenset[str]
    dead: Mapping[str, int]


class Processes:
    """This process among the others.

    `alone`: the database is this process's own (a file that it has locked), so whoever else is written down is dead,
    and nobody needs to see that this one is alive. Otherwise it has a connection of its own, until `close`: one that
    waited behind busy requests for its turn would be taken for dead, and its work be done twice.
    """

    def __init__(
        self, database: Database, *, alone: bool, lease_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.id = new_id("prc")
        self.alone = alone
        self.look_seconds = lease_seconds / LOOKS_IN_A_LEASE
        self._database = database
        self._lease_seconds = lease_seconds
        self._now = now
        self._peers = Peers()
        self._seen_at = now()
        self._engine = database.engine if alone else create_lone(database.url)

    @property
    def is_surely_alive(self) -> bool:
        """Whether nobody can have taken this process for dead: it was seen in less than a lease."""
        return self.alone or self._now() - self._seen_at < self._lease_seconds

    async def enter(self) -> None:
        """Say that this one is alive: before it takes any work, and again and again.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: The database does not answer.
        """
        began = self._now()
        async with self._transaction() as session:
            await session.execute(
                insert_for(session, ProcessRow)
                .values(id=self.id, place=f"{platform.node()}, pid {os.getpid()}", started_at=utc_now(), beats=1)
                .on_conflict_do_update(index_elements=[ProcessRow.id], set_={"beats": ProcessRow.beats + 1})
            )
        self._seen_at = began

    async def keep_entering(self) -> None:
        """For ever, and beside everything else: who takes over much, or waits for a lock, is not dead."""
        while True:
            await asyncio.sleep(self.look_seconds)
            with contextlib.suppress(SQLAlchemyError, OSError):  # the looks fail too, and tell
                await self.enter()

    async def look(self) -> Look:
        """Be seen, and see who else is.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: The database does not answer; the look does not count.
        """
        if not self.alone:
            await self.enter()
        counts = await self.others()
        dead = frozenset(counts) if self.alone else self._peers.look(counts)
        return Look(frozenset({self.id, *counts}) - dead, {peer: counts[peer] for peer in dead})

    async def others(self) -> Mapping[str, int]:
        """Who is written down now, this one left out, and their counts.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: The database does not answer.
        """
        async with self._database.read() if self.alone else self._transaction() as session:
            rows = await session.execute(select(ProcessRow.id, ProcessRow.beats).where(ProcessRow.id != self.id))
            return {row.id: row.beats for row in rows}

    async def forget(self, dead: Mapping[str, int]) -> None:
        """These have been dealt with. One that has moved since was only stopped: it stays."""
        if dead:
            async with self._database.write() as tx:
                stood = tuple_(ProcessRow.id, ProcessRow.beats).in_(list(dead.items()))
                await tx.session.execute(delete(ProcessRow).where(stood))

    async def leave(self) -> None:
        """This one ends in good order: what it leaves is nobody's fault."""
        async with self._database.write() as tx:
            await tx.session.execute(delete(ProcessRow).where(ProcessRow.id == self.id))

    async def close(self) -> None:
        """Gives its connection back; whatever is asked of it later opens another."""
        if not self.alone:
            await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[AsyncSession]:
        if self.alone:
            async with self._database.write() as tx:
                yield tx.session
        else:
            async with AsyncSession(self._engine) as session, session.begin():
                yield session
