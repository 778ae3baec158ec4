"""What the server does by itself goes on, whatever one part of it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from playcall.models import Cursor
from playcall.server.clock import utc_now
from playcall.server.log import LogGap, NewEvent, TopicEntry, read_log, read_topic
from playcall.server.sockets.registry import Sockets
from playcall.server.store.database import Database
from playcall.server.upkeep import caretaker
from playcall.server.upkeep.caretaker import expire_old, look_after, poll_heads


async def append(database: Database, owner: str, topic: str, *, age_seconds: float = 0) -> None:
    async with database.write() as tx:
        time = utc_now() - timedelta(seconds=age_seconds)
        tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=(TopicEntry(topic),), time=time))


async def floor(database: Database, owner: str, topic: str) -> int:
    async with database.read() as session:
        state = await read_topic(session, owner, topic)
    assert state is not None
    return state.floor


class NoGate:
    """Has nothing to write down."""

    def __init__(self) -> None:
        self.asked = 0

    async def write_down_use(self) -> None:
        self.asked += 1


@asynccontextmanager
async def looked_after(
    database: Any, gate: Any, monkeypatch: pytest.MonkeyPatch, *, kept_seconds: float | None = None
) -> AsyncIterator[None]:
    for name in ("POLL_SECONDS", "USE_SECONDS", "EXPIRE_SECONDS"):
        monkeypatch.setattr(caretaker, name, 0.001)
    task = asyncio.create_task(look_after(database, gate, Sockets(), event_retention_seconds=kept_seconds))
    try:
        async with asyncio.timeout(10):
            yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_nothing_waits_while_much_expires(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    polls = 0

    async def poll(_database: Database) -> None:
        nonlocal polls
        polls += 1

    async def for_ever(*_args: Any, **_kwargs: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(caretaker, "poll_heads", poll)
    monkeypatch.setattr(caretaker, "expire_events", for_ever)
    gate = NoGate()
    async with looked_after(database, gate, monkeypatch, kept_seconds=60):
        await until(lambda: polls > 3 and gate.asked > 3)


async def test_what_fails_comes_round_again_and_is_logged_without_what_it_said(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it was: a server whose poll has ended would show it to nobody."""
    polls = 0

    async def poll(_database: Database) -> None:
        nonlocal polls
        polls += 1
        raise ValueError("a secret")

    monkeypatch.setattr(caretaker, "poll_heads", poll)
    async with looked_after(database, NoGate(), monkeypatch):
        await until(lambda: polls > 3)
    failures = [record for record in caplog.records if record.getMessage() == "caretaker_failed"]
    assert {vars(record)["error"] for record in failures} == {"ValueError"}
    assert "a secret" not in caplog.text


async def test_events_are_kept_so_long_and_for_ever_without_a_limit(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database, owner, "run:1", age_seconds=120)
    await append(database, owner, "run:1", age_seconds=30)
    gate = NoGate()
    async with looked_after(database, gate, monkeypatch):
        await until(lambda: gate.asked > 3)
    assert await floor(database, owner, "run:1") == 1
    async with looked_after(database, NoGate(), monkeypatch, kept_seconds=60):
        while await floor(database, owner, "run:1") == 1:
            await asyncio.sleep(0.001)
    assert await floor(database, owner, "run:1") == 2


@pytest.mark.parametrize("kept_seconds", [900_000 * 86_400.0, 1e300, float("inf")])
async def test_what_is_kept_for_longer_than_the_calendar_is_kept_for_ever(
    database: Database, owner: str, kept_seconds: float
) -> None:
    await append(database, owner, "run:1", age_seconds=365 * 86_400)
    await expire_old(database, utc_now(), kept_seconds)
    assert await floor(database, owner, "run:1") == 1


async def test_the_poll_wakes_who_is_behind_and_whose_topic_is_gone_and_nobody_else(
    database: Database, owner: str
) -> None:
    await append(database, owner, "run:1")
    wakes = database.wakes
    with (
        wakes.waiting(owner, "run:1") as behind,
        wakes.waiting(owner, "run:1") as abreast,
        wakes.waiting(owner, "run:gone") as orphan,
        wakes.waiting(owner, "agents") as of_a_collection,
        wakes.waiting("another", "run:1") as of_another,
    ):
        abreast.seen = 1
        await poll_heads(database)
        woken = [waiter.is_set() for waiter in (behind, abreast, orphan, of_a_collection, of_another)]
        assert woken == [True, False, True, False, True]
        assert [waiter.gone for waiter in (behind, orphan, of_another)] == [False, True, True]
        orphan.clear()
        assert not orphan.gone


async def test_what_is_young_enough_costs_no_write(database: Database, owner: str) -> None:
    """So other writers wait for nothing when there is nothing to drop."""
    await append(database, owner, "run:1")
    before = database.writes
    await expire_old(database, utc_now(), 60)
    assert database.writes == before


async def test_a_reader_that_was_overtaken_gets_a_gap(database: Database, owner: str) -> None:
    for age in (120, 120, 30):
        await append(database, owner, "run:1", age_seconds=age)
    await expire_old(database, utc_now(), 60)
    async with database.read() as session:
        state = await read_topic(session, owner, "run:1")
        assert state is not None
        found = await read_log(session, owner, "run:1", Cursor(state.epoch, 1), limit=10)
    assert isinstance(found, LogGap)
    assert (found.reason, found.state.floor) == ("expired", 3)
