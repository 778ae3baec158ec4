"""Reading the log after a cursor: everything there, in order, or a gap that says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import and_, bindparam, select
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


# Built once, as that costs as much as running them; of tables and not of classes, as rows need not become objects first.
_META: Final = MetaRow.__table__.c
_TOPICS: Final = TopicRow.__table__.c
_EVENTS: Final = EventRow.__table__.c
_IN_TOPIC: Final = _EVENTS.topic_id == _TOPICS.id
_STATE: Final = (
    select(_META.value.label("epoch"), _TOPICS.head, _TOPICS.floor, _TOPICS.ended)
    .select_from(MetaRow.__table__)
    .outerjoin(TopicRow.__table__, and_(_TOPICS.owner_id == bindparam("owner_id"), _TOPICS.name == bindparam("topic")))
    .where(_META.key == EPOCH)
)
_FIRST: Final = len(_STATE.selected_columns)
"""Where an event's own columns begin."""
_AT_SEQ: Final = _STATE.add_columns(_EVENTS.id).outerjoin(
    EventRow.__table__, and_(_IN_TOPIC, _EVENTS.seq == bindparam("seq"))
)
_AT_HEAD: Final = _STATE.add_columns(_EVENTS.id).outerjoin(
    EventRow.__table__, and_(_IN_TOPIC, _EVENTS.seq == _TOPICS.head)
)
_AFTER: Final = (
    _STATE.add_columns(_EVENTS.seq, _EVENTS.id, _EVENTS.time, _EVENTS.type, _EVENTS.terminal, _EVENTS.data)
    .outerjoin(EventRow.__table__, and_(_IN_TOPIC, _EVENTS.seq > bindparam("after"), _EVENTS.seq <= bindparam("last")))
    .order_by(_EVENTS.seq)
)


def _state(row: Any, topic: str) -> TopicState | None:
    """Of a row of any of them; `Any`, because rows have no types for names. Without a topic only the epoch is there.

    The collections are there for everyone, even before their first event.
    """
    if row.head is None:
        return TopicState(row.epoch, 0, 1, None) if topic in COLLECTIONS else None
    return TopicState(row.epoch, row.head, row.floor, row.ended)


async def read_topic(session: AsyncSession, owner_id: str, topic: str) -> TopicState | None:
    """Where the topic stands in this session's snapshot; None if the owner has no such topic."""
    found = await session.execute(_STATE, {"owner_id": owner_id, "topic": topic})
    return _state(found.one(), topic)


async def read_place(
    session: AsyncSession, owner_id: str, topic: str, wanted: WireCursor | Literal["start", "head"]
) -> Place | None:
    """Where a reader that wants this begins; None if the owner has no such topic.

    A cursor that carries the id of another event than the one that stands there is of another log, whatever its epoch
    says: a backup was put back. Of an entry that is not kept any more that cannot be told.
    """
    of = {"owner_id": owner_id, "topic": topic}
    asked = wanted.cursor if isinstance(wanted, WireCursor) else None
    if asked is None:
        row = (await session.execute(_AT_HEAD, of)).one()
    else:
        row = (await session.execute(_AT_SEQ, of | {"seq": asked.seq})).one()
    state = _state(row, topic)
    if state is None:
        return None
    if wanted == "start":
        return Place(state, state.at_start, None)  # what stood there is not kept
    cursor = state.at_head if asked is None else asked
    if lost := state.gap_after(cursor):
        return Place(state, cursor, lost)
    if row.id is None:
        return Place(state, cursor, None)
    lost = "epoch" if cursor.event_id not in (None, row.id) else None
    return Place(state, Cursor(cursor.epoch, cursor.seq, EventId(row.id)), lost)


async def read_log(
    session: AsyncSession, owner_id: str, topic: str, after: Cursor, *, limit: int
) -> LogSlice | LogGap | None:
    """Up to `limit` events after the cursor; None if the owner has no such topic.

    Epoch, floor, head and rows come from one statement, so no retention and no append can come between them.
    """
    found = await session.execute(
        _AFTER, {"owner_id": owner_id, "topic": topic, "after": after.seq, "last": after.seq + limit}
    )
    rows = found.all()
    state = _state(rows[0], topic)
    if state is None:
        return None
    if reason := state.gap_after(after):
        return LogGap(state, reason)
    # By place, in the order of `StoredEvent`: a look by name costs as much as all the rest of a row.
    events = tuple(StoredEvent(*row[_FIRST:]) for row in rows if row[_FIRST] is not None)
    # A row that is missing between the cursor and the head is lost, whatever `floor` says.
    expected = min(limit, state.head - after.seq)
    if len(events) != expected or any(event.seq != after.seq + n for n, event in enumerate(events, 1)):
        return LogGap(state, "expired")
    return LogSlice(state, events)
