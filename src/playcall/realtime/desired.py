"""What the user wants subscribed, reconciled with what the server says (docs/realtime-protocol.md, «The client», rules 1 to 5).

Methods that may find the connection unfit return the reason to close it, else None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..errors import EventGapError, PlaycallError, RealtimeError, RealtimeProtocolError, TopicForbiddenError
from ..models.frames import Credit, Ended, ErrorFrame, Events, Subscribe, Subscribed, Unsubscribe
from ..models.frames import Gap as GapFrame
from . import schedule
from .effects import (
    Answered,
    DeclareGap,
    Deliver,
    DeliverSnapshot,
    Effect,
    End,
    Send,
    SubscriptionMoved,
    TakeSnapshot,
)
from .items import Gap, Snapshot, Want
from .runs import Run, Stretch
from .states import SubscriptionChange, SubscriptionState
from .subscription import Subscription, Violation

__all__ = ["BREAK_LIMIT", "Desired"]

BREAK_LIMIT = 3
"""Broken chains without progress that close the connection; and such connections that end the subscription."""


class Desired:
    """All subscriptions of a session, by key; and, while connected, by the `sid` that the server knows them by.

    Args:
        emit: Takes the effects, in order.
        next_id: Numbers requests.
        random: Uniform in [0, 1).
    """

    def __init__(
        self, *, emit: Callable[[Effect], None], next_id: Callable[[], int], random: Callable[[], float]
    ) -> None:
        self._emit = emit
        self._next_id = next_id
        self._random = random
        self._all: dict[int, Subscription] = {}
        self._by_sid: dict[str, Subscription] = {}
        self._requests: dict[int, str] = {}
        """The `sid` that each unanswered request was for."""
        self._retry_at: dict[int, float] = {}
        self._last_key = 0
        self._last_sid = 0
        self.connected = False
        """Whether frames can be sent now."""
        self.progressed = False
        """Whether a cursor has moved on this connection."""
        self.received = 0
        self.repeated = 0
        self.gaps = 0
        self.problem: str | None = None
        """What broke in the last frame; the session takes it."""

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def all(self) -> list[Subscription]:
        return list(self._all.values())

    @property
    def next_timer(self) -> float:
        """When `tick` is wanted; infinite if never."""
        return min(self._retry_at.values(), default=math.inf)

    # --- the user and the connection ----------------------------------------------------------------------------------

    def add(self, want: Want) -> int:
        self._last_key += 1
        subscription = Subscription(self._last_key, want, self._moved)
        self._all[subscription.key] = subscription
        if self.connected:
            self._ask(subscription)
        return subscription.key

    def remove(self, key: int) -> None:
        subscription = self._forget(key)
        if subscription is not None and subscription.sid is not None and self.connected:
            self._send_unsubscribe(subscription.sid)

    def taken(self, key: int, count: int) -> None:
        """The consumer took `count` events, so there is room for as many."""
        subscription = self._all.get(key)
        if subscription is None:
            return
        subscription.buffered = max(0, subscription.buffered - count)
        if not self.connected:
            return
        if subscription.sid is None:
            if key not in self._retry_at:
                self._ask(subscription)
        else:
            self._grant(subscription)

    def connect(self) -> None:
        """Frames can be sent: subscribes all that is wanted, each from its cursor."""
        self.connected = True
        self.progressed = False
        for subscription in self.all:
            self._ask(subscription)

    def disconnect(self) -> None:
        """The connection is gone, with everything that the server knew by it."""
        self.connected = False
        self._by_sid.clear()
        self._requests.clear()
        self._retry_at.clear()
        for subscription in self._all.values():
            subscription.detach()

    def tick(self, now: float) -> None:
        """Asks again where the server said «not now»."""
        for key in [key for key, due in self._retry_at.items() if now >= due]:
            del self._retry_at[key]
            if (subscription := self._all.get(key)) is not None:
                self._ask(subscription)

    def end_all(self, error: PlaycallError) -> None:
        for subscription in self.all:
            self._end(subscription, error)

    def undone(self, effect: Effect, why: str) -> None:
        """The subscription that `effect` was for cannot go on."""
        subscription: Subscription | None = None
        if isinstance(effect, Deliver | DeclareGap | DeliverSnapshot | TakeSnapshot | Answered):
            subscription = self._all.get(effect.key)
        elif isinstance(effect, Send) and isinstance(effect.frame, Subscribe | Credit):
            subscription = self._by_sid.get(effect.frame.sid)
        if subscription is not None:
            self._end(subscription, RealtimeError(f"the subscription to {subscription.want.topic!r} ended {why}"))

    # --- frames -------------------------------------------------------------------------------------------------------

    def on_subscribed(self, frame: Subscribed) -> str | None:
        self._requests.pop(frame.id, None)
        subscription = self._by_sid.get(frame.sid)
        if subscription is None:
            return None
        violation = subscription.accepted(frame)
        if violation is not None:
            return self._broken(subscription, violation)
        assert subscription.cursor is not None  # noqa: S101 - accepted() has fixed it
        self._emit(Answered(subscription.key, subscription.cursor))
        return None

    def on_events(self, frame: Events) -> str | None:
        subscription = self._by_sid.get(frame.sid)
        if subscription is None:
            return None
        violation = self._take(subscription, frame)
        return None if violation is None else self._broken(subscription, violation)

    def on_run(self, run: Run) -> bool:
        """As `on_events`, of what stands for several; False where it is wrong, and then nothing has happened."""
        subscription = self._by_sid.get(run.sid)
        return subscription is None or self._take(subscription, run) is None

    def _take(self, subscription: Subscription, said: Stretch) -> Violation | None:
        before = subscription.cursor
        taken = subscription.take(said)
        if isinstance(taken, Violation):
            return taken
        assert subscription.cursor is not None  # noqa: S101 - take() needs one
        self.progressed = self.progressed or subscription.cursor != before
        events = taken.events
        self.received += len(events)
        self.repeated += taken.repeated
        self._emit(Deliver(subscription.key, events, subscription.cursor))
        if events and events[-1].terminal:
            self._end(subscription, None)
        else:
            self._grant(subscription)
        return None

    def on_sent_up_to(self, at: Mapping[str, int]) -> str | None:
        """The server's ping says how far it has sent each sid; all of that came before the ping."""
        for sid, seq in at.items():
            subscription = self._by_sid.get(sid)
            if subscription is not None and subscription.is_behind(seq):
                unfit = self._broken(subscription, Violation(f"the backend has sent up to {seq}, which did not arrive"))
                if unfit is not None:
                    return unfit
        return None

    def on_gap(self, frame: GapFrame) -> str | None:
        subscription = self._by_sid.get(frame.sid)
        if subscription is None:
            return None
        try:
            resume = frame.resume.cursor
            lost_after = subscription.cursor or frame.lost_after.cursor
        except ValueError:
            why = "a gap has no valid place to resume from"
            self._blame(subscription, why)
            return why
        topic = subscription.want.topic
        self.gaps += 1
        if subscription.want.on_gap == "raise":
            message = (
                f"events of {topic} after {lost_after} are gone ({frame.reason}); read the state anew over HTTP and "
                f'subscribe from its cursor, or from {resume}; on_gap="yield" or on_gap="snapshot" does it by itself'
            )
            error = EventGapError(message, topic=topic, reason=frame.reason, lost_after=lost_after, resume=resume)
            self._end(subscription, error)
            return None
        gap = Gap(topic, frame.reason, lost_after, resume)
        if subscription.want.on_gap == "snapshot":
            subscription.gap = gap
        else:
            self._emit(DeclareGap(subscription.key, gap))
            subscription.cursor = resume
        # One gap is the log's affair. Gap after gap without progress must not spin, and counts as a broken chain.
        return self._broken(subscription, None)

    def snapshot(self, key: int, snapshot: Snapshot) -> None:
        """The state after a gap has been read: what follows its cursor follows it in the stream."""
        subscription = self._all.get(key)
        if subscription is None or subscription.gap is None:
            return
        subscription.gap = None
        subscription.cursor = snapshot.cursor
        self._emit(DeliverSnapshot(key, snapshot))
        if self.connected:
            self._ask(subscription)

    def no_snapshot(self, now: float, key: int, error: PlaycallError, *, final: bool) -> None:
        """The state could not be read: the subscription ends, or it is tried again later."""
        subscription = self._all.get(key)
        if subscription is None or subscription.gap is None:
            return
        if final:
            self._end(subscription, error)
        elif self.connected:
            self._later(now, subscription)

    def on_ended(self, now: float, frame: Ended) -> None:
        subscription = self._by_sid.get(frame.sid)
        if subscription is None:
            return
        if frame.reason == "forbidden":
            self._end(subscription, _forbidden(subscription))
        elif frame.retry:
            self._later(now, subscription)
        else:
            self._end(subscription, None)

    def on_error(self, now: float, frame: ErrorFrame) -> None:
        asked = None if frame.id is None else self._requests.pop(frame.id, None)
        sid = frame.sid if asked is None else asked
        subscription = None if sid is None else self._by_sid.get(sid)
        if subscription is None:
            return  # no longer wanted, or asked for anew since
        if frame.code == "forbidden":
            self._end(subscription, _forbidden(subscription))
        elif frame.retry:
            self._later(now, subscription)
        else:
            topic = subscription.want.topic
            message = f"the backend refused the subscription to {topic}: {frame.message} ({frame.code})"
            self._end(subscription, RealtimeError(message, code=frame.code))

    def blame(self, why: str, sid: str | None = None) -> bool:
        """The connection ends over a frame for `sid`; or, if that cannot be told, over what the server was about to send.

        Returns whether anybody was found to blame: then the others need not suffer for it.
        """
        if sid is not None:
            subscription = self._by_sid.get(sid)
            blamed = [] if subscription is None else [subscription]
        else:
            blamed = [each for each in self.all if each.is_owed]
        for each in blamed:
            self._blame(each, why)
        return bool(blamed)

    # --- one subscription ---------------------------------------------------------------------------------------------

    def _ask(self, subscription: Subscription) -> None:
        """Subscribes from the cursor under a new sid; while the consumer's buffer is full, `taken` will do it.

        After a gap the state comes first, where the user wants it.
        """
        if subscription.sid is not None:
            self._drop_sid(subscription.sid)
            subscription.detach()
        if subscription.gap is not None:
            self._emit(TakeSnapshot(subscription.key, subscription.gap))
            return
        if subscription.room < 1:
            return
        self._last_sid += 1
        sid = f"s{self._last_sid}"
        request_id = self._next_id()
        self._by_sid[sid] = subscription
        self._requests[request_id] = sid
        self._emit(Send(subscription.ask(sid, request_id)))

    def _grant(self, subscription: Subscription) -> None:
        limit = subscription.credit()
        if limit is not None and subscription.sid is not None:
            self._emit(Send(Credit(sid=subscription.sid, limit=limit)))

    def _send_unsubscribe(self, sid: str) -> None:
        self._emit(Send(Unsubscribe(id=self._next_id(), sid=sid)))

    def _broken(self, subscription: Subscription, violation: Violation | None) -> str | None:
        """Subscribes anew from the cursor; the third time without progress makes the connection unfit.

        Without a `violation` the server has ended the sid itself (a gap), else we take it back.
        """
        why = f"the chain of {subscription.want.topic} broke: {violation.why if violation else 'gap after gap'}"
        if violation is not None:
            self.problem = why
        subscription.breaks += 1
        if subscription.breaks < BREAK_LIMIT:
            if violation is not None and subscription.sid is not None:
                self._send_unsubscribe(subscription.sid)
            self._ask(subscription)
            return None
        self._blame(subscription, why)
        return why

    def _blame(self, subscription: Subscription, why: str) -> None:
        """The connection ends over this subscription; the third time without progress it ends itself."""
        subscription.breaks = 0
        subscription.failed_connections += 1
        if subscription.failed_connections >= BREAK_LIMIT:
            self._end(subscription, RealtimeProtocolError(f"{why}, on {BREAK_LIMIT} connections one after another"))

    def _later(self, now: float, subscription: Subscription) -> None:
        """The server said no for now."""
        if subscription.sid is not None:
            self._drop_sid(subscription.sid)
        subscription.detach()
        subscription.retries += 1
        self._retry_at[subscription.key] = now + schedule.delay_seconds(subscription.retries, self._random)

    def _moved(self, subscription: Subscription, old: SubscriptionState) -> None:
        want = subscription.want
        change = SubscriptionChange(subscription.key, want.topic, want.types, old, subscription.state)
        self._emit(SubscriptionMoved(change))

    def _end(self, subscription: Subscription, error: PlaycallError | None) -> None:
        self._forget(subscription.key)
        self._emit(End(subscription.key, error))

    def _forget(self, key: int) -> Subscription | None:
        subscription = self._all.pop(key, None)
        if subscription is not None:
            if subscription.sid is not None:
                self._drop_sid(subscription.sid)
            subscription.state = SubscriptionState.ENDED
            self._retry_at.pop(key, None)
        return subscription

    def _drop_sid(self, sid: str) -> None:
        """Whatever comes for it from now on, an answer included, is too late."""
        subscription = self._by_sid.pop(sid, None)
        if subscription is not None and not subscription.answered:
            self._requests = {each: asked for each, asked in self._requests.items() if asked != sid}


def _forbidden(subscription: Subscription) -> TopicForbiddenError:
    topic = subscription.want.topic
    return TopicForbiddenError(f"there is no topic {topic!r}, or it is not for this caller", topic=topic)
