"""One subscription: a loop that reads the log after its cursor and sends while credit lasts.

There is no live queue beside it: replay and live are the same reading, so they cannot race, nothing is dropped, and a
slow client just lags.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from playcall.models import Cursor
from playcall.models.frames import Ended, ErrorFrame, Gap, Subscribe, Subscribed, WireCursor
from playcall.server.log import LogGap, TopicState, read_log, read_topic
from playcall.server.log.wake import Waiter
from playcall.server.store.database import Database

from .encoding import encode, events_frames
from .filtering import TypeFilter

__all__ = ["FORBIDDEN", "Subscription", "start_of"]

READ_EVENTS = 128
"""Rows at a time: at 64 KiB each they bound what one subscription holds in memory."""

FORBIDDEN = "there is no such topic, or it is not yours"
"""The same words for both, so that nobody learns which."""


def start_of(state: TopicState, wanted: WireCursor | str) -> Cursor:
    """Where a subscription begins."""
    if isinstance(wanted, WireCursor):
        return wanted.cursor
    return state.at_start if wanted == "start" else state.at_head


class Subscription:
    """Runs until its topic ends, it has lost its place, or it is stopped."""

    def __init__(
        self,
        request: Subscribe,
        wanted: TypeFilter,
        *,
        owner_id: str,
        database: Database,
        send: Callable[[str], Awaitable[None]],
    ) -> None:
        self.request = request
        self.sent_to: int | None = None
        """How far the client has been sent; None before `subscribed`."""
        self._wanted = wanted
        self._owner_id = owner_id
        self._database = database
        self._send_text = send
        self._limit = request.limit
        self._sent = 0
        self._stopped = asyncio.Event()
        self._waiter: Waiter | None = None

    def raise_limit(self, limit: int) -> None:
        """A limit never falls; a lower one says nothing new."""
        self._limit = max(self._limit, limit)
        self._look_up()

    def stop(self) -> None:
        """`run` returns soon, and sends nothing that it has not begun to send."""
        self._stopped.set()
        self._look_up()

    async def run(self) -> None:
        """Answers the request, then sends.

        Raises:
            ChannelClosedError: The client has gone.
            sqlalchemy.exc.SQLAlchemyError: The log cannot be read now.
        """
        with self._database.wakes.waiting(self._owner_id, self.request.topic) as self._waiter:
            cursor = await self._answer()
            if cursor is not None:
                await self._follow(cursor, self._waiter)

    async def _answer(self) -> Cursor | None:
        request = self.request
        async with self._database.read() as session:
            state = await read_topic(session, self._owner_id, request.topic)
        if state is None:
            await self._send(ErrorFrame(id=request.id, sid=request.sid, code="forbidden", message=FORBIDDEN))
            return None
        cursor = start_of(state, request.from_)
        if reason := state.gap_after(cursor):
            await self._send_gap(LogGap(state, reason), cursor)
            return None
        await self._send(Subscribed(id=request.id, sid=request.sid, epoch=state.epoch, seq=cursor.seq, head=state.head))
        self.sent_to = cursor.seq
        return cursor

    async def _follow(self, cursor: Cursor, waiter: Waiter) -> None:
        sid, topic = self.request.sid, self.request.topic
        while not self._stopped.is_set():
            # Cleared before the read: what is committed after the read sets it again.
            waiter.clear()
            async with self._database.read() as session:
                found = await read_log(session, self._owner_id, topic, cursor, limit=READ_EVENTS)
            if found is None:
                await self._send(Ended(sid=sid, reason="forbidden"))
                return
            if isinstance(found, LogGap):
                await self._send_gap(found, cursor)
                return
            waiter.seen = found.state.head
            for frame in events_frames(sid, cursor.seq, found.events, self._wanted, credit=self._limit - self._sent):
                if self._stopped.is_set():
                    return
                await self._send_text(frame.text)
                self._sent += frame.count
                cursor = Cursor(cursor.epoch, frame.to)
                self.sent_to = frame.to
            if cursor.seq == found.state.head:
                if found.state.ended is not None:
                    await self._send(Ended(sid=sid, reason=found.state.ended))
                    return
                await waiter.wait()
            elif not found.events or cursor.seq < found.events[-1].seq:
                await self._wait_for_credit(waiter)

    async def _wait_for_credit(self, waiter: Waiter) -> None:
        """What is committed meanwhile needs no looking at: there is something to send already."""
        while self._sent >= self._limit and not self._stopped.is_set():
            waiter.clear()
            await waiter.wait()

    async def _send_gap(self, gap: LogGap, cursor: Cursor) -> None:
        await self._send(
            Gap(
                sid=self.request.sid,
                reason=gap.reason,
                lost_after=WireCursor.of(cursor),
                resume=WireCursor.of(gap.state.at_start),
            )
        )

    async def _send(self, frame: BaseModel) -> None:
        await self._send_text(encode(frame))

    def _look_up(self) -> None:
        if self._waiter is not None:
            self._waiter.set()
