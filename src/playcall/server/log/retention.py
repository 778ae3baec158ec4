"""Retention: events that are old enough are dropped, and `floor` says so, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.server.store.tables.log import EventRow, TopicRow

if TYPE_CHECKING:
    from playcall.server.store.database import Database

__all__ = ["expire_events", "expire_topic"]

BATCH_EVENTS: Final = 1_000
"""Rows dropped in one transaction: other writers wait for no more than that."""
BATCH_TOPICS: Final = 25


async def expire_events(database: Database, *, before: datetime) -> int:
    """Drops the events that happened before this moment, of every topic, oldest first; returns how many.

    A topic loses what precedes its first event that is young enough, and nothing after it, so that no hole is left. Its
    row stays: a cursor from before gets a gap, and then its end. Which topics have anything to drop is told by their
    oldest entry alone, once for each: that costs the number of topics, not that of events, and is read while others write.
    """
    dropped = seen = 0
    while topics := await _topics_after(database, seen, before):
        seen = max(topics)
        while topics:
            left = BATCH_EVENTS
            async with database.write() as tx:
                while topics and left > 0:
                    left -= await _expire(tx.session, topics[0], before, most=left)
                    if left > 0:
                        del topics[0]
            dropped += BATCH_EVENTS - left
    return dropped


async def expire_topic(database: Database, topic_id: int) -> int:
    """Drops all events of one topic, whatever their age; returns how many."""
    dropped = 0
    while True:
        async with database.write() as tx:
            some = await _expire(tx.session, topic_id, datetime.max.replace(tzinfo=UTC), most=BATCH_EVENTS)
        dropped += some
        if some < BATCH_EVENTS:
            return dropped


async def _topics_after(database: Database, seen: int, before: datetime) -> list[int]:
    """The next of them in the order of their ids, whose oldest entry is too old."""
    async with database.read() as session:
        found = await session.execute(
            select(TopicRow.id, TopicRow.owner_id, TopicRow.name)
            .join(EventRow, and_(EventRow.topic_id == TopicRow.id, EventRow.seq == TopicRow.floor))
            .where(TopicRow.id > seen, EventRow.time < before)
            .order_by(TopicRow.id)
            .limit(BATCH_TOPICS)
        )
        # In the order in which appending locks topics, so that the two cannot wait for each other.
        return [row.id for row in sorted(found, key=lambda row: (row.owner_id, row.name))]


async def _expire(session: AsyncSession, topic_id: int, before: datetime, *, most: int) -> int:
    """Up to `most` of one topic; fewer means that no more are old enough."""
    # Under the topic's lock, so that the floor is nobody else's to move meanwhile.
    floor = await session.scalar(select(TopicRow.floor).where(TopicRow.id == topic_id).with_for_update())
    if floor is None:
        return 0  # the topic has gone meanwhile
    window = (EventRow.topic_id == topic_id, EventRow.seq >= floor, EventRow.seq < floor + most)
    first_kept = await session.scalar(select(func.min(EventRow.seq)).where(*window, EventRow.time >= before))
    if first_kept is None:
        last = await session.scalar(select(func.max(EventRow.seq)).where(*window))
        first_kept = floor if last is None else last + 1
    if first_kept > floor:
        await session.execute(delete(EventRow).where(EventRow.topic_id == topic_id, EventRow.seq < first_kept))
        await session.execute(
            update(TopicRow).where(TopicRow.id == topic_id, TopicRow.floor < first_kept).values(floor=first_kept)
        )
    return first_kept - floor
