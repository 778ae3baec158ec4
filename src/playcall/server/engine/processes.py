"""Which processes are alive: each moves a count in the database, and watches that the others' move.

A process whose count stood still for a whole lease, seen by another that looked in good time again and again, is taken
for dead. Nobody's clock is compared with anybody's, so a clock that jumps kills nobody; and looks that the database did
not answer do not count, so an outage kills nobody either. A process that was only stopped is safe to be taken for dead:
what it goes on with has been given to another segment, and writes nothing.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select

from ..clock import utc_now
from ..store.database import Database
from ..store.dialect import insert_for
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
    """`was_silent`: others may have taken this process for dead since its last look."""

    living: frozenset[str]
    dead: frozenset[str]
    was_silent: bool


class Processes:
    """This process among the others.

    `alone`: the database is this process's own (a file that it has locked), so whoever else is written down is dead,
    and nobody needs to see that this one is alive.
    """

    def __init__(
        self, database: Database, *, alone: bool, lease_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.id = f"prc_{secrets.token_hex(12)}"
        self.alone = alone
        self.look_seconds = lease_seconds / LOOKS_IN_A_LEASE
        self._database = database
        self._lease_seconds = lease_seconds
        self._now = now
        self._peers = Peers()
        self._looked_at = now()

    @property
    def is_surely_alive(self) -> bool:
        """Whether nobody can have taken this process for dead: it was seen in less than a lease."""
        return self.alone or self._now() - self._looked_at < self._lease_seconds

    async def enter(self) -> None:
        """Say that this one is alive: before it takes any work, and again and again.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: The database does not answer.
        """
        async with self._database.write() as tx:
            await tx.session.execute(
                insert_for(tx.session, ProcessRow)
                .values(id=self.id, place=f"{platform.node()}, pid {os.getpid()}", started_at=utc_now(), beats=1)
                .on_conflict_do_update(index_elements=[ProcessRow.id], set_={"beats": ProcessRow.beats + 1})
            )

    async def look(self) -> Look:
        """Be seen, and see who else is.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: The database does not answer; the look does not count.
        """
        began = self._now()
        if not self.alone:
            await self.enter()
        async with self._database.read() as session:
            rows = await session.execute(select(ProcessRow.id, ProcessRow.beats).where(ProcessRow.id != self.id))
            counts = {row.id: row.beats for row in rows}
        was_silent = not self.is_surely_alive
        self._looked_at = began
        dead = frozenset(counts) if self.alone else self._peers.look(counts)
        return Look(frozenset({self.id, *counts}) - dead, dead, was_silent)

    async def forget(self, ids: Iterable[str]) -> None:
        """These have been dealt with."""
        if gone := list(ids):
            async with self._database.write() as tx:
                await tx.session.execute(delete(ProcessRow).where(ProcessRow.id.in_(gone)))

    async def leave(self) -> None:
        """This one ends in good order: what it leaves is nobody's fault."""
        await self.forget([self.id])
