"""What is old enough goes, the floor says so, and whoever was not there yet is told."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from playcall.models import Cursor
from playcall.server.log import LogGap, LogSlice, NewEvent, TopicEntry, expire_events, read_log, read_topic, retention
from playcall.server.store.database import Database
from playcall.server.store.tables import EventRow, TopicRow

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def hour(n: float) -> datetime:
    return BEGIN + timedelta(hours=n)


async def append(database: Database, owner: str, topic: str | TopicEntry, *hours: float) -> None:
    entry = TopicEntry(topic) if isinstance(topic, str) else topic
    async with database.write() as tx:
        for n in hours:
            tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=(entry,), time=hour(n)))


async def read(database: Database, owner: str, topic: str, seq: int) -> LogSlice | LogGap | None:
    async with database.read() as session:
        state = await read_topic(session, owner, topic)
        assert state is not None
        return await read_log(session, owner, topic, Cursor(state.epoch, seq), limit=10_000)


async def seqs(database: Database, owner: str, topic: str) -> list[int]:
    async with database.read() as session:
        state = await read_topic(session, owner, topic)
    assert state is not None
    found = await read(database, owner, topic, state.floor - 1)
    assert isinstance(found, LogSlice)
    return [event.seq for event in found.events]


async def test_what_is_older_goes_and_the_floor_says_so(database: Database, owner: str) -> None:
    await append(database, owner, "run:1", 1, 2, 3, 4)
    await append(database, owner, "runs", 3, 5)
    assert await expire_events(database, before=hour(3)) == 2
    assert await seqs(database, owner, "run:1") == [3, 4]
    assert await seqs(database, owner, "runs") == [1, 2]
    found = await read(database, owner, "run:1", 1)
    assert isinstance(found, LogGap)
    assert (found.reason, found.state.floor) == ("expired", 3)
    assert isinstance(await read(database, owner, "run:1", 2), LogSlice)


async def test_a_log_that_is_empty_goes_on_where_it_was(database: Database, owner: str) -> None:
    await append(database, owner, "run:1", 1, 2)
    assert await expire_events(database, before=hour(9)) == 2
    assert await expire_events(database, before=hour(9)) == 0
    assert await seqs(database, owner, "run:1") == []
    await append(database, owner, "run:1", 10)
    assert await seqs(database, owner, "run:1") == [3]


async def test_a_topic_that_has_ended_is_still_there_for_old_cursors(database: Database, owner: str) -> None:
    await append(database, owner, "run:1", 1)
    await append(database, owner, TopicEntry("run:1", ends="finished"), 2)
    await expire_events(database, before=hour(9))
    found = await read(database, owner, "run:1", 2)
    assert isinstance(found, LogSlice)
    assert (found.events, found.state.ended) == ((), "finished")
    assert isinstance(await read(database, owner, "run:1", 1), LogGap)


async def test_no_hole_is_left_where_a_clock_went_back(database: Database, owner: str) -> None:
    await append(database, owner, "run:1", 1, 9, 2, 3)
    await expire_events(database, before=hour(5))
    assert await seqs(database, owner, "run:1") == [2, 3, 4]


async def test_many_topics_and_many_events_go_in_small_transactions(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_EVENTS", 7)
    monkeypatch.setattr(retention, "BATCH_TOPICS", 3)
    for n in range(10):
        await append(database, owner, f"run:{n}", *range(n * 2), 90)
    transactions = 0
    write = database.write

    def counting() -> object:
        nonlocal transactions
        transactions += 1
        return write()

    monkeypatch.setattr(database, "write", counting)
    assert await expire_events(database, before=hour(80)) == 90
    assert 90 / 7 <= transactions <= 30
    for n in range(10):
        assert await seqs(database, owner, f"run:{n}") == [n * 2 + 1]
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(EventRow)) == 10


async def test_what_is_left_is_a_suffix_that_begins_with_something_young(database: Database, owner: str) -> None:
    chance = random.Random(7)
    for n in range(60):
        ages = [chance.randrange(20) for _ in range(chance.randrange(25))]
        topic = f"run:{n}"
        await append(database, owner, topic, 0, *ages)
        before = chance.randrange(1, 21)
        await expire_events(database, before=hour(before))
        left = await seqs(database, owner, topic)
        assert left == list(range(len(ages) + 2 - len(left), len(ages) + 2))
        gone = ages[: len(ages) - len(left)]
        assert all(age < before for age in gone), (ages, before, left)
        assert not left or ages[left[0] - 2] >= before, (ages, before, left)


async def test_what_expires_while_others_append_leaves_no_hole_and_nobody_waits_for_ever(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes append to the same topics, in any order, and two of them expire meanwhile."""
    monkeypatch.setattr(retention, "BATCH_EVENTS", 7)
    monkeypatch.setattr(retention, "BATCH_TOPICS", 3)
    processes = [database, Database.at(database.url), Database.at(database.url)]
    chance = random.Random(5)
    topics = [f"run:{n}" for n in range(6)]
    appended = dict.fromkeys(topics, 0)
    left = 8
    dropped = 0

    async def appending(process: Database) -> None:
        nonlocal left
        for n in range(25):
            some = chance.sample(topics, 4)
            async with process.write() as tx:
                entries = tuple(TopicEntry(topic) for topic in some)
                tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=entries, time=hour(n)))
            for topic in some:
                appended[topic] += 1
        left -= 1

    async def expiring(process: Database) -> None:
        nonlocal dropped
        before = 0.0
        while left:
            before = min(before + 0.5, 20)
            some = await expire_events(process, before=hour(before))
            dropped += some
            await asyncio.sleep(0)

    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for n in range(left):
                tasks.create_task(appending(processes[n % 3]))
            tasks.create_task(expiring(processes[0]))
            tasks.create_task(expiring(processes[1]))
    finally:
        for process in processes[1:]:
            await process.close()
    dropped += await expire_events(database, before=hour(20))
    for topic, count in appended.items():
        found = await seqs(database, owner, topic)
        assert found == list(range(count - len(found) + 1, count + 1))
        assert len(found) < count
    async with database.read() as session:
        floors = {row.id: row.floor for row in await session.execute(select(TopicRow.id, TopicRow.floor))}
        lowest = select(EventRow.topic_id, func.min(EventRow.seq).label("seq")).group_by(EventRow.topic_id)
        assert {row.topic_id: row.seq for row in await session.execute(lowest)} == floors, (
            "nothing is kept below a floor"
        )
        kept = await session.scalar(select(func.count()).select_from(EventRow))
    assert dropped == sum(appended.values()) - (kept or 0), "each was dropped by one of them"
