"""The log without a WebSocket: history, and a long poll on the same cursors and frames (docs/realtime-protocol.md)."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from playcall.models import Cursor, EventId, FieldProblem
from playcall.models.frames import Ended, EventPage, Gap, WireCursor
from playcall.server.answers import CURSOR_HEADER
from playcall.server.dependencies import CallerDep, CoreDep, DeadlineDep
from playcall.server.log import LogGap, read_log, read_place
from playcall.server.log.wake import Waiter
from playcall.server.problems import ApiError, invalid, unauthenticated
from playcall.server.sockets.encoding import encode, events_frames
from playcall.server.sockets.filtering import TypeFilter, type_filter
from playcall.server.sockets.registry import Sockets
from playcall.server.sockets.subscription import FORBIDDEN, READ_EVENTS
from playcall.server.store.database import Database

from .routing import api_router, problems, success

__all__ = ["router"]

router = api_router("events")

MAX_ANSWER_BYTES = 1_048_576
"""An answer ends when it has grown beyond this; the next request goes on from there."""


@router.get(
    "/events",
    response_model=EventPage,
    summary="A topic's events after a cursor",
    responses=success(200, "Frames, and how far they go.", "X-Event-Cursor") | problems("forbidden"),
)
async def events_list(
    request: Request,
    caller: CallerDep,
    core: CoreDep,
    deadline: DeadlineDep,
    topic: Annotated[str, Query(min_length=1, max_length=100)],
    start: Annotated[str, Query(alias="from", max_length=100, description="EPOCH:SEQ, start or head.")] = "start",
    from_id: Annotated[
        str | None, Query(max_length=64, description="The id of the event at that cursor; another one there is a gap.")
    ] = None,
    types: Annotated[list[str] | None, Query(description="Patterns, one a parameter; * matches any run.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 256,
    wait_seconds: Annotated[float | None, Query(ge=0, le=60, description="Wait so long for the first event.")] = None,
) -> Response:
    """Without `wait_seconds`: what is there now. With it: as soon as there is something, or nothing after that time."""
    wanted = _filter(types)
    asked = _cursor(start, from_id)
    async with core.database.read() as session:
        place = await read_place(session, caller.user_id, topic, asked)
    if place is None:
        raise ApiError(403, "forbidden", FORBIDDEN)
    cursor = place.cursor
    reading = _Reading(core.database, caller.user_id, topic, cursor, wanted, limit)
    if place.lost is not None:
        reading.lose(LogGap(place.state, place.lost))
    else:
        with core.database.wakes.waiting(caller.user_id, topic) as waiter:
            await reading.read(waiter)
            if wait_seconds:
                wait = min(wait_seconds, core.settings.max_wait_seconds, deadline.remaining_seconds() * 0.9)
                await _wait(reading, waiter, core.sockets, request, wait)
                if await core.gate.is_revoked(caller):  # meanwhile
                    raise unauthenticated("the credentials have been revoked")
    frames = ",".join(reading.frames)
    at_id = "" if cursor.event_id is None else f',"at_id":{json.dumps(cursor.event_id)}'
    body = (
        f'{{"epoch":{json.dumps(place.state.epoch)},"seq":{cursor.seq},"head":{reading.head}{at_id}'
        f',"frames":[{frames}]}}'
    )
    return Response(body.encode(), 200, {CURSOR_HEADER: str(reading.cursor)}, "application/json")


@router.get(
    "/ws",
    status_code=101,
    response_class=Response,
    response_description="The socket is open; docs/realtime-protocol.md says what goes over it.",
    responses=problems(
        "ambiguous_credentials",
        "unknown_subprotocol",
        "unauthenticated",
        "upgrade_required",
        "origin_refused",
        "too_many_connects",
        "too_many_sockets",
        "draining",
        "database_unavailable",
    ),
    openapi_extra={"security": [{}, {"ApiKey": []}, {"Token": []}]},
    summary="The events' WebSocket",
)
async def events_socket() -> Response:
    """An upgrade to WebSocket with the subprotocol `playcall.v1`; credentials come with it, or in the first frame.

    What asks for it without an upgrade is told so (RFC 9110 section 15.5.22).
    """
    # Upgrades go to the endpoint of the same path in `sockets`, and never come here.
    raise ApiError(426, "upgrade_required", "this is a WebSocket: ask for an upgrade", headers={"Upgrade": "websocket"})


async def _wait(reading: _Reading, waiter: Waiter, sockets: Sockets, request: Request, seconds: float) -> None:
    """Until there is something to tell, the time is over, nobody waits for it any more, or the server is about to end."""
    ends = [asyncio.create_task(sockets.wait_for_drain()), asyncio.create_task(_gone(request))]
    try:
        async with asyncio.timeout(seconds):
            while not reading.has_news and not any(end.done() for end in ends):
                woken = asyncio.create_task(waiter.wait())
                try:
                    await asyncio.wait([woken, *ends], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    woken.cancel()
                await reading.read(waiter)
    except TimeoutError:
        pass
    finally:
        for end in ends:
            end.cancel()


async def _gone(request: Request) -> None:
    """Returns when the client has broken the request off."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Reading:
    """What one answer holds."""

    def __init__(
        self, database: Database, owner_id: str, topic: str, cursor: Cursor, wanted: TypeFilter, limit: int
    ) -> None:
        self.cursor = cursor
        self.head = cursor.seq
        self.frames: list[str] = []
        self.has_news = False
        """Events, or an end; a cursor that only moved past what the filter left out is no reason to answer."""
        self._database = database
        self._owner_id = owner_id
        self._topic = topic
        self._wanted = wanted
        self._left = limit
        self._size = 0

    async def read(self, waiter: Waiter) -> None:
        """Everything up to the head, the limit, or the size of an answer."""
        more = True
        while more:
            waiter.clear()
            async with self._database.read() as session:
                found = await read_log(session, self._owner_id, self._topic, self.cursor, limit=READ_EVENTS)
            self.head = waiter.seen = 0 if found is None else found.state.head
            if found is None:
                self._end(Ended(sid=self._topic, reason="forbidden"))
                return
            if isinstance(found, LogGap):
                self.lose(found)
                return
            events, credit, head = found.events, self._left, found.state.head
            for frame in events_frames(self._topic, self.cursor.seq, events, self._wanted, credit=credit, head=head):
                self.frames.append(frame.text)
                self.has_news = self.has_news or frame.count > 0
                self._left -= frame.count
                self._size += len(frame.text.encode())
                self.cursor = Cursor(self.cursor.epoch, frame.to)
            if self.cursor.seq == found.state.head and found.state.ended is not None:
                self._end(Ended(sid=self._topic, reason=found.state.ended))
                return
            more = self.cursor.seq < found.state.head and self._left > 0 and self._size < MAX_ANSWER_BYTES

    def lose(self, gap: LogGap) -> None:
        """What follows the cursor is gone, and the answer says so."""
        self.head = gap.state.head
        self._end(
            Gap(
                sid=self._topic,
                reason=gap.reason,
                lost_after=WireCursor.of(self.cursor),
                resume=WireCursor.of(gap.state.at_start),
            )
        )

    def _end(self, frame: Gap | Ended) -> None:
        self.frames.append(encode(frame))
        self.has_news = True


def _filter(types: list[str] | None) -> TypeFilter:
    try:
        return type_filter(types)
    except ValueError as error:
        raise invalid(str(error), [FieldProblem(loc=["query", "types"], msg=str(error), type="too_long")]) from None


def _cursor(text: str, event_id: str | None) -> WireCursor | Literal["start", "head"]:
    if text == "start":
        return "start"
    if text == "head":
        return "head"
    try:
        cursor = Cursor.parse(text)
        return WireCursor(epoch=cursor.epoch, seq=cursor.seq, id=None if event_id is None else EventId(event_id))
    except ValueError as error:
        raise invalid(str(error), [FieldProblem(loc=["query", "from"], msg=str(error), type="cursor")]) from None
