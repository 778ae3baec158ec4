"""One subscription of a long-poll link: asks for what follows its cursor, again and again, while credit lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, cast

from pydantic import ValidationError
from pydantic_core import to_json

from ...models.base import JsonObject, WireModel
from ...models.frames import ErrorFrame, Ping, Subscribe, Subscribed, WireCursor
from ...models.ids import EventId
from ..codec import UnreadableFrameError
from .asking import Asker
from .base import UpgradeRefusedError

__all__ = ["EVENTS_PATH", "GRACE_SECONDS", "Answer", "Poll"]

EVENTS_PATH: Final = "/events"
MOST_EVENTS: Final = 1_000
"""What one request may ask for (the contract's `limit`); more credit than that is used by the next."""
GRACE_SECONDS = 10.0
"""For a request, beyond the wait that it asks for."""
PACE_SECONDS = 1.0
"""Answers that bring nothing are asked for no more often, where something on the way does not let us wait."""

_UNANSWERABLE: Final = frozenset({414, 422, 431})
"""Statuses of a question that will never be answered: it is wrong, or its filter is too long for an address."""

OwnFrame: TypeAlias = Subscribed | ErrorFrame | Ping
"""The frames that are made here; all others come as they are from the backend."""


class Answer(WireModel, frozen=True):
    """As `EventPage`, but its frames are not looked into: the session reads them, and judges.

    So each event is parsed twice and written once between: some 5 ms a MiB, beside the 3 to 6 of the session's reading.
    """

    epoch: str
    seq: int
    head: int
    at_id: EventId | None = None
    frames: list[JsonObject]

    @property
    def is_gap(self) -> bool:
        """Nothing can be said about what follows the cursor."""
        return bool(self.frames) and self.frames[0].get("op") == "gap"


class Poll:
    """Plays the server's loop for one `sid`.

    Args:
        wanted: The frame that asks for it.
        asker: Sends the requests.
        tell: Takes the frames for the session, in order.
        settled: Returns when the session has taken them, so that one answer at a time is held here.
        wait_seconds: How long the backend may wait for the next event.
    """

    def __init__(
        self,
        wanted: Subscribe,
        asker: Asker,
        *,
        tell: Callable[[str], None],
        settled: Callable[[], Awaitable[None]],
        wait_seconds: float,
    ) -> None:
        self._wanted = wanted
        self._asker = asker
        self._tell = tell
        self._settled = settled
        self._wait_seconds = wait_seconds
        self._limit = wanted.limit
        self._used = 0
        self._has_credit = asyncio.Event()
        self._over = False
        self._word: str | None = None
        self._epoch, self._seq, self._id = "", 0, cast("EventId | None", None)
        if isinstance(wanted.from_, WireCursor):
            self._reach(wanted.from_.epoch, wanted.from_.seq, wanted.from_.id)
        else:
            self._word = wanted.from_

    def raise_limit(self, limit: int) -> None:
        """A limit never falls; a lower one says nothing new."""
        self._limit = max(self._limit, limit)
        self._has_credit.set()

    async def run(self) -> None:
        """Until the topic has ended, the place in it is lost, or the backend refuses it; that is told.

        Raises:
            UpgradeRefusedError: the backend refuses the caller, or every request.
            LinkLostError: it could not be asked.
            UnreadableFrameError: its answer is not the contract's.
        """
        try:
            await self._begin()
            while not self._over:
                await self._go_on()
        except UpgradeRefusedError as refused:
            code = _refusal_of_one(refused)
            if code is None:
                raise
            message = refused.detail or f"the backend answered {refused.status}"
            self._say(ErrorFrame(id=self._wanted.id, sid=self._wanted.sid, code=code, message=message))

    async def _begin(self) -> None:
        answer = await self._ask(None)
        if not answer.is_gap:
            self._reach(answer.epoch, answer.seq, answer.at_id)
            self._say(
                Subscribed(
                    id=self._wanted.id,
                    sid=self._wanted.sid,
                    epoch=answer.epoch,
                    seq=answer.seq,
                    head=answer.head,
                    at_id=answer.at_id,
                )
            )
        await self._pass_on(answer)

    async def _go_on(self) -> None:
        while self._used >= self._limit:
            self._has_credit.clear()
            await self._has_credit.wait()
        before = self._seq
        loop = asyncio.get_running_loop()
        not_before = loop.time() + PACE_SECONDS
        answer = await self._ask(self._wait_seconds)
        if answer.epoch != self._epoch and not answer.is_gap:
            # Its frames do not say so, and would be taken for the ones that follow.
            raise self._unreadable("an answer is of another epoch than the cursor, and no gap was declared")
        if not answer.frames:
            self._say(Ping(n=0, at={self._wanted.sid: self._seq}))
        await self._pass_on(answer)
        if self._seq == before and not self._over:
            await asyncio.sleep(not_before - loop.time())

    async def _pass_on(self, answer: Answer) -> None:
        for frame in answer.frames:
            self._tell(to_json({**frame, "sid": self._wanted.sid}).decode())
            op = frame.get("op")
            if op == "events":
                self._follow(frame)
            elif op in ("gap", "ended"):
                self._over = True
                break
        await self._settled()

    def _follow(self, frame: JsonObject) -> None:
        """Goes on from what is told, whatever was asked for: whether the chain holds is the session's affair."""
        to, events = frame.get("to"), frame.get("events")
        if not isinstance(to, int) or not isinstance(events, list):
            raise self._unreadable("a frame of events lacks a field, or has one of the wrong type")
        listed = cast("list[object]", events)
        self._used += len(listed)
        last = listed[-1] if listed else None
        at_id = frame.get("at_id")
        if isinstance(last, dict) and (event := cast("JsonObject", last)).get("seq") == to:
            at_id = event.get("id")
        if to >= self._seq:
            self._reach(self._epoch, to, EventId(at_id) if isinstance(at_id, str) else None)

    def _reach(self, epoch: str, seq: int, at_id: EventId | None) -> None:
        """The id of the event at a place stays known as long as the place is the same."""
        if at_id is not None or (epoch, seq) != (self._epoch, self._seq):
            self._id = at_id
        self._word, self._epoch, self._seq = None, epoch, seq

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, wait_seconds: float | None) -> Answer:
        wanted = self._wanted
        params = [
            ("topic", wanted.topic),
            ("from", f"{self._epoch}:{self._seq}" if self._word is None else self._word),
            ("limit", str(min(self._limit - self._used, MOST_EVENTS))),
        ]
        if self._id is not None:
            params.append(("from_id", self._id))
        if wanted.types is not None:
            # No pattern at all matches nothing; no parameter would match everything.
            params += [("types", pattern) for pattern in wanted.types or [""]]
        if wait_seconds is not None:
            params.append(("wait_seconds", f"{wait_seconds:g}"))
        try:
            body = await self._asker.get(EVENTS_PATH, seconds=(wait_seconds or 0) + GRACE_SECONDS, params=params)
        except UnreadableFrameError as error:
            raise self._unreadable(str(error)) from None
        try:
            return Answer.model_validate_json(body)
        except ValidationError:
            raise self._unreadable("an answer is not JSON with the fields of the contract") from None

    def _unreadable(self, why: str) -> UnreadableFrameError:
        return UnreadableFrameError(why, sid=self._wanted.sid)

    def _say(self, frame: OwnFrame) -> None:
        self._tell(frame.model_dump_json(exclude_none=True))


def _refusal_of_one(refused: UpgradeRefusedError) -> str | None:
    """The `code` of the frame that refuses a subscription; None where the refusal is of more than that.

    A 403 in other words than the contract's is not the topic's: something on the way refuses.
    """
    if refused.status == 403 and refused.code == "forbidden":
        return "forbidden"
    return "invalid_subscription" if refused.status in _UNANSWERABLE else None
