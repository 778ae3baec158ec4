"""Appending: events go into the log in the transaction of the change that they report, or not at all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.server.store.dialect import insert_for
from playcall.server.store.tables.log import EventRow, TopicRow
from playcall.server.telemetry import metrics

from .events import MAX_DATA_BYTES, Ending, NewEvent
from .wake import TopicKey, Wakes, topic_word

if TYPE_CHECKING:
    from playcall.server.store.signals import Signals

__all__ = ["EventTooLargeError", "Outbox", "TopicEndedError"]


class TopicEndedError(Exception):
    """The topic has had its terminal event: nothing follows it."""


class EventTooLargeError(ValueError):
    """The event's `data` is larger than a frame may be sure to carry; large values belong in artifacts."""


class Outbox:
    """The events of one transaction: `emit` while it runs, `flush` as its last act, `wake` once it has committed.

    `Database.write` does all three. A transaction that somebody else commits makes its own outbox (`Database.outbox`),
    a new one for each attempt, and calls `wake` only after the commit; a wake that is lost is made up for by the poll.
    """

    def __init__(self, wakes: Wakes, signals: Signals) -> None:
        self._wakes = wakes
        self._signals = signals
        self._pending: list[tuple[NewEvent, str]] = []
        self._appended: list[NewEvent] = []
        self._flushed: set[TopicKey] = set()

    def emit(self, event: NewEvent) -> None:
        """Events keep the order in which they are emitted.

        Raises:
            EventTooLargeError: `data` is over 64 KiB.
            ValueError: `data` is not JSON.
        """
        data = event.data_json()
        size = len(data.encode())
        if size > MAX_DATA_BYTES:
            raise EventTooLargeError(f"the data of {event.type} is {size:,} bytes; the log takes {MAX_DATA_BYTES:,}")
        self._pending.append((event, data))

    async def flush(self, session: AsyncSession) -> None:
        """Append everything emitted so far.

        Call it last: it locks the heads of the topics, in sorted order, until the transaction ends. So a seq is given
        out in the order of commits, and two transactions cannot wait for each other.

        Raises:
            TopicEndedError: A topic has ended, or ends here before its last event.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        await session.flush()
        by_topic: defaultdict[TopicKey, list[tuple[NewEvent, str, Ending | None]]] = defaultdict(list)
        for event, data in pending:
            for topic in event.topics:
                by_topic[event.owner_id, topic.name].append((event, data, topic.ends))
        rows: list[dict[str, object]] = []
        for key in sorted(by_topic):
            entries = by_topic[key]
            if any(ends for _, _, ends in entries[:-1]):
                raise TopicEndedError(f"topic {key[1]} would go on after its terminal event")
            topic_id, head = await self._take(session, key, len(entries), ends=entries[-1][2])
            rows.extend(
                {
                    "topic_id": topic_id,
                    "seq": seq,
                    "id": event.id,
                    "time": event.time,
                    "type": event.type,
                    "terminal": ends is not None,
                    "data": data,
                }
                for seq, (event, data, ends) in enumerate(entries, head - len(entries) + 1)
            )
        await session.execute(insert(EventRow), rows)
        self._appended.extend(event for event, _ in pending)
        self._flushed.update(by_topic)

    def wake(self) -> None:
        """Tell whoever waits for these topics, here and in other processes, to read again."""
        for key in self._flushed:
            self._wakes.wake(*key)
            self._signals.publish("topic", topic_word(key))
        metrics.WAKES.add("commit", amount=len(self._flushed))
        self._flushed.clear()
        for event in self._appended:
            metrics.committed(event)
        self._appended.clear()

    @staticmethod
    async def _take(session: AsyncSession, key: TopicKey, count: int, *, ends: Ending | None) -> tuple[int, int]:
        """Take `count` seqs of a topic that may not exist yet; gives its id and new head."""
        owner_id, name = key
        statement = insert_for(session, TopicRow).values(owner_id=owner_id, name=name, head=count, floor=1, ended=ends)
        result = await session.execute(
            statement.on_conflict_do_update(
                index_elements=[TopicRow.owner_id, TopicRow.name],
                set_={"head": TopicRow.head + count, "ended": ends},
                where=TopicRow.ended.is_(None),
            ).returning(TopicRow.id, TopicRow.head)
        )
        row = result.one_or_none()
        if row is None:
            raise TopicEndedError(f"topic {name} has ended; nothing can follow its terminal event")
        return row.id, row.head
