"""Tells a database that was put back from a copy, and gives its logs a new epoch.

What was appended after the copy was made is gone, and its seqs will be given to other events: a client's cursor of before
would go on in the wrong place. So a count that only grows is kept in the database and in a witness beside it, and moves
when the server starts, while it writes, and when it ends: a database that is behind its witness was put back.

Several processes on one database move one count, and share the witness, which each writes after its own moves: it may go
back by a few then, and is never ahead. Only starts look at it, one at a time: so no start takes another's new epoch for
a reason for its own.

The database is written first. So a crash between the two leaves the witness behind, which says nothing; the other order
would take every such crash for a copy. A new epoch that the witness has not heard of has been told to nobody, and is
followed by another.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, String, cast, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.server.store.database import Database
from playcall.server.store.dialect import insert_for
from playcall.server.store.tables.accounts import UserRow
from playcall.server.store.tables.meta import EPOCH, MARK, MetaRow

__all__ = ["Incarnation", "Mark", "read_witness", "why_another", "witnessed"]

logger = logging.getLogger("playcall.server")

WITNESS_SECONDS: Final = 1.0
"""How often the count moves while the server writes. A copy that is younger than its last move is not told from what it
was copied from; there the event ids in the clients' cursors find out."""

START_SECONDS: Final = 30.0
"""How long one start waits for another of the same folder, which takes milliseconds."""

_WITNESS: Final = re.compile(r"([!-~]{1,100}) ([0-9]{1,15})\n")


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an incarnation has come; `count` 0 is a database from before there were witnesses."""

    epoch: str
    count: int


def why_another(found: Mark, seen: Mark | None) -> str | None:
    """Why a used database needs another epoch, None if it does not; `seen` is what the witness says."""
    if seen is None:
        return "nothing beside the database tells that it has always been here"
    if found.epoch != seen.epoch:
        return "another database was used here last"
    if found.count < seen.count:
        return "the database is older than when it was used here last"
    return None


def read_witness(path: Path) -> Mark | None:
    """None if there is none, or it is not one: then nothing can be said for the database.

    Raises:
        OSError: It is there and cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    match = _WITNESS.fullmatch(content.decode("ascii", errors="replace"))
    return None if match is None else Mark(match[1], int(match[2]))


def write_witness(path: Path, mark: Mark, *, durably: bool) -> None:
    """Whole or not at all; `durably` outlives a power cut as well.

    Raises:
        OSError: It stays as it was.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")  # several processes may be at it
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{mark.epoch} {mark.count}\n")
            if durably:
                stream.flush()
                os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durably:
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Incarnation:
    """Made by `begin`; `move` is called now and then, and at the end."""

    def __init__(self, database: Database, witness: Path, mark: Mark, *, covered: int) -> None:
        self.mark = mark
        self._database = database
        self._witness = witness
        self._covered = covered
        """The writes (`Database.writes`) that the database's count stands for."""
        self._is_told = True
        """Whether the witness has the count too."""

    @classmethod
    async def begin(cls, database: Database, witness: Path, *, new_epoch: bool = False) -> Incarnation:
        """Before anybody is served.

        Args:
            new_epoch: Take another epoch whatever the witness says: it cannot tell when it was put back as well.

        Raises:
            OSError: The witness can be read or written by nobody.
            TimeoutError: Another start has not come to its end.
            sqlalchemy.exc.DBAPIError: The database cannot be written.
        """
        async with _one_start_at_a_time(witness):
            seen = await asyncio.to_thread(read_witness, witness)
            async with database.write() as tx:
                found = await _mark_of(tx.session)
                # A database without users has been shown to nobody: its epoch is as good as new.
                is_used = (await tx.session.execute(select(UserRow.id).limit(1))).first() is not None
                reason = "it was asked for" if new_epoch else why_another(found, seen)
                epoch = secrets.token_hex(8) if is_used and reason else found.epoch
                if epoch != found.epoch:
                    await _set(tx.session, EPOCH, epoch)
                behind = 0 if seen is None else max(0, seen.count - found.count)
                mark = Mark(epoch, await _count_on(tx.session, behind + 1))
                covered = database.writes + 1
            await asyncio.to_thread(write_witness, witness, mark, durably=True)
        if epoch != found.epoch:
            logger.warning("new_epoch (%s)", reason, extra={"reason": reason, "epoch": epoch, "was": found.epoch})
        return cls(database, witness, mark, covered=covered)

    async def move(self, *, durably: bool = False) -> None:
        """Count on, if anything may have been written since the last time.

        Raises:
            OSError: The witness cannot be written; it is tried again with the next call.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be written now.
        """
        if self._database.writes != self._covered:
            async with self._database.write() as tx:
                await _count_on(tx.session, 1)
                mark = await _mark_of(tx.session)
                covered = self._database.writes + 1  # this one; whoever comes after it is not covered
            self.mark, self._covered, self._is_told = mark, covered, False
        if not self._is_told or durably:
            await asyncio.to_thread(write_witness, self._witness, self.mark, durably=durably)
            self._is_told = True


@asynccontextmanager
async def _one_start_at_a_time(witness: Path) -> AsyncGenerator[None]:
    lock = os.open(witness.with_name(f".{witness.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not _has_locked(lock):  # noqa: ASYNC110 - the other is another process
                await asyncio.sleep(0.02)
        yield
    finally:
        os.close(lock)


def _has_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def witnessed(database: Database, witness: Path, *, new_epoch: bool) -> AsyncGenerator[None]:
    """From `begin` (see there for what it raises) to the end of the server."""
    incarnation = await Incarnation.begin(database, witness, new_epoch=new_epoch)
    moving = asyncio.create_task(_keep_moving(incarnation), name="playcall-witness")
    try:
        yield
    finally:
        moving.cancel()
        await asyncio.wait([moving])
        await _move(incarnation, durably=True)


async def _keep_moving(incarnation: Incarnation) -> None:
    while True:
        await asyncio.sleep(WITNESS_SECONDS)
        await _move(incarnation)


async def _move(incarnation: Incarnation, *, durably: bool = False) -> None:
    try:
        await incarnation.move(durably=durably)
    except (OSError, SQLAlchemyError) as error:
        # A witness that lags sees less, and is never wrong.
        logger.warning("witness_not_written", extra={"error": type(error).__name__})


async def _mark_of(session: AsyncSession) -> Mark:
    rows = await session.execute(select(MetaRow.key, MetaRow.value).where(MetaRow.key.in_((EPOCH, MARK))))
    values = {row.key: row.value for row in rows}
    return Mark(values[EPOCH], int(values.get(MARK, "0")))


async def _count_on(session: AsyncSession, step: int) -> int:
    """One statement, so that no move of another process is lost."""
    counted = cast(cast(MetaRow.value, BigInteger) + step, String)
    statement = insert_for(session, MetaRow).values(key=MARK, value=str(step))
    moved = statement.on_conflict_do_update(index_elements=[MetaRow.key], set_={"value": counted})
    return int((await session.execute(moved.returning(MetaRow.value))).scalar_one())


async def _set(session: AsyncSession, key: str, value: str) -> None:
    statement = insert_for(session, MetaRow).values(key=key, value=value)
    await session.execute(statement.on_conflict_do_update(index_elements=[MetaRow.key], set_={"value": value}))
