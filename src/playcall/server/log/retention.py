"""Retention: events that are old enough are dropped, and `floor` says so, in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.server.store.tables.log import EventRow, TopicRow

if TYPE_CHECKING:
    from playcall.server.store.database import Database

__all__ = ["expire_events"]

BATCH_EVENTS = 1_000
"""Rows dropped in one transaction: other writers wait for no more than that."""
BATCH_TOPICS = 100


async def expire_events(database: Database, *, before: datetime) -> int:
    """Drops the events that happened before this moment, of every topic, oldest first; returns how many.

    A topic loses what precedes its first event that is young enough, and nothing after it, so that no hole is left. Its
    row stays: a cursor from before gets a gap, and then its end. Which topics have anything to drop is told by their
    oldest entry alone, so it costs the number of topics and not that of events.
    """
    dropped = 0
    while True:
        async with database.write() as tx:
            count = await _expire_some(tx.session, before)
        dropped += count
        if count == 0:
            return dropped


async def _expire_some(session: AsyncSession, before: datetime) -> int:
    # In the order in which appending locks topics, so that the two cannot wait for each other.
    topics = await session.execute(
        select(TopicRow.id, TopicRow.floor)
        .join(EventRow, and_(EventRow.topic_id == TopicRow.id, EventRow.seq == TopicRow.floor))
        .where(EventRow.time < before)
        .order_by(TopicRow.owner_id, TopicRow.name)
        .limit(BATCH_TOPICS)
    )
    left = BATCH_EVENTS
    for topic_id, floor in topics.all():
        left -= await _expire(session, topic_id, floor, before, most=left)
        if left <= 0:
            break
    return BATCH_EVENTS - left


async def _expire(session: AsyncSession, topic_id: int, floor: int, before: datetime, *, most: int) -> int:
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
