"""The client's half of other people's contracts, without I/O: facts in, effects out, as `Session` for ours.

The life of the connection is the `Lifeline`'s, what the server speaks the user's `PlainSockets`, who wants what of it
`plain_desired`'s; here is in what order messages are understood. The far end does not resume: every loss of the connection
is a gap for everybody who was subscribed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from ..errors import InvalidArgumentError, PlaycallError, RealtimeAuthError, RealtimeError
from . import schedule
from .closes import Reaction
from .effects import Disconnect, Effect, Introduce, Puzzled, SendText
from .items import Snapshot, Want
from .lifeline import UP, Lifeline
from .plain_desired import PlainDesired
from .plain_items import PlainEvent
from .plain_protocol import MessageError, PlainSockets, as_text
from .states import ConnectionState, Standing, Tally

__all__ = ["PlainSession"]

T = TypeVar("T")

_UNSAID = 1000
"""The close code of ours for all reasons: the far end's own codes are the far end's."""


class PlainSession(Lifeline):
    """What is wanted, what has been received, and what to do next.

    Args:
        random: Uniform in [0, 1).
        wall_clock: The moment that a calendar shows, in UTC.
    """

    def __init__(
        self, protocol: PlainSockets, *, random: Callable[[], float], wall_clock: Callable[[], datetime]
    ) -> None:
        super().__init__(random=random, fallback=False)
        self.max_frame_bytes = protocol.max_message_bytes
        self._protocol = protocol
        self._wall_clock = wall_clock
        self.desired = PlainDesired(protocol, emit=self._emit)
        self._unreadable = 0
        self._passed_over = 0
        self._fault: str | None = None
        """What could not be read of the message in hand."""
        self._is_puzzled = False
        self._ping_at = math.inf

    # --- what is wanted -----------------------------------------------------------------------------------------------

    def subscribe(self, now: float, want: Want) -> int:
        self._want(now)
        key = self.desired.add(now, want)
        self._take_problem()
        return key

    def unsubscribe(self, key: int) -> None:
        self.desired.remove(key)
        self._want_less()

    def taken(self, key: int, count: int) -> None:
        self.desired.taken(key, count)

    def undone(self, effect: Effect, why: str) -> None:
        self.problem = why
        self.desired.undone(effect, why)

    def check(self, want: Want) -> None:
        try:
            self._protocol.message("subscribe", want.topic)
        except MessageError as error:
            raise InvalidArgumentError(f"the subscription to {want.topic!r} cannot be sent: {error}") from None

    @property
    def tally(self) -> Tally:
        desired = self.desired
        return Tally(desired.received, desired.repeated, desired.gaps, self._unreadable, self._passed_over)

    @property
    def standings(self) -> list[Standing]:
        return [each.standing for each in self.desired.all]

    # --- what our contract has, and no other --------------------------------------------------------------------------

    def token(self, now: float, bearer: str | None) -> None:
        """Never asked for: a server that lets a token expire closes, and the next connection brings a newer one."""

    def snapshot(self, key: int, snapshot: Snapshot) -> None:
        """Never asked for."""

    def no_snapshot(self, now: float, key: int, error: PlaycallError, *, final: bool) -> None:
        """Never asked for."""

    # --- what happens -------------------------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        super().opened(now)
        if self._protocol.auth is not None:
            self._emit(Introduce())
        elif self._protocol.is_accepted is None:
            self._taken_in(now, "the connection is open")

    def introduce(self, now: float, token: str | None) -> None:
        if self.state is not ConnectionState.AUTHENTICATING:
            return
        if token is None:
            self._give_in(RealtimeAuthError("auth makes a message of a token, and the client has none: give it auth="))
            return
        try:
            text = self._protocol.message("auth", token)
        except MessageError as error:
            self._give_in(RealtimeAuthError(f"the server cannot be told who is calling: {error}"))
            return
        if text is not None:
            self._emit(SendText(text))
        if self._protocol.is_accepted is None:
            self._taken_in(now, "who is calling has been said")

    def refused(self, now: float, status: int, retry_after_seconds: float | None = None, detail: str = "") -> None:
        """403 is what Starlette and FastAPI answer for every socket that they close before they accept it."""
        if status == 403:
            why = "the upgrade was answered 403: the credentials were refused, or no WebSocket is at this path"
            self._ended(now, Reaction.RENEW, why, code=status)
        else:
            super().refused(now, status, retry_after_seconds, detail)

    def closed(self, now: float, code: int, reason: str = "") -> None:
        self._look_settled(now)
        if code in self._protocol.fatal_closes and self.state in UP:
            said = f" ({reason})" if reason else ""
            self._give_in(
                RealtimeError(f"the server closed the connection with {code}{said}, which is final", code=code)
            )
        else:
            super().closed(now, code, reason)

    def receive(self, now: float, text: str) -> str:
        if self.state not in UP:
            return "late"
        self._heard_at = now
        try:
            message: object = json.loads(text)
        except (ValueError, RecursionError):
            return self._not_read("a message came that is no JSON")
        kind = self._understand(now, message)
        self._take_problem()
        if self._fault is not None:
            fault, self._fault = self._fault, None
            self._not_read(fault)
            return "unreadable" if kind == "passed over" else kind
        if kind == "passed over":
            self._passed_over += 1
        return kind

    def _not_read(self, why: str) -> str:
        self._unreadable += 1
        self.problem = why
        if not self._is_puzzled:
            self._is_puzzled = True
            self._emit(Puzzled(why))
        return "unreadable"

    def unreadable(self, now: float, why: str, *, code: int = 1002, sid: str | None = None) -> None:
        self._unfit(now, why, code=code)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _understand(self, now: float, message: object) -> str:
        """Does what `message` asks for; returns what kind it was."""
        protocol = self._protocol
        if self._may_be_refused and bool(self._ask(protocol.said, "is_refused", message)):
            self._look_settled(now)
            self._emit(Disconnect(_UNSAID, "the credentials were refused"))
            self._ended(now, Reaction.RENEW, "the server refused the credentials")
            return "refused"
        if self.state is ConnectionState.AUTHENTICATING and bool(self._ask(protocol.said, "is_accepted", message)):
            self._taken_in(now, "the server has taken us in")
            self._renewed = False
            return "accepted"
        if (answer := self._ask(protocol.message, "reply", message)) is not None:
            self._emit(SendText(answer))
        if self.state is not ConnectionState.READY:
            return "passed over"
        if (topic := self._ask(protocol.named, "subscribed", message)) is not None:
            self.desired.on_subscribed(now, topic)
            return "subscribed"
        if (topic := self._ask(protocol.named, "forbidden", message)) is not None:
            self.desired.on_forbidden(topic)
            return "forbidden"
        type_ = "message" if protocol.type_of is None else self._ask(protocol.named, "type_of", message)
        if type_ is None:
            return "ignored" if answer is not None else "passed over"
        if protocol.is_ignored(type_):
            return "ignored"
        topic = self._ask(protocol.named, "topic_of", message)
        if topic is None and protocol.topic_of is not None:
            return "ignored" if answer is not None else "passed over"
        wanted = self.desired.on_event(now, topic, partial(self._event, message, type_, topic or ""), type_)
        if wanted:
            self._renewed = False  # the credentials are good for something
        return "event" if wanted else "passed over"

    def _ask(self, ask: Callable[[str, object], T], name: str, message: object) -> T | None:
        """What the protocol's function says; one that raises says nothing, and is noted: it may be a slip, or this message."""
        try:
            return ask(name, message)
        except MessageError as error:
            self._fault = f"a message cannot be read: {error}"
            return None

    def _event(self, message: object, type_: str, topic: str) -> PlainEvent:
        """Somebody's, so it is given whatever is wrong with it."""
        unreadable: str | None = None
        id_: str | None = None
        data = message
        try:
            id_ = self._protocol.named("id_of", message)
            data, unreadable = self._protocol.data_in(message, type_)
        except MessageError as error:
            unreadable = str(error)
        if unreadable is not None:
            self._fault = f"the data of an event {type_!r} cannot be read: {unreadable}"
        return PlainEvent(type_, topic, id_, data, self._wall_clock(), None, unreadable)

    @property
    def _may_be_refused(self) -> bool:
        if self._protocol.is_refused is None:
            return False
        if self.state is ConnectionState.AUTHENTICATING:
            return True
        return self._protocol.is_accepted is None and not self.desired.progressed

    # --- what the lifeline asks ---------------------------------------------------------------------------------------

    @property
    def _is_wanted(self) -> bool:
        return bool(self.desired)

    @property
    def _has_progressed(self) -> bool:
        return self.desired.progressed

    def _greet(self, now: float) -> None:
        """What is said first may need a token: see `opened`."""

    def _forget(self) -> None:
        self._ping_at = math.inf
        self._is_puzzled = False
        if self._broke is None:  # it has never been of use to anybody
            self.desired.disconnect(self._wall_clock(), 0.0)
            return
        found = self._broke[1]
        # After a silence whatever was sent since the last sign of life may have been lost.
        since = self._heard_at if found >= self._dead_at else found
        self.desired.disconnect(self._wall_clock() - timedelta(seconds=found - since), since)

    def _end_all(self, error: PlaycallError) -> None:
        self.desired.end_all(error)

    def _blame(self, why: str) -> bool:
        return False

    def _reaction_to(self, code: int) -> Reaction:
        """What is above 3999 is each server's own affair (RFC 6455 section 7.4.2)."""
        if code in self._protocol.refused_closes:
            return Reaction.RENEW
        return Reaction.RECONNECT if code >= 4000 or code == 1008 else super()._reaction_to(code)

    @property
    def _ready_timer(self) -> float:
        return min(self._ping_at, self.desired.next_timer)

    def _tick_ready(self, now: float) -> None:
        if now >= self._ping_at:
            self._ping(now)
        self.desired.tick(now)
        self._take_problem()

    # --- small things -------------------------------------------------------------------------------------------------

    def _taken_in(self, now: float, why: str) -> None:
        renewed = self._renewed
        silence = self._protocol.silence_seconds
        self._ready(now, why, silence_seconds=math.inf if silence is None else silence)
        # What nobody has confirmed proves nothing: a server may take everybody in, and close once it has looked.
        self._renewed = renewed
        self.desired.connect(now)
        self._take_problem()
        if self._protocol.ping is not None:
            self._ping(now)

    def _look_settled(self, now: float) -> None:
        if self._ready_since is not None and now - self._ready_since >= schedule.SETTLED_SECONDS:
            self._renewed = False

    def _ping(self, now: float) -> None:
        self._ping_at = now + self._protocol.ping_seconds
        self._emit(SendText(as_text(self._protocol.ping, "ping")))

    def _give_in(self, error: RealtimeError) -> None:
        """Closes for good: nothing that we could try again would change it."""
        self._emit(Disconnect(_UNSAID, "it is of no use"))
        self._down()
        self._fail(error)

    def _take_problem(self) -> None:
        if self.desired.problem is not None:
            self.problem, self.desired.problem = self.desired.problem, None
