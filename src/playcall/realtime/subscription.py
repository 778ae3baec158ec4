"""One subscription: its cursor, the chain of `prev` and `to`, and its credit (docs/realtime-protocol.md, «The client», rule 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter, lt
from typing import Literal

from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..models.frames import Subscribe, Subscribed, WireCursor
from ..models.ids import EventId
from .items import Gap, Want
from .runs import Stretch
from .states import Standing, SubscriptionState

__all__ = ["Subscription", "Taken", "Violation"]

_seq = attrgetter("seq")


@dataclass(frozen=True, slots=True)
class Violation:
    """The server broke the contract; `why` is a sentence for logs and errors."""

    why: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a frame brought that is new. `repeated` counts the events that were here already."""

    events: Sequence[AnyEvent]
    repeated: int


class Subscription:
    """What is wanted, and how far it has been received. Knows nothing of the connection beyond its own `sid`.

    `sid` is set while the server knows of it on this connection. `breaks` counts broken chains since the cursor last
    moved, `failed_connections` the connections closed over them. `gap` is set while the state after it is awaited.

    Args:
        moved: Called with the state before, whenever `state` has changed.
    """

    __slots__ = (
        "_limit",
        "_live_at",
        "_moved",
        "_start_word",
        "_state",
        "_used",
        "answered",
        "breaks",
        "buffered",
        "cursor",
        "failed_connections",
        "gap",
        "head",
        "key",
        "retries",
        "sid",
        "want",
    )

    def __init__(
        self, key: int, want: Want, moved: Callable[[Subscription, SubscriptionState], None] | None = None
    ) -> None:
        self.key = key
        self.want = want
        self._moved = moved
        self.cursor: Cursor | None = None
        self._start_word: Literal["start", "head"] = "head"
        if isinstance(want.start, Cursor):
            self.cursor = want.start
        else:
            self._start_word = want.start
        self.sid: str | None = None
        self._state = SubscriptionState.PENDING
        self.gap: Gap | None = None
        self.answered = False
        self.head: int | None = None
        """The newest entry of the log that was heard of."""
        self._live_at = 0
        self.buffered = 0
        self.breaks = 0
        self.failed_connections = 0
        self.retries = 0
        self._limit = 0
        self._used = 0

    @property
    def state(self) -> SubscriptionState:
        return self._state

    @state.setter
    def state(self, new: SubscriptionState) -> None:
        old, self._state = self._state, new
        if old is not new and self._moved is not None:
            self._moved(self, old)

    # --- asking -------------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more events the consumer's buffer takes."""
        return self.want.window - self.buffered

    def ask(self, sid: str, request_id: int) -> Subscribe:
        """The frame that subscribes from where we are, under a new `sid`. Needs `room`."""
        self.sid = sid
        self.answered = False
        self.state = SubscriptionState.PENDING
        self._limit = self.room
        self._used = 0
        want = self.want
        # Without a cursor the start is a word: a start that is a cursor became ours when this was made.
        start = WireCursor.of(self.cursor) if self.cursor is not None else self._start_word
        types = None if want.types is None else list(want.types)
        return Subscribe(id=request_id, sid=sid, topic=want.topic, types=types, from_=start, limit=self._limit)

    def detach(self) -> None:
        """The connection is gone, or the `sid` is: what is wanted stays wanted, from the same cursor."""
        self.sid = None
        self.answered = False
        self.state = SubscriptionState.PENDING

    def accepted(self, frame: Subscribed) -> Violation | None:
        """`subscribed` came: without a cursor of our own, it fixes where we begin."""
        if self.answered:
            return Violation("subscribed came twice for one sid")
        begins = _cursor(frame.epoch, frame.seq, frame.at_id)
        if begins is None or frame.head < frame.seq:
            return Violation("subscribed has no valid place in the log")
        if self.cursor is None:
            self.cursor = begins
        elif frame.epoch != self.cursor.epoch:
            return Violation("subscribed is of another epoch than the cursor, and no gap was declared")
        elif frame.seq > self.cursor.seq:
            return Violation(f"subscribed begins at {frame.seq}, after the cursor {self.cursor.seq}")
        elif begins == self.cursor and begins.event_id is not None:
            if self.cursor.event_id not in (None, begins.event_id):
                return Violation(f"another event stands at the cursor {self.cursor}, and no gap was declared")
            self.cursor = begins
        self.answered = True
        self.retries = 0
        self.head = self._live_at = frame.head
        self._look_live()
        return None

    # --- receiving ----------------------------------------------------------------------------------------------------

    def take(self, frame: Stretch) -> Taken | Violation:
        """Checks the frame against the chain and the credit, and moves the cursor; a violation moves nothing."""
        cursor = self.cursor
        if not self.answered or cursor is None:
            return Violation("events came before subscribed")
        events = frame.events
        prev, to = frame.prev, frame.to
        if prev > cursor.seq:
            return Violation(f"events begin after {prev}, the cursor is {cursor.seq}")
        if prev < 0 or to < prev:
            return Violation(f"events go from {prev} back to {to}")
        if events and (wrong := self._wrong_order([*map(_seq, events)], prev, to)):
            return Violation(wrong)
        if not events and self.want.types is None and to > prev:
            return Violation(f"no events between {prev} and {to}, although all types are wanted")
        if len(events) > self._limit - self._used:
            return Violation(f"{len(events)} events came on a credit of {self._limit - self._used}")
        self._used += len(events)
        fresh: Sequence[AnyEvent] = events
        if events and events[0].seq <= cursor.seq:
            fresh = [event for event in events if event.seq > cursor.seq]
        self.head = max(to, self.head or 0, frame.head or 0)
        if to > cursor.seq:
            self.cursor = Cursor(cursor.epoch, to, frame.id_at_end)
            self.breaks = 0
            self.failed_connections = 0
            self._look_live()
        self.buffered += len(fresh)
        return Taken(fresh, len(events) - len(fresh))

    def _wrong_order(self, seqs: list[int], prev: int, to: int) -> str | None:
        if self.want.types is None:
            if len(seqs) != to - prev or seqs != [*range(prev + 1, to + 1)]:
                return f"the events between {prev} and {to} are not consecutive"
        elif seqs[0] <= prev or seqs[-1] > to or not all(map(lt, seqs, seqs[1:])):
            return f"the events between {prev} and {to} are out of order"
        return None

    def is_behind(self, sent_up_to: int) -> bool:
        """Whether the server believes to have sent more than came: `at` of its ping, which comes after all of that."""
        return self.answered and self.cursor is not None and sent_up_to > self.cursor.seq

    @property
    def is_owed(self) -> bool:
        """Whether the server has more for it, and credit to send that."""
        return self.answered and self.state is SubscriptionState.REPLAYING and self._used < self._limit

    def _look_live(self) -> None:
        caught_up = self.cursor is not None and self.cursor.seq >= self._live_at
        if caught_up or self.state is SubscriptionState.LIVE:
            self.state = SubscriptionState.LIVE
        else:
            self.state = SubscriptionState.REPLAYING

    # --- credit -------------------------------------------------------------------------------------------------------

    def credit(self) -> int | None:
        """The new `limit` to send, once half of the window can be granted again; None while there is nothing to say."""
        target = self._used + self.room
        if not self.answered or target - self._limit < max(1, self.want.window // 2):
            return None
        self._limit = target
        return target

    @property
    def standing(self) -> Standing:
        return Standing(self.key, self.want.topic, self.want.types, self.state, self.cursor, self.head)


def _cursor(epoch: str, seq: int, event_id: EventId | None) -> Cursor | None:
    try:
        return Cursor(epoch, seq, event_id)
    except ValueError:
        return None
