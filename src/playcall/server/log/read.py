"""Reading the log after a cursor: everything there, in order, or a gap that says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import Cursor, EventId
from playcall.models.frames import WireCursor
from playcall.models.topic import COLLECTIONS
from playcall.server.store.tables.log import EventRow, TopicRow
from playcall.server.store.tables.meta import EPOCH, MetaRow

__all__ = ["LogGap", "LogSlice", "Place", "StoredEvent", "TopicState", "read_log", "read_place", "read_topic"]


@dataclass(frozen=True, slots=True)
class TopicState:
    """Where a topic stands. An empty log has `floor == head + 1`. `ended` is the reason, once it has ended."""

    epoch: str
    head: int
    floor: int
    ended: str | None

    @property
    def at_head(self) -> Cursor:
        return Cursor(self.epoch, self.head)

    @property
    def at_start(self) -> Cursor:
        """Before the first event still kept; also where a gap resumes."""
        return Cursor(self.epoch, self.floor - 1)

    def gap_after(self, cursor: Cursor) -> Literal["epoch", "ahead", "expired"] | None:
        """Why nothing can be said about what follows the cursor, or None if something can."""
        if cursor.epoch != self.epoch:
            return "epoch"
        if cursor.seq > self.head:
            return "ahead"
        if cursor.seq < self.floor - 1:
            return "expired"
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading begins. `cursor` has the id of the entry at it, where that is kept. `lost` says why it cannot begin."""

    state: TopicState
    cursor: Cursor
    lost: Literal["epoch", "ahead", "expired"] | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One entry as it is kept; `data` is JSON text."""

    seq: int
    id: str
    time: datetime
    type: str
    terminal: bool
    data: str


@dataclass(frozen=True, slots=True)
class LogSlice:
    """The events that follow the cursor without a hole, unfiltered; fewer than asked for means up to the head."""

    state: TopicState
    events: tuple[StoredEvent, ...]


@dataclass(frozen=True, slots=True)
class LogGap:
    """What followed the cursor is lost; reading can go on from `state.at_start`."""

    state: TopicState
    reason: Literal["epoch", "ahead", "expired"]


async def read_topic(session: AsyncSession, owner_id: str, topic: str) -> TopicState | None:
    """Where the topic stands in this session's snapshot; None if the owner has no such topic.

    The collections are there for everyone, even before their first event.
    """
    row = (
        await session.execute(
            select(MetaRow.value, TopicRow.head, TopicRow.floor, TopicRow.ended)
            .select_from(MetaRow)
            .outerjoin(TopicRow, and_(TopicRow.owner_id == owner_id, TopicRow.name == topic))
            .where(MetaRow.key == EPOCH)
        )
    ).one()
    if row.head is None:
        return TopicState(row.value, 0, 1, None) if topic in COLLECTIONS else None
    return TopicState(row.value, row.head, row.floor, row.ended)


async def read_place(
    session: AsyncSession, owner_id: str, topic: str, wanted: WireCursor | Literal["start", "head"]
) -> Place | None:
    """Where a reader that wants this begins; None if the owner has no such topic.

    A cursor that carries the id of another event than the one that stands there is of another log, whatever its epoch
    says: a backup was put back. Of an entry that is not kept any more that cannot be told.
    """
    state = await read_topic(session, owner_id, topic)
    if state is None:
        return None
    if not isinstance(wanted, WireCursor):
        cursor = state.at_start if wanted == "start" else state.at_head
    else:
        cursor = wanted.cursor
        if lost := state.gap_after(cursor):
            return Place(state, cursor, lost)
    there = await session.scalar(
        select(EventRow.id)
        .join(TopicRow, TopicRow.id == EventRow.topic_id)
        .where(TopicRow.owner_id == owner_id, TopicRow.name == topic, EventRow.seq == cursor.seq)
    )
    if there is None:
        return Place(state, cursor, None)
    lost = "epoch" if cursor.event_id not in (None, there) else None
    return Place(state, Cursor(cursor.epoch, cursor.seq, EventId(there)), lost)


async def read_log(
    session: AsyncSession, owner_id: str, topic: str, after: Cursor, *, limit: int
) -> LogSlice | LogGap | None:
    """Up to `limit` events after the cursor; None if the owner has no such topic.

    Epoch, floor, head and rows come from one statement, so no retention and no append can come between them.
    """
    rows = (
        await session.execute(
            select(
                MetaRow.value.label("epoch"),
                TopicRow.head,
                TopicRow.floor,
                TopicRow.ended,
                EventRow.seq,
                EventRow.id,
                EventRow.time,
                EventRow.type,
                EventRow.terminal,
                EventRow.data,
            )
            .select_from(MetaRow)
            .outerjoin(TopicRow, and_(TopicRow.owner_id == owner_id, TopicRow.name == topic))
            .outerjoin(
                EventRow,
                and_(EventRow.topic_id == TopicRow.id, EventRow.seq > after.seq, EventRow.seq <= after.seq + limit),
            )
            .where(MetaRow.key == EPOCH)
            .order_by(EventRow.seq)
        )
    ).all()
    first = rows[0]
    if first.head is None:
        if topic not in COLLECTIONS:
            return None
        state = TopicState(first.epoch, 0, 1, None)
    else:
        state = TopicState(first.epoch, first.head, first.floor, first.ended)
    if reason := state.gap_after(after):
        return LogGap(state, reason)
    events = tuple(
        StoredEvent(row.seq, row.id, row.time, row.type, row.terminal, row.data) for row in rows if row.seq is not None
    )
    # A row that is missing between the cursor and the head is lost, whatever `floor` says.
    expected = min(limit, state.head - after.seq)
    if len(events) != expected or any(event.seq != after.seq + n for n, event in enumerate(events, 1)):
        return LogGap(state, "expired")
    return LogSlice(state, events)
