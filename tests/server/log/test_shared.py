"""Reads that are shared: as few as can be, and none that is too old for whoever asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from playcall.models import Cursor
from playcall.server.log import LogSlice, NewEvent, SharedReads, TopicEntry, shared
from playcall.server.log.read import read_log
from playcall.server.store.database import Database

TOPIC = "run:1"


async def append(database: Database, owner: str, count: int = 1) -> None:
    async with database.write() as tx:
        for _ in range(count):
            tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=(TopicEntry(TOPIC),)))


async def seqs(database: Database, owner: str, after: int = 0, *, limit: int = 100) -> list[int]:
    cursor = Cursor(await database.meta("epoch"), after)
    found = await database.log_reads.read(owner, TOPIC, cursor, limit=limit)
    assert isinstance(found, LogSlice)
    return [stored.seq for stored in found.events]


def counted(engine: AsyncEngine) -> list[str]:
    """The statements that read events, from now on."""
    seen: list[str] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "events" in statement:
            seen.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    return seen


class Held:
    """`read_log` that keeps what it has read until it is let go."""

    def __init__(self) -> None:
        self.has_read = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, session: AsyncSession, *place: Any, limit: int) -> Any:
        found = await read_log(session, *place, limit=limit)
        self.has_read.set()
        await self.go.wait()
        return found


async def test_all_who_ask_at_the_same_moment_for_the_same_share_one_read(database: Database, owner: str) -> None:
    await append(database, owner, 5)
    cursor = Cursor(await database.meta("epoch"), 0)
    seen = counted(database.reader)
    found = await asyncio.gather(
        *(database.log_reads.read(owner, TOPIC, cursor, limit=100) for _ in range(50)),
        database.log_reads.read(owner, TOPIC, cursor, limit=2),
        database.log_reads.read(owner, TOPIC, Cursor(cursor.epoch, 3), limit=100),
        database.log_reads.read("usr_other", TOPIC, cursor, limit=100),
    )
    assert len(seen) == 4
    assert [len(each.events) if isinstance(each, LogSlice) else each for each in found] == [5] * 50 + [2, 2, None]


async def test_a_read_that_has_begun_is_not_joined_by_who_may_know_of_more(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database, owner)
    monkeypatch.setattr(shared, "read_log", held := Held())
    early = asyncio.create_task(seqs(database, owner))
    await held.has_read.wait()
    held.has_read.clear()
    await append(database, owner)
    late = asyncio.create_task(seqs(database, owner))
    await asyncio.wait_for(held.has_read.wait(), 5)
    held.go.set()
    assert await early == [1]
    assert await late == [1, 2]


async def test_a_read_that_waits_for_a_connection_is_joined_until_it_has_one(database: Database, owner: str) -> None:
    await append(database, owner)
    is_there, asked = asyncio.Event(), asyncio.Event()

    class Late(AsyncSession):
        async def connection(self, *args: Any, **options: Any) -> Any:
            asked.set()
            await is_there.wait()
            return await super().connection(*args, **options)

    reads = SharedReads(lambda: Late(database.reader, expire_on_commit=False))
    cursor = Cursor(await database.meta("epoch"), 0)
    seen = counted(database.reader)
    first = asyncio.create_task(reads.read(owner, TOPIC, cursor, limit=100))
    await asked.wait()
    await append(database, owner)
    second = asyncio.create_task(reads.read(owner, TOPIC, cursor, limit=100))
    await asyncio.sleep(0)
    is_there.set()
    found = await asyncio.gather(first, second)
    assert [len(each.events) for each in found if isinstance(each, LogSlice)] == [2, 2]
    assert len(seen) == 1


async def test_who_goes_away_takes_the_read_from_nobody(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database, owner)
    monkeypatch.setattr(shared, "read_log", held := Held())
    cursor = Cursor(await database.meta("epoch"), 0)
    first, second = (asyncio.create_task(database.log_reads.read(owner, TOPIC, cursor, limit=100)) for _ in range(2))
    await held.has_read.wait()
    first.cancel()
    held.go.set()
    found = await second
    assert isinstance(found, LogSlice)
    assert len(found.events) == 1
    assert first.cancelled()


async def test_a_read_that_fails_is_told_to_all_who_share_it_and_to_nobody_after_them(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database, owner)
    cursor = Cursor(await database.meta("epoch"), 0)

    async def fails(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT", None, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(shared, "read_log", fails)
        told = await asyncio.gather(
            *(database.log_reads.read(owner, TOPIC, cursor, limit=100) for _ in range(3)), return_exceptions=True
        )
    assert [type(each) for each in told] == [OperationalError] * 3
    assert await seqs(database, owner) == [1]


async def test_a_database_that_is_closed_lets_reads_under_way_end(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database, owner)
    monkeypatch.setattr(shared, "read_log", held := Held())
    cursor = Cursor(await database.meta("epoch"), 0)
    asking = asyncio.create_task(database.log_reads.read(owner, TOPIC, cursor, limit=100))
    await held.has_read.wait()
    closing = asyncio.create_task(database.close())
    asking.cancel()
    await asyncio.sleep(0)
    assert not closing.done()
    held.go.set()
    await closing
    assert asking.cancelled()
