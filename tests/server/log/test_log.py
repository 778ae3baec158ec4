"""The log: appended with the change or not at all, read without a hole or with a gap."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError

from playcall.models import Cursor
from playcall.server.log import (
    EventTooLargeError,
    LogGap,
    LogSlice,
    NewEvent,
    TopicEndedError,
    TopicEntry,
    TopicState,
    Wakes,
    read_log,
    read_topic,
)
from playcall.server.store.database import Database
from playcall.server.store.tables import EventRow


def event(owner: str, *topics: str | TopicEntry, data: Any = None, type: str = "a") -> NewEvent:
    entries = tuple(TopicEntry(topic) if isinstance(topic, str) else topic for topic in topics)
    return NewEvent(owner_id=owner, type=type, data=data or {}, topics=entries)


async def append(database: Database, *events: NewEvent) -> None:
    async with database.write() as tx:
        for one in events:
            tx.emit(one)


async def state(database: Database, owner: str, topic: str) -> TopicState | None:
    async with database.read() as session:
        return await read_topic(session, owner, topic)


async def read(database: Database, owner: str, topic: str, seq: int, limit: int = 100) -> LogSlice | LogGap | None:
    async with database.read() as session:
        topic_state = await read_topic(session, owner, topic)
        epoch = topic_state.epoch if topic_state else "?"
        return await read_log(session, owner, topic, Cursor(epoch, seq), limit=limit)


async def test_transactions_at_once_give_seqs_without_holes(database: Database, owner: str) -> None:
    await asyncio.gather(*(append(database, event(owner, "run:1", "runs")) for _ in range(20)))
    found = await read(database, owner, "run:1", 0)
    assert isinstance(found, LogSlice)
    assert [stored.seq for stored in found.events] == list(range(1, 21))
    other = await read(database, owner, "runs", 0)
    assert isinstance(other, LogSlice)
    assert {stored.id for stored in other.events} == {stored.id for stored in found.events}


async def test_a_transaction_that_fails_leaves_no_event(database: Database, owner: str) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            tx.emit(event(owner, "run:1"))
            await tx.outbox.flush(tx.session)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    assert await state(database, owner, "run:1") is None


async def test_nothing_follows_a_terminal_event(database: Database, owner: str) -> None:
    end = event(owner, TopicEntry("run:1", ends="finished"), "runs")
    with pytest.raises(TopicEndedError):
        await append(database, end, event(owner, "run:1"))
    assert await state(database, owner, "run:1") is None, "neither of the two was appended"
    await append(database, end)
    with pytest.raises(TopicEndedError):
        await append(database, event(owner, "run:1"))
    found = await read(database, owner, "run:1", 0)
    assert isinstance(found, LogSlice)
    assert (found.state.ended, found.events[-1].terminal) == ("finished", True)
    collection = await read(database, owner, "runs", 0)
    assert isinstance(collection, LogSlice)
    assert not collection.events[0].terminal, "terminal in its own topic only"


async def test_data_is_bounded_and_is_json(database: Database, owner: str) -> None:
    outbox = database.outbox()
    with pytest.raises(EventTooLargeError, match="65,536"):
        outbox.emit(event(owner, "run:1", data={"x": "y" * 65_536}))
    with pytest.raises(EventTooLargeError):
        outbox.emit(event(owner, "run:1", data={"x": "\u00e9" * 40_000}))
    with pytest.raises(ValueError, match="JSON"):
        outbox.emit(event(owner, "run:1", data={"x": float("nan")}))


async def test_a_transaction_that_somebody_else_commits_flushes_and_wakes_by_itself(
    database: Database, owner: str
) -> None:
    with database.wakes.waiting(owner, "run:1") as waiter:
        async with database.write() as tx:
            outbox = database.outbox()
            outbox.emit(event(owner, "run:1"))
            await outbox.flush(tx.session)
            await outbox.flush(tx.session)
        assert (await state(database, owner, "run:1")) is not None
        outbox.wake()
        await asyncio.wait_for(waiter.wait(), 1)


async def test_a_row_that_is_missing_is_a_gap_whatever_the_floor_says(database: Database, owner: str) -> None:
    await append(database, *(event(owner, "run:1") for _ in range(5)))
    async with database.write() as tx:
        await tx.session.execute(delete(EventRow).where(EventRow.seq == 3))
    for after in (0, 2):
        found = await read(database, owner, "run:1", after)
        assert isinstance(found, LogGap)
        assert found.reason == "expired"
    assert isinstance(await read(database, owner, "run:1", 3), LogSlice)


async def test_a_collection_is_there_before_its_first_event_and_other_topics_are_not(
    database: Database, owner: str
) -> None:
    empty = await read(database, owner, "runs", 0)
    assert isinstance(empty, LogSlice)
    assert (empty.state.head, empty.state.floor, empty.events) == (0, 1, ())
    assert await read(database, owner, "run:1", 0) is None
    assert await state(database, owner, "run:1") is None


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.booleans())
def test_a_cursor_is_good_between_floor_and_head_of_its_epoch(head: int, floor: int, seq: int, same: bool) -> None:
    floor = min(floor, head + 1)
    topic = TopicState("now", head, floor, None)
    gap = topic.gap_after(Cursor("now" if same else "then", seq))
    assert (gap is None) == (same and floor - 1 <= seq <= head)
    assert topic.gap_after(topic.at_start) is None
    assert topic.gap_after(topic.at_head) is None


async def test_an_epoch_is_made_once_and_a_new_database_has_another(database: Database, tmp_path: Path) -> None:
    epoch = await database.meta("epoch")
    again = await Database.create(database.url)
    assert await again.meta("epoch") == epoch
    await again.close()
    other = await Database.create(f"sqlite+aiosqlite:///{tmp_path}/other.sqlite3")
    assert await other.meta("epoch") != epoch
    await other.close()


async def test_a_read_is_one_snapshot_whatever_commits_between_its_statements(database: Database, owner: str) -> None:
    await append(database, event(owner, "run:1"))
    async with database.read() as session:
        before = await read_topic(session, owner, "run:1")
        await append(database, event(owner, "run:1"))
        rows = (await session.execute(select(EventRow))).scalars().all()
        after = await read_topic(session, owner, "run:1")
    assert before == after
    assert len(rows) == 1


async def test_a_read_cannot_write(database: Database) -> None:
    async with database.read() as session:
        with pytest.raises(OperationalError, match=r"readonly database|read-only transaction"):
            await session.execute(delete(EventRow))


async def test_a_wake_from_another_thread_arrives_and_one_for_nobody_is_nothing() -> None:
    wakes = Wakes()
    wakes.wake("o", "t")
    with wakes.waiting("o", "t") as waiter:
        await asyncio.to_thread(wakes.wake, "o", "t")
        await asyncio.wait_for(waiter.wait(), 1)
        waiter.clear()
        waiter.seen = 5
        wakes.wake_behind("o", "t", 5)
        assert not waiter.is_set()
        wakes.wake_behind("o", "t", 6)
        assert waiter.is_set()
    assert wakes.watched() == []
