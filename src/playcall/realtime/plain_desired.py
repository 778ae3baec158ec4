"""What is wanted of somebody else's server: consumers by topic, and one subscription on the wire for all of a topic."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from ..errors import EventsMissedError, PlaycallError, RealtimeError, TopicForbiddenError
from .effects import Answered, Effect, End, Give, SendText, SubscriptionMoved, TellGap
from .items import Want
from .plain_consumer import PlainConsumer
from .plain_items import PlainEvent
from .plain_protocol import MessageError, PlainSockets
from .states import SubscriptionChange, SubscriptionState

__all__ = ["PlainDesired"]

ANSWER_SECONDS = 10.0
"""For the answer to a subscription, where the server gives one; then it is asked again, after twice the time each."""
LAST_ANSWER_SECONDS = 300.0


class _Topic:
    """One subscription on the wire, for at least one consumer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.consumers: dict[int, PlainConsumer] = {}
        self.in_force = False
        self.asked = 0
        """How often, on this connection."""


class PlainDesired:
    """All consumers, by topic.

    Args:
        emit: Takes the effects, in order.
    """

    def __init__(self, protocol: PlainSockets, *, emit: Callable[[Effect], None]) -> None:
        self._protocol = protocol
        self._emit = emit
        self._topics: dict[str, _Topic] = {}
        self._by_key: dict[int, PlainConsumer] = {}
        self._ask_at: dict[str, float] = {}
        """When to ask again for each topic that is not answered yet."""
        self._last_key = 0
        self._connected = False
        self.progressed = False
        """Whether an event or an answer has come on this connection."""
        self.received = 0
        self.repeated = 0
        self.gaps = 0
        self.problem: str | None = None
        """What went wrong last; the session takes it."""

    def __bool__(self) -> bool:
        return bool(self._by_key)

    @property
    def all(self) -> list[PlainConsumer]:
        return list(self._by_key.values())

    @property
    def next_timer(self) -> float:
        return min(self._ask_at.values(), default=math.inf)

    # --- the user and the connection ----------------------------------------------------------------------------------

    def add(self, now: float, want: Want) -> int:
        self._last_key += 1
        key = self._last_key
        consumer = PlainConsumer(key, want, remembered=self._protocol.remembered_ids, moved=self._moved)
        self._by_key[key] = consumer
        topic = self._topics.setdefault(want.topic, _Topic(want.topic))
        topic.consumers[key] = consumer
        if topic.in_force:
            self._admit(now, consumer)
        elif self._connected and not topic.asked:
            self._ask(now, topic)
        return key

    def remove(self, key: int) -> None:
        """With its last consumer, the topic's subscription ends."""
        consumer = self._by_key.pop(key, None)
        if consumer is None:
            return
        consumer.state = SubscriptionState.ENDED
        topic = self._topics[consumer.want.topic]
        del topic.consumers[key]
        if topic.consumers:
            return
        del self._topics[topic.name]
        self._ask_at.pop(topic.name, None)
        if topic.asked:  # on this connection
            try:
                text = self._protocol.message("unsubscribe", topic.name)
            except MessageError as error:
                self.problem = str(error)
                return
            if text is not None:
                self._emit(SendText(text))

    def taken(self, key: int, count: int) -> None:
        if (consumer := self._by_key.get(key)) is not None:
            consumer.taken(count)
            self._tell_due(consumer)

    def connect(self, now: float) -> None:
        """Messages can be sent: subscribes all that is wanted."""
        self._connected = True
        self.progressed = False
        for topic in list(self._topics.values()):
            self._ask(now, topic)

    def disconnect(self, began_at: datetime, since: float) -> None:
        """Nothing comes any more, since then: on the calendar, and on the session's clock."""
        self._connected = False
        self._ask_at.clear()
        for topic in self._topics.values():
            topic.in_force, topic.asked = False, 0
            for consumer in topic.consumers.values():
                consumer.lost(began_at, since)

    def tick(self, now: float) -> None:
        """Asks again where no answer came."""
        for name in [name for name, due in self._ask_at.items() if now >= due]:
            self.problem = f"the subscription to {name!r} was not answered"
            self._ask(now, self._topics[name])

    def end(self, key: int, error: PlaycallError | None) -> None:
        if key in self._by_key:
            self.remove(key)
            self._emit(End(key, error))

    def end_all(self, error: PlaycallError) -> None:
        for consumer in self.all:
            self.end(consumer.key, error)

    # --- messages -----------------------------------------------------------------------------------------------------

    def on_subscribed(self, now: float, name: str) -> None:
        self.progressed = True
        if (topic := self._topics.get(name)) is not None:
            self._in_force(now, topic)

    def on_forbidden(self, name: str) -> None:
        topic = self._topics.get(name)
        if topic is None:
            return
        topic.asked = 0  # the server has nothing to unsubscribe
        for consumer in list(topic.consumers.values()):
            self.end(consumer.key, TopicForbiddenError(f"the server refused the subscription to {name!r}", topic=name))

    def on_event(self, now: float, name: str | None, event: Callable[[], PlainEvent], type_: str) -> bool:
        """An event of the topic `name`, or of all where None; `event` reads it. Returns whether anybody wanted it."""
        topics = list(self._topics.values()) if name is None else [self._topics[name]] if name in self._topics else []
        for topic in topics:
            self._in_force(now, topic)  # if it was not answered, it is now
            self.progressed = True
        takers = [each for topic in topics for each in topic.consumers.values() if each.wants(type_)]
        if takers:
            read = event()
            for consumer in takers:
                self._give(now, consumer, read)
        return bool(takers)

    def _give(self, now: float, consumer: PlainConsumer, event: PlainEvent) -> None:
        taken = consumer.take(now, event)
        if taken == "repeated":
            self.repeated += 1
        elif isinstance(taken, PlainEvent):
            self.received += 1
            self._emit(Give(consumer.key, taken))

    # --- one topic, one consumer --------------------------------------------------------------------------------------

    def _ask(self, now: float, topic: _Topic) -> None:
        try:
            text = self._protocol.message("subscribe", topic.name)
        except MessageError as error:
            self.problem = str(error)
            for consumer in list(topic.consumers.values()):
                self.end(consumer.key, RealtimeError(f"the subscription to {topic.name!r} cannot be sent: {error}"))
            return
        topic.asked += 1
        if text is not None:
            self._emit(SendText(text, topic.name))
        if text is None or self._protocol.subscribed is None:
            self._in_force(now, topic)
        else:
            self._ask_at[topic.name] = now + min(LAST_ANSWER_SECONDS, ANSWER_SECONDS * 2.0 ** min(topic.asked - 1, 30))

    def _in_force(self, now: float, topic: _Topic) -> None:
        if topic.in_force:
            return
        topic.in_force = True
        self._ask_at.pop(topic.name, None)
        for consumer in list(topic.consumers.values()):
            self._admit(now, consumer)

    def _admit(self, now: float, consumer: PlainConsumer) -> None:
        consumer.in_force(now)
        self._emit(Answered(consumer.key, None))
        self._tell_due(consumer)

    def _tell_due(self, consumer: PlainConsumer) -> None:
        gap = consumer.due_gap()
        if gap is None:
            return
        self.gaps += 1
        on_gap = consumer.want.on_gap
        if on_gap == "raise":
            self.end(consumer.key, EventsMissedError(f"{gap}; subscribe again, then read the state anew", gap=gap))
        else:
            self._emit(TellGap(consumer.key, gap, in_stream=on_gap == "yield"))

    def undone(self, effect: Effect, why: str) -> None:
        """What `effect` was for cannot go on."""
        if isinstance(effect, Give | TellGap | Answered):
            keys = [effect.key]
        elif isinstance(effect, SendText) and effect.topic in self._topics:
            keys = list(self._topics[effect.topic].consumers)
        else:
            return
        for key in keys:
            topic = self._by_key[key].want.topic if key in self._by_key else ""
            self.end(key, RealtimeError(f"the subscription to {topic!r} ended {why}"))

    def _moved(self, consumer: PlainConsumer, old: SubscriptionState) -> None:
        want = consumer.want
        self._emit(SubscriptionMoved(SubscriptionChange(consumer.key, want.topic, want.types, old, consumer.state)))
