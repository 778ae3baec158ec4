"""One subscription: a loop that reads the log after its cursor and sends while credit lasts.

There is no live queue beside it: replay and live are the same reading, so they cannot race, nothing is dropped, and a
slow client just lags.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel

from playcall.models import Cursor
from playcall.models.frames import Ended, ErrorFrame, Gap, Subscribe, Subscribed, WireCursor
from playcall.server.log import LogGap, Place, read_place
from playcall.server.log.wake import Waiter
from playcall.server.store.database import Database
from playcall.server.telemetry import metrics

from .encoding import encode, events_frames
from .filtering import TypeFilter

__all__ = ["FORBIDDEN", "READ_EVENTS", "Subscription"]

READ_EVENTS = 128
"""Rows at a time: at 64 KiB each they bound what one connection, whose subscriptions take turns, holds in memory."""

FORBIDDEN = "there is no such topic, or it is not yours"
"""The same words for both, so that nobody learns which."""


class Subscription:
    """Runs until its topic ends, it has lost its place, or it is stopped.

    Args:
        turn: Held while rows are read and sent, so that a client that stops reading costs the rows of one subscription.
    """

    def __init__(
        self,
        request: Subscribe,
        wanted: TypeFilter,
        *,
        owner_id: str,
        database: Database,
        send: Callable[[str], Awaitable[None]],
        turn: asyncio.Lock,
    ) -> None:
        self.request = request
        self.sent_to: int | None = None
        """How far the client has been sent; None before `subscribed`."""
        self._wanted = wanted
        self._owner_id = owner_id
        self._database = database
        self._send_text = send
        self._turn = turn
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
            place = await self._answer()
            if place is not None:
                self._waiter.seen = place.state.head
                with metrics.SUBSCRIPTIONS.held():
                    await self._follow(place, self._waiter)

    async def _answer(self) -> Place | None:
        """Where it begins; None if it does not, which the client has been told."""
        request = self.request
        async with self._database.read() as session:
            place = await read_place(session, self._owner_id, request.topic, request.from_)
        if place is None:
            await self._send(ErrorFrame(id=request.id, sid=request.sid, code="forbidden", message=FORBIDDEN))
            return None
        state, cursor = place.state, place.cursor
        if place.lost is not None:
            await self._send_gap(LogGap(state, place.lost), cursor)
            return None
        await self._send(
            Subscribed(
                id=request.id,
                sid=request.sid,
                epoch=state.epoch,
                seq=cursor.seq,
                head=state.head,
                at_id=cursor.event_id,
            )
        )
        self.sent_to = cursor.seq
        return place

    async def _follow(self, place: Place, waiter: Waiter) -> None:
        cursor = place.cursor
        if cursor.seq == place.state.head and place.state.ended is None:
            await waiter.wait()  # nothing to read, unless it has been woken since
        while not self._stopped.is_set():
            async with self._turn:
                # Cleared before the read: what is committed after the read sets it again.
                waiter.clear()
                reached = await self._pass_on(cursor, waiter)
            if reached is None:
                return
            cursor, wait = reached
            if wait == "events":
                await waiter.wait()
            elif wait == "credit":
                await self._wait_for_credit(waiter)

    async def _pass_on(
        self, cursor: Cursor, waiter: Waiter
    ) -> tuple[Cursor, Literal["events", "credit", "nothing"]] | None:
        """Reads what follows the cursor and sends what may be sent; how far that was, and what is to be waited for.

        None when it is over, which the client has been told.
        """
        sid, topic = self.request.sid, self.request.topic
        found = await self._database.log_reads.read(self._owner_id, topic, cursor, limit=READ_EVENTS)
        if found is None:
            await self._send(Ended(sid=sid, reason="forbidden"))
            return None
        if isinstance(found, LogGap):
            await self._send_gap(found, cursor)
            return None
        waiter.seen = found.state.head
        credit, head = self._limit - self._sent, found.state.head
        for frame in events_frames(sid, cursor.seq, found.events, self._wanted, credit=credit, head=head):
            if self._stopped.is_set():
                return None
            await self._send_text(frame.text)
            metrics.EVENTS_SENT.add(amount=frame.count)
            self._sent += frame.count
            cursor = Cursor(cursor.epoch, frame.to)
            self.sent_to = frame.to
        if cursor.seq == found.state.head:
            if found.state.ended is not None:
                await self._send(Ended(sid=sid, reason=found.state.ended))
                return None
            return cursor, "events"
        if not found.events or cursor.seq < found.events[-1].seq:
            return cursor, "credit"
        return cursor, "nothing"

    async def _wait_for_credit(self, waiter: Waiter) -> None:
        """What is committed meanwhile needs no looking at: there is something to send already. A topic that is gone does."""
        waiter.clear()
        while self._sent >= self._limit and not self._stopped.is_set() and not waiter.gone:
            await waiter.wait()
            if not waiter.gone:
                waiter.clear()

    async def _send_gap(self, gap: LogGap, cursor: Cursor) -> None:
        metrics.GAPS_SENT.add(gap.reason)
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
