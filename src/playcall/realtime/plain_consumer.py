"""One consumer of other people's events: what it wants, what has come before, how much waits, and what it has missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from .items import Want
from .patterns import matches
from .plain_items import PlainEvent, PlainGap
from .states import Standing, SubscriptionState

__all__ = ["Missed", "PlainConsumer"]


@dataclass(frozen=True, slots=True)
class Missed:
    """What a gap will tell; `since`, which is `began_at` on the session's clock, and `until` are for its length."""

    began_at: datetime
    since: float
    until: float
    disconnected: bool
    dropped: int = 0

    def and_then(self, later: Missed) -> Missed:
        """Both as one, for there was no telling the first in time."""
        return Missed(
            self.began_at,
            self.since,
            max(self.until, later.until),
            self.disconnected or later.disconnected,
            self.dropped + later.dropped,
        )

    def as_gap(self, topic: str) -> PlainGap:
        reason: Literal["disconnected", "overflow"] = "disconnected" if self.disconnected else "overflow"
        return PlainGap(topic, reason, self.began_at, self.until - self.since, self.dropped)


class PlainConsumer:
    """Never holds more than `want.window` items for its consumer (two at least): the far end knows no credit.

    What has no room is dropped, counted, and told as a gap before the next event. The other way, to read no more until
    there is room, would hold up every other topic, and leave the far end's pings unanswered until it hangs up.

    Args:
        remembered: How many ids it remembers.
        moved: Called with the state before, whenever `state` has changed.
    """

    def __init__(
        self,
        key: int,
        want: Want,
        *,
        remembered: int,
        moved: Callable[[PlainConsumer, SubscriptionState], None],
    ) -> None:
        self.key = key
        self.want = want
        self._capacity = max(2, want.window)  # a gap always leaves room for an event
        self._remembered = remembered
        self._moved = moved
        self._state = SubscriptionState.PENDING
        self._ids: dict[str, None] = {}
        self._waiting = 0
        self._lost: tuple[datetime, float] | None = None
        self._untold: Missed | None = None
        self._before: Missed | None = None
        """What has been told since the last event."""

    @property
    def state(self) -> SubscriptionState:
        return self._state

    @state.setter
    def state(self, new: SubscriptionState) -> None:
        old, self._state = self._state, new
        if old is not new:
            self._moved(self, old)

    @property
    def is_in_force(self) -> bool:
        return self._state is SubscriptionState.LIVE

    @property
    def standing(self) -> Standing:
        return Standing(self.key, self.want.topic, self.want.types, self.state, None, None)

    # --- the connection -----------------------------------------------------------------------------------------------

    def in_force(self, now: float) -> None:
        """Events come from now on: those between `lost` and now are missing."""
        self.state = SubscriptionState.LIVE
        if self._lost is not None:
            self._miss(Missed(*self._lost, now, disconnected=True))
            self._lost = None

    def lost(self, began_at: datetime, since: float) -> None:
        """No events come any more. Where none came before either, nothing is missed: its time has not begun."""
        if self.is_in_force:
            self._lost = (began_at, since)
        self.state = SubscriptionState.PENDING

    # --- the consumer -------------------------------------------------------------------------------------------------

    def taken(self, count: int) -> None:
        self._waiting = max(0, self._waiting - count)

    def due_gap(self) -> PlainGap | None:
        """The gap that can be told now, once; None while there is none, or no room for it and an event after it."""
        missed = self._untold
        if missed is None or self._waiting + 2 > self._capacity:
            return None
        self._untold = None
        if self.want.on_gap == "yield":
            self._waiting += 1
        self._before = missed if self._before is None else self._before.and_then(missed)
        return missed.as_gap(self.want.topic)

    def wants(self, type_: str) -> bool:
        types = self.want.types
        return types is None or any(matches(pattern, type_) for pattern in types)

    def take(self, now: float, event: PlainEvent) -> PlainEvent | Literal["repeated", "dropped"]:
        """One event that it wants, just received: as it is to be given, or why it is not. A due gap was told by now."""
        if event.id is not None and event.id in self._ids:
            return "repeated"
        if self._untold is not None or self._waiting >= self._capacity:
            self._miss(Missed(event.received_at, now, now, disconnected=False, dropped=1))
            return "dropped"
        self._waiting += 1
        if event.id is not None and self._remembered:
            self._ids[event.id] = None
            if len(self._ids) > self._remembered:
                del self._ids[next(iter(self._ids))]
        after_gap = None if self._before is None else self._before.as_gap(self.want.topic)
        self._before = None
        return replace(event, topic=self.want.topic, after_gap=after_gap)

    def _miss(self, missed: Missed) -> None:
        self._untold = missed if self._untold is None else self._untold.and_then(missed)
