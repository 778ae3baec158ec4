"""What the log costs does not depend on how much is in it: counted in steps and rows of the database, never by the clock."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from playcall.models import Cursor
from playcall.models.frames import WireCursor
from playcall.server.log import LogSlice, NewEvent, Place, TopicEntry, read_log, read_place, read_topic
from playcall.server.store.database import Database
from playcall.server.upkeep.caretaker import poll_heads

SHORT: Final = 300
LONG: Final = 12_000
BACK: Final = 10
TOPIC: Final = "run:1"

Statements = list[tuple[str, Any]]


async def append(database: Database, owner: str, topic: str, count: int) -> None:
    for first in range(0, count, 1_000):
        async with database.write() as tx:
            for n in range(first, min(first + 1_000, count)):
                tx.emit(NewEvent(owner_id=owner, type="a", data={"n": n}, topics=(TopicEntry(topic),)))


@contextmanager
def statements(engine: AsyncEngine) -> Generator[Statements]:
    """Those that are executed in the block, in the driver's own words, with their parameters."""
    seen: Statements = []

    def before(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            seen.append((statement, parameters[0] if many else parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", before)


async def resume(session: AsyncSession, owner: str) -> None:
    """What a client costs that has missed the last few events."""
    state = await read_topic(session, owner, TOPIC)
    assert state is not None
    cursor = Cursor(state.epoch, state.head - BACK)
    place = await read_place(session, owner, TOPIC, WireCursor.of(cursor))
    assert isinstance(place, Place)
    assert place.lost is None
    found = await read_log(session, owner, TOPIC, cursor, limit=128)
    assert isinstance(found, LogSlice)
    assert len(found.events) == BACK


async def a_piece(session: AsyncSession, owner: str) -> None:
    """What a client costs that reads from the start, for each piece that it gets."""
    state = await read_topic(session, owner, TOPIC)
    assert state is not None
    found = await read_log(session, owner, TOPIC, Cursor(state.epoch, 100), limit=128)
    assert isinstance(found, LogSlice)
    assert len(found.events) == 128


@pytest.mark.sqlite_only
@pytest.mark.parametrize("read", [resume, a_piece])
async def test_reading_takes_sqlite_as_many_steps_from_a_long_log_as_from_a_short_one(
    database: Database, owner: str, read: Callable[[AsyncSession, str], Awaitable[None]]
) -> None:
    async def steps() -> int:
        taken = 0

        def step() -> None:
            nonlocal taken
            taken += 1

        async with database.read() as session:
            driver = (await (await session.connection()).get_raw_connection()).driver_connection
            assert driver is not None
            await read(session, owner)  # what is prepared once is not counted
            await driver.set_progress_handler(step, 1)
            await read(session, owner)
            await driver.set_progress_handler(None, 1)
        return taken

    await append(database, owner, TOPIC, SHORT)
    short = await steps()
    assert short > BACK, "they are counted"
    await append(database, owner, TOPIC, LONG)
    assert await steps() == short


@pytest.mark.sqlite_only
async def test_nothing_that_reads_or_appends_looks_through_a_whole_table_of_sqlite(
    database: Database, owner: str
) -> None:
    await append(database, owner, TOPIC, SHORT)
    with statements(database.reader) as read, statements(database.engine) as written:
        async with database.read() as session:
            await resume(session, owner)
        with database.wakes.waiting(owner, TOPIC):
            await poll_heads(database)
        await append(database, owner, TOPIC, 1)
    assert len(read) >= 4
    assert len(written) == 2, "a head that moves, and the event"
    async with database.read() as session:
        connection = await session.connection()
        for statement, parameters in read + written:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [row.detail for row in plan]
            assert not [step for step in steps if step.startswith("SCAN") and step != "SCAN CONSTANT ROW"], statement


@pytest.mark.postgresql_only
@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("read", [resume, a_piece])
async def test_reading_looks_at_no_more_rows_of_postgresql_than_it_gives(
    database: Database, owner: str, read: Callable[[AsyncSession, str], Awaitable[None]], analyzed: bool
) -> None:
    """Whether or not the database has counted its rows."""
    await append(database, owner, TOPIC, LONG)
    if analyzed:
        async with database.engine.begin() as connection:
            await connection.execute(text("ANALYZE"))
    with statements(database.reader) as read_statements:
        async with database.read() as session:
            await read(session, owner)
    async with database.read() as session:
        connection = await session.connection()
        for statement, parameters in read_statements:
            explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            plan = explained.scalar_one()
            plan = json.loads(plan) if isinstance(plan, str) else plan
            looked_at = rows_of(plan[0]["Plan"], "events")
            assert looked_at <= 128, f"{looked_at:,} rows: {statement}"


def rows_of(plan: dict[str, Any], table: str) -> int:
    """How many rows of that table the nodes of a plan looked at."""
    mine = 0
    if plan.get("Relation Name") == table:
        each = (
            plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        )
        mine = round(each * plan["Actual Loops"])
    return mine + sum(rows_of(child, table) for child in plan.get("Plans", ()))


@pytest.mark.parametrize("wanted", ["start", "head", "cursor"])
async def test_where_a_reader_begins_is_one_statement(database: Database, owner: str, wanted: str) -> None:
    await append(database, owner, TOPIC, 20)
    place: Any = wanted if wanted != "cursor" else WireCursor(epoch=await database.meta("epoch"), seq=10)
    with statements(database.reader) as seen:
        async with database.read() as session:
            found = await read_place(session, owner, TOPIC, place)
    assert found is not None
    assert (found.cursor.seq, found.cursor.event_id is None) == {
        "start": (0, True), "head": (20, False), "cursor": (10, False)
    }[wanted]  # fmt: skip
    assert len(seen) == 1


async def test_an_append_is_two_statements_whatever_is_in_the_log(database: Database, owner: str) -> None:
    for before in (0, 1, SHORT):
        await append(database, owner, TOPIC, before)
        with statements(database.engine) as seen:
            await append(database, owner, TOPIC, 50)
        assert len(seen) == 2, "one for the topic's head, one for all events"
