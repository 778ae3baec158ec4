"""A past for a topic: as many events as one likes, row for row as the log would have written them one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import bindparam, select, text, update

from playcall.models import RunId
from playcall.models.event import RunLogData
from playcall.models.run import LogLevel
from playcall.server.clock import utc_now
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.store.database import Database
from playcall.server.store.tables.base import UtcDateTime
from playcall.server.store.tables.log import EventRow, TopicRow

__all__ = ["fill"]

AT_ONCE: Final = 100_000
"""Rows to a statement: PostgreSQL ends those that take long."""
FEW: Final = 100
TOPICS_AT_ONCE: Final = 100
TYPE: Final = "run.log"
MARK: Final = 987_654_321
ROWS: Final = {
    "sqlite": """
        WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)
        INSERT INTO events (topic_id, seq, id, time, type, terminal, data)
        SELECT :topic_id, n, 'evt_' || lower(hex(randomblob(12))), :time, :type, false, :before || n || :after FROM numbers
    """,
    "postgresql": """
        INSERT INTO events (topic_id, seq, id, time, type, terminal, data)
        SELECT :topic_id, n, 'evt_' || left(md5(random()::text), 24), :time, :type, false,
               CAST(:before AS text) || n || CAST(:after AS text)
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
    """,
}


async def fill(database_url: str, owner_id: str, topics: Iterable[str], events: int) -> None:
    """Each of the topics gets `events` log lines of a run, about 200 bytes each; they must be new.

    A few go through the log's own append. Of many the first and the last do; what is between them is written by the
    database itself, and must look as those do.

    Raises:
        AssertionError: It does not.
    """
    database = Database.at(database_url)
    try:
        if events <= FEW:
            await _append(database, owner_id, list(topics), events)
        else:
            for topic in topics:
                await _append(database, owner_id, [topic], 1)
                await _between(database, owner_id, topic, 2, events - 1)
                async with database.write() as tx:
                    tx.emit(_line(owner_id, topic, events))
                await _check(database, owner_id, topic, events)
        if database.engine.dialect.name == "postgresql":
            async with database.engine.connect() as connection:  # as it would have done long since
                alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await alone.execute(text("VACUUM ANALYZE events"))
                await alone.execute(text("VACUUM ANALYZE topics"))
    finally:
        await database.close()


async def _append(database: Database, owner_id: str, topics: Sequence[str], events: int) -> None:
    for first in range(0, len(topics), TOPICS_AT_ONCE):
        async with database.write() as tx:
            for topic in topics[first : first + TOPICS_AT_ONCE]:
                for n in range(1, events + 1):
                    tx.emit(_line(owner_id, topic, n))


def _line(owner_id: str, topic: str, n: int) -> NewEvent:
    data = RunLogData(
        run_id=RunId("run_0123456789abcdef01234567"),
        level=LogLevel.INFO,
        message=f"{n} files of the quarterly report have been read, and their figures agree",
    )
    return NewEvent(owner_id=owner_id, type=TYPE, data=data, topics=(TopicEntry(topic),))


async def _between(database: Database, owner_id: str, topic: str, first: int, last: int) -> None:
    before, after = _line(owner_id, topic, MARK).data_json().split(str(MARK))
    statement = text(ROWS[database.engine.dialect.name]).bindparams(bindparam("time", type_=UtcDateTime()))
    mine = (TopicRow.owner_id == owner_id, TopicRow.name == topic)
    for begin in range(first, last + 1, AT_ONCE):
        end = min(begin + AT_ONCE - 1, last)
        async with database.write() as tx:
            topic_id = (await tx.session.scalars(select(TopicRow.id).where(*mine).with_for_update())).one()
            values = {"topic_id": topic_id, "first": begin, "last": end, "time": utc_now(), "type": TYPE}
            await tx.session.execute(statement, values | {"before": before, "after": after})
            await tx.session.execute(update(TopicRow).where(*mine).values(head=end))


async def _check(database: Database, owner_id: str, topic: str, events: int) -> None:
    """Neighbours of both kinds: the same but for their numbers, and as many as the head says."""
    seqs = sorted({1, 2, 3, events - 1, events} & set(range(1, events + 1)))
    async with database.read() as session:
        head = (
            await session.scalars(select(TopicRow.head).where(TopicRow.owner_id == owner_id, TopicRow.name == topic))
        ).one()
        # As text, past what SQLAlchemy would make of it.
        columns = ", ".join(f"CAST({column.name} AS text)" for column in EventRow.__table__.columns)
        rows = await session.execute(
            text(
                f"SELECT {columns} FROM events WHERE seq IN ({', '.join(map(str, seqs))}) AND topic_id = "
                "(SELECT id FROM topics WHERE owner_id = :owner AND name = :name) ORDER BY events.seq"
            ),
            {"owner": owner_id, "name": topic},
        )
        found = [list(map(str, row)) for row in rows]
    assert head == events, f"the head is {head:,}"
    assert [int(row[1]) for row in found] == seqs, "rows are missing"
    assert len({_shape(row) for row in found}) == 1, f"rows differ: {found}"
    for seq, row in zip(seqs, found, strict=True):
        assert json.loads(row[-1])["message"].startswith(f"{seq} "), row


def _shape(row: Sequence[str]) -> tuple[str, ...]:
    """With all numbers, and the hexadecimal ones, made the same."""
    ident, time, *rest = row[2:]
    # PostgreSQL shows as much of a fraction as is not zero.
    time = re.sub(r"\d+(\.\d+)?", "0", time)
    return re.sub("[0-9a-f]", "0", ident), time, *(re.sub(r"\d+", "0", each) for each in rest)
