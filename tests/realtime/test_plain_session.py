"""Other people's sockets as data: what the session asks for when a server of no contract does this or that."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from pydantic import BaseModel, ConfigDict, field_validator

from playcall.errors import (
    ClientClosedError,
    ConfigurationError,
    EventsMissedError,
    InvalidArgumentError,
    RealtimeAuthError,
    RealtimeError,
    RealtimeProtocolError,
    TopicForbiddenError,
)
from playcall.realtime.effects import (
    Answered,
    Connect,
    Disconnect,
    Effect,
    End,
    Give,
    Introduce,
    Moved,
    Puzzled,
    RenewCredentials,
    SendText,
    SubscriptionMoved,
    TellGap,
)
from playcall.realtime.items import Want
from playcall.realtime.plain_items import PlainEvent, PlainGap
from playcall.realtime.plain_protocol import PlainSockets
from playcall.realtime.plain_session import PlainSession
from playcall.realtime.states import ConnectionState, SubscriptionState

E = TypeVar("E", bound=Effect)
BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)

OPEN = PlainSockets()
"""Everybody gets everything of a topic that is wanted, and nothing need be said."""
SPOKEN: dict[str, Any] = {
    "subscribe": lambda topic: {"do": "subscribe", "topic": topic},
    "unsubscribe": lambda topic: {"do": "unsubscribe", "topic": topic},
}
ANSWERED: dict[str, Any] = {
    **SPOKEN,
    "subscribed": "now_in",
    "forbidden": "not_in",
}
LOGIN: dict[str, Any] = {
    "auth": lambda token: {"do": "login", "token": token},
    "is_accepted": lambda message: message.get("login") == "ok",
    "is_refused": lambda message: message.get("login") == "no",
}


class Talk:
    """A session and a hand that plays its driver; `effects` holds what was asked for since the last `forget()`."""

    def __init__(self, protocol: PlainSockets = OPEN, *, token: str | None = "t1") -> None:
        self.now = 1_000.0
        self.token = token
        self.effects: list[Effect] = []
        self.session = PlainSession(protocol, random=lambda: 0.5, wall_clock=self.wall)

    def wall(self) -> datetime:
        return BEGAN_AT + timedelta(seconds=self.now - 1_000.0)

    def collect(self) -> None:
        while effects := self.session.take_effects():
            self.effects += effects
            for effect in effects:
                if isinstance(effect, Introduce):
                    self.session.introduce(self.now, self.token)

    def forget(self) -> None:
        self.collect()
        self.effects.clear()

    def all(self, kind: type[E]) -> list[E]:
        self.collect()
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def sent(self) -> list[Any]:
        return [json.loads(each.text) for each in self.all(SendText)]

    def subscribe(self, topic: str = "orders", **want: Any) -> int:
        return self.session.subscribe(self.now, Want(topic, **{"on_gap": "yield", **want}))

    def open(self) -> None:
        self.session.opened(self.now)
        self.collect()

    def live(self, topic: str = "orders", **want: Any) -> int:
        """A subscription in force; what led there is forgotten."""
        key = self.subscribe(topic, **want)
        if self.session.state is not ConnectionState.READY:
            self.open()
        self.forget()
        return key

    def say(self, message: object) -> str:
        return self.session.receive(self.now, json.dumps(message))

    def event(self, id: object = None, type: str = "order.placed", topic: str = "orders", **data: Any) -> str:
        return self.say({"type": type, "topic": topic, "id": id, "data": data})

    def break_for(self, seconds: float) -> None:
        """The connection breaks; it is back after at least so long."""
        self.session.lost(self.now, "cut")
        self.pass_time(seconds)
        self.end_pause()
        self.open()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.session.next_timer <= end and self.session.state is not ConnectionState.CONNECTING:
            self.now = max(self.now, self.session.next_timer)
            self.session.tick(self.now)
            self.collect()
        self.now = max(self.now, end)

    def end_pause(self) -> None:
        if self.session.state is ConnectionState.BACKOFF:
            self.now = max(self.now, self.session.next_timer)
            self.session.tick(self.now)

    def items(self, key: int | None = None) -> list[PlainEvent | PlainGap]:
        """What consumers were given, in order."""
        self.collect()
        return [
            effect.event if isinstance(effect, Give) else effect.gap
            for effect in self.effects
            if (isinstance(effect, Give) or (isinstance(effect, TellGap) and effect.in_stream))
            and key in (None, effect.key)
        ]

    def ids(self, key: int | None = None) -> list[str | None]:
        return [each.id if isinstance(each, PlainEvent) else "gap" for each in self.items(key)]


# --- what is wanted ---------------------------------------------------------------------------------------------------


def test_a_topic_is_subscribed_once_for_all_its_consumers_and_unsubscribed_after_the_last() -> None:
    talk = Talk(PlainSockets(**SPOKEN))
    first = talk.live()
    second = talk.subscribe()
    assert talk.sent == []
    assert [each.key for each in talk.all(Answered)] == [second]
    talk.event("1")
    assert (talk.ids(first), talk.ids(second)) == (["1"], ["1"])
    talk.session.unsubscribe(first)
    assert talk.sent == []
    talk.session.unsubscribe(second)
    talk.session.unsubscribe(second)
    assert talk.sent == [{"do": "unsubscribe", "topic": "orders"}]
    assert talk.event("2") == "passed over"


def test_what_is_wanted_before_there_is_a_connection_is_subscribed_once_it_is_open_and_on_each_later_one() -> None:
    talk = Talk(PlainSockets(**SPOKEN))
    key = talk.subscribe("orders")
    talk.session.unsubscribe(talk.subscribe("stock"))
    assert len(talk.all(Connect)) == 1
    assert talk.all(Answered) == []
    talk.open()
    assert talk.sent == [{"do": "subscribe", "topic": "orders"}]
    assert [each.key for each in talk.all(Answered)] == [key]
    for _ in range(3):
        talk.forget()
        talk.break_for(1)
        assert talk.sent == [{"do": "subscribe", "topic": "orders"}]


def test_an_answer_is_awaited_where_the_server_gives_one_and_asked_for_again_ever_more_patiently() -> None:
    talk = Talk(PlainSockets(**ANSWERED))
    key = talk.subscribe()
    talk.open()
    talk.pass_time(9)
    assert talk.all(Answered) == []
    talk.pass_time(2)
    assert talk.session.problem == "the subscription to 'orders' was not answered"
    assert len(talk.sent) == 2
    talk.pass_time(15)
    assert len(talk.sent) == 2
    talk.pass_time(10)
    assert len(talk.sent) == 3
    assert talk.session.standings[0].state is SubscriptionState.PENDING
    assert talk.say({"now_in": "orders"}) == "subscribed"
    assert [each.key for each in talk.all(Answered)] == [key]
    assert talk.session.standings[0].state is SubscriptionState.LIVE
    talk.pass_time(10_000)
    assert len(talk.sent) == 3


def test_a_second_consumer_of_a_topic_that_is_not_answered_yet_asks_for_nothing_and_shares_the_answer() -> None:
    talk = Talk(PlainSockets(**ANSWERED))
    first = talk.subscribe()
    talk.open()
    second = talk.subscribe()
    assert len(talk.sent) == 1
    assert talk.all(Answered) == []
    talk.say({"now_in": "orders"})
    assert [each.key for each in talk.all(Answered)] == [first, second]


def test_what_ends_while_there_is_no_connection_needs_no_word_on_the_next_one() -> None:
    talk = Talk(PlainSockets(**SPOKEN, **LOGIN))
    talk.live()
    talk.say({"login": "ok"})
    key = talk.subscribe("stock")
    talk.session.lost(talk.now, "cut")
    talk.forget()
    talk.session.opened(talk.now)
    talk.session.unsubscribe(key)
    assert talk.sent == [{"do": "login", "token": "t1"}]
    talk.say({"login": "ok"})
    assert talk.sent[1:] == [{"do": "subscribe", "topic": "orders"}]


def test_an_event_of_a_topic_is_as_good_as_the_answer() -> None:
    talk = Talk(PlainSockets(**ANSWERED))
    key = talk.subscribe()
    talk.open()
    talk.event("1")
    assert [each.key for each in talk.all(Answered)] == [key]
    assert talk.ids(key) == ["1"]


def test_a_refused_topic_ends_its_consumers_and_nobody_else() -> None:
    talk = Talk(PlainSockets(**ANSWERED))
    key, other = talk.subscribe(), talk.subscribe("stock")
    talk.open()
    talk.forget()
    assert talk.say({"not_in": "orders"}) == "forbidden"
    [end] = talk.all(End)
    assert (end.key, type(end.error)) == (key, TopicForbiddenError)
    assert talk.sent == []  # there is nothing to unsubscribe
    assert [each.key for each in talk.session.standings] == [other]
    assert talk.say({"not_in": "orders"}) == "forbidden"
    assert talk.say({"now_in": "orders"}) == "subscribed"


def test_types_are_patterns_and_each_consumer_has_its_own() -> None:
    talk = Talk()
    all_, placed, none = talk.live(), talk.live(types=("*.placed", "x")), talk.live(types=("order",))
    talk.event("1", "order.placed")
    talk.event("2", "order.shipped")
    assert (talk.ids(all_), talk.ids(placed), talk.ids(none)) == (["1", "2"], ["1"], [])
    assert talk.session.tally.received == 3


def test_without_topics_every_consumer_gets_every_message_under_the_name_that_it_gave() -> None:
    talk = Talk(PlainSockets(topic_of=None, type_of=None, data_of=None, id_of="n"))
    first, second = talk.live("a"), talk.live("b")
    talk.say({"n": 7, "price": 3})
    assert talk.items(first) == [PlainEvent("message", "a", "7", {"n": 7, "price": 3}, BEGAN_AT)]
    assert talk.items(second) == [PlainEvent("message", "b", "7", {"n": 7, "price": 3}, BEGAN_AT)]


def test_subscription_states_are_told() -> None:
    talk = Talk()
    key = talk.subscribe()
    talk.open()
    talk.session.lost(talk.now, "cut")
    talk.session.unsubscribe(key)
    assert [each.change.new for each in talk.all(SubscriptionMoved)] == ["live", "pending", "ended"]


# --- messages ---------------------------------------------------------------------------------------------------------


class Order(BaseModel):
    model_config = ConfigDict(strict=True)
    item: str
    at: datetime | None = None

    @field_validator("item")
    @classmethod
    def _known(cls, item: str) -> str:
        if item == "crash":
            raise RuntimeError("secret")
        return item


def test_data_becomes_its_model_and_what_does_not_fit_arrives_as_it_came_with_the_reason() -> None:
    talk = Talk(PlainSockets(models={"order.placed": Order, "order.*": list[int]}))
    key = talk.live()
    talk.event("1", item="tea", at="2026-01-02T03:04:05Z")
    talk.say({"type": "order.sum", "topic": "orders", "data": [1, 2]})
    talk.event("3", item=5)
    talk.event("4", item="crash")
    talk.event("5", type="stock", item=5)
    events = [each for each in talk.items(key) if isinstance(each, PlainEvent)]
    assert events[0].data == Order(item="tea", at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert [each.data for each in events[1:]] == [[1, 2], {"item": 5}, {"item": "crash"}, {"item": 5}]
    assert [each.unreadable for each in events] == [
        None,
        None,
        "item: Input should be a valid string",
        "its model raised RuntimeError",
        None,
    ]
    assert talk.session.tally.unreadable == 2
    assert talk.session.problem == "the data of an event 'order.placed' cannot be read: its model raised RuntimeError"


@pytest.mark.parametrize("garbage", ["", "{", "\x00\ufffd", "[" * 100_000, "9" * 5_000, '{"type": "a"'])
def test_what_is_no_json_is_counted_and_harms_nobody(garbage: str) -> None:
    talk = Talk()
    key = talk.live()
    assert talk.session.receive(talk.now, garbage) == "unreadable"
    talk.event("1")
    assert talk.ids(key) == ["1"]
    assert talk.session.tally.unreadable == 1
    assert talk.session.problem == "a message came that is no JSON"
    assert talk.all(Disconnect) == []


@pytest.mark.parametrize(
    "message",
    [None, 5, "text", [], {}, {"type": "x"}, {"topic": "orders"}, {"type": 1.5, "topic": "orders"},
     {"type": True, "topic": "orders"}, {"type": "x", "topic": ["orders"]}, {"type": "x", "topic": "others"}],
)  # fmt: skip
def test_a_message_that_is_no_event_or_nobodys_is_passed_over_and_counted(message: object) -> None:
    talk = Talk()
    talk.live()
    assert talk.say(message) == "passed over"
    assert talk.items() == []
    assert talk.session.tally.passed_over == 1


def test_paths_lead_into_objects_and_functions_may_be_anything() -> None:
    protocol = PlainSockets(
        type_of="head.kind", topic_of=lambda message: message["to"].lower(), id_of="head.n", data_of=lambda m: m["b"]
    )
    talk = Talk(protocol)
    key = talk.live()
    talk.say({"head": {"kind": 3, "n": 12}, "to": "ORDERS", "b": [1]})
    assert talk.items(key) == [PlainEvent("3", "orders", "12", [1], BEGAN_AT)]
    assert talk.say({"head": {"kind": "x"}, "to": None}) == "unreadable"
    assert talk.session.problem == "a message cannot be read: topic_of raised AttributeError"
    assert talk.say({"head": 3, "to": "orders"}) == "passed over"
    assert len(talk.items(key)) == 1


@pytest.mark.parametrize("name", ["id_of", "data_of"])
def test_an_event_of_somebodys_is_given_though_a_function_fails_on_it(name: str) -> None:
    settings_: dict[str, Any] = {name: lambda message: message["body"]["x"]}
    talk = Talk(PlainSockets(**settings_))
    key = talk.live()
    message = {"type": "x", "topic": "orders", "body": None}
    assert talk.say(message) == "event"
    [event] = talk.items(key)
    assert isinstance(event, PlainEvent)
    assert (event.id, event.data, event.unreadable) == (None, message, f"{name} raised TypeError")
    assert talk.session.tally.unreadable == 1


@pytest.mark.parametrize("name", ["is_refused", "subscribed", "forbidden", "reply"])
def test_a_function_that_raises_has_said_nothing_and_the_log_hears_of_it_once_a_connection(name: str) -> None:
    settings_: dict[str, Any] = {"subscribe": lambda topic: topic, name: lambda message: message["tpye"]}
    talk = Talk(PlainSockets(**settings_))
    key = talk.subscribe()
    talk.open()
    for n in range(2):
        assert talk.event(str(2 * n)) == "event"
        assert talk.event(str(2 * n + 1)) == "event"
        talk.session.lost(talk.now, "cut")
        talk.end_pause()
        talk.open()
    assert talk.ids(key)[:5] == ["0", "1", "gap", "2", "3"]
    assert {each.why for each in talk.all(Puzzled)} == {f"a message cannot be read: {name} raised KeyError"}
    # Once an event has come, nobody asks any more whether the credentials are refused.
    assert (len(talk.all(Puzzled)), talk.session.tally.unreadable) == (2, 2 if name == "is_refused" else 4)


def test_pings_of_the_server_are_answered_and_what_answers_ours_is_ignored() -> None:
    protocol = PlainSockets(
        ping={"type": "ping"},
        ping_seconds=5,
        reply=lambda message: {"type": "pong", "n": message["n"]} if message.get("type") == "ping" else None,
        ignore=["p?ng", "pong"],
    )
    talk = Talk(protocol)
    talk.subscribe()
    talk.open()
    assert talk.sent == [{"type": "ping"}]
    assert talk.say({"type": "pong"}) == "ignored"
    assert talk.say({"type": "ping", "n": 4}) == "ignored"
    assert talk.sent[1:] == [{"type": "pong", "n": 4}]
    talk.pass_time(11)
    assert talk.sent[2:] == [{"type": "ping"}] * 2
    assert talk.session.tally.passed_over == 0


def test_a_ping_without_a_type_is_known_by_its_answer() -> None:
    talk = Talk(PlainSockets(reply=lambda message: "pong" if message == "ping" else None))
    talk.live()
    assert talk.say("ping") == "ignored"
    assert talk.say("pong") == "passed over"
    assert talk.sent == ["pong"]


def test_silence_is_death_where_the_protocol_says_so_and_its_gap_begins_with_the_last_sign_of_life() -> None:
    talk = Talk(PlainSockets(silence_seconds=30))
    key = talk.live()
    talk.pass_time(20)
    talk.say({})  # whatever it is
    talk.pass_time(29)
    assert talk.session.state is ConnectionState.READY
    talk.pass_time(1)
    assert talk.session.state is ConnectionState.CONNECTING
    talk.pass_time(1)
    talk.open()
    assert talk.items(key) == [PlainGap("orders", "disconnected", BEGAN_AT + timedelta(seconds=20), 31)]


def test_without_a_promise_of_life_silence_is_no_death() -> None:
    talk = Talk()
    talk.live()
    talk.pass_time(1_000_000)
    assert talk.session.state is ConnectionState.READY


# --- ids --------------------------------------------------------------------------------------------------------------


def test_what_is_sent_twice_is_given_once_across_connections_too() -> None:
    talk = Talk()
    key = talk.live()
    talk.event("1")
    talk.event(2)
    talk.event("1")
    talk.break_for(1)
    talk.event("2")
    talk.event("3")
    assert talk.ids(key) == ["1", "2", "gap", "3"]
    assert talk.session.tally.repeated == 2


def test_the_memory_for_ids_is_bounded_and_what_has_no_id_is_always_new() -> None:
    talk = Talk(PlainSockets(remembered_ids=2))
    key = talk.live()
    for id_ in ("1", "2", "3", "2", "1", None, None, ["x"], True):
        talk.event(id_)
    assert talk.ids(key) == ["1", "2", "3", "1", None, None, None, None]


def test_a_topic_subscribed_anew_remembers_nothing_of_its_former_consumers() -> None:
    talk = Talk()
    talk.event("1")
    talk.session.unsubscribe(talk.live())
    key = talk.live()
    talk.event("1")
    assert talk.ids(key) == ["1"]


# --- gaps -------------------------------------------------------------------------------------------------------------


def test_a_reconnection_is_a_gap_for_who_was_subscribed_and_none_for_who_was_not() -> None:
    talk = Talk()
    key = talk.live()
    talk.event("1")
    talk.session.lost(talk.now, "cut")
    newcomer = talk.subscribe()
    talk.pass_time(5)
    talk.end_pause()
    talk.open()
    talk.event("2")
    gap = PlainGap("orders", "disconnected", BEGAN_AT, 5)
    assert talk.ids(key) == ["1", "gap", "2"]
    assert talk.items(key)[1] == gap
    assert talk.ids(newcomer) == ["2"]
    after = [each.after_gap for each in talk.items() if isinstance(each, PlainEvent)]
    assert after == [None, gap, None]
    assert talk.session.tally.gaps == 1


def test_marked_instead_the_stream_has_events_only_and_the_first_after_the_gap_carries_it() -> None:
    talk = Talk()
    key = talk.live(on_gap="mark")
    talk.break_for(5)
    talk.break_for(5)
    assert [each.gap.seconds for each in talk.all(TellGap)] == [5, 5]  # for the log, at once
    talk.event("1")
    talk.event("2")
    assert talk.ids(key) == ["1", "2"]
    first, second = talk.items(key)
    assert isinstance(first, PlainEvent)
    assert first.after_gap == PlainGap("orders", "disconnected", BEGAN_AT, 10)
    assert isinstance(second, PlainEvent)
    assert second.after_gap is None


def test_raised_instead_the_subscription_ends_with_the_gap_once_it_is_known_in_full() -> None:
    talk = Talk(PlainSockets(**SPOKEN))
    key = talk.live(on_gap="raise")
    talk.event("1")
    talk.session.lost(talk.now, "cut")
    assert talk.all(End) == []
    talk.pass_time(5)
    talk.end_pause()
    talk.forget()
    talk.open()
    [end] = talk.all(End)
    assert end.key == key
    assert isinstance(end.error, EventsMissedError)
    assert end.error.gap == PlainGap("orders", "disconnected", BEGAN_AT, 5)
    assert "may be missing, because there was no connection from 2026-01-01 00:00:00Z on, for 5.0 s" in str(end.error)
    assert talk.sent[-1] == {"do": "unsubscribe", "topic": "orders"}


def test_an_event_that_tells_of_the_gap_by_coming_is_not_given_to_who_is_ended_by_it() -> None:
    talk = Talk(PlainSockets(**ANSWERED))
    key, other = talk.subscribe(on_gap="raise"), talk.subscribe()
    talk.open()
    talk.say({"now_in": "orders"})
    talk.break_for(5)
    talk.event("1")
    assert [each.key for each in talk.all(End)] == [key]
    assert (talk.ids(key), talk.ids(other)) == ([], ["gap", "1"])


def test_an_unanswered_resubscription_keeps_the_gap_open_until_it_is_in_force_again() -> None:
    talk = Talk(PlainSockets(**ANSWERED))
    key = talk.subscribe()
    talk.open()
    talk.say({"now_in": "orders"})
    talk.break_for(5)
    talk.pass_time(3)
    assert talk.items(key) == []
    talk.break_for(5)
    talk.pass_time(2)
    talk.event("1")
    assert talk.ids(key) == ["gap", "1"]
    assert talk.items(key)[0] == PlainGap("orders", "disconnected", BEGAN_AT, 15)


def test_what_a_consumer_has_no_room_for_is_dropped_counted_and_told_before_the_next_event() -> None:
    talk = Talk()
    slow, quick = talk.live(window=3), talk.live(window=3)
    for n in range(1, 8):
        talk.event(str(n))
        talk.session.taken(quick, 1)
        talk.now += 1
    assert talk.ids(slow) == ["1", "2", "3"]
    assert talk.ids(quick) == [str(n) for n in range(1, 8)]
    talk.session.taken(slow, 1)
    talk.event("8")  # there is room for it, but not for the gap as well
    assert talk.ids(slow) == ["1", "2", "3"]
    talk.session.taken(slow, 1)
    talk.event("9")
    assert talk.ids(slow) == ["1", "2", "3", "gap", "9"]
    gap = talk.items(slow)[3]
    assert gap == PlainGap("orders", "overflow", BEGAN_AT + timedelta(seconds=3), 4, dropped=5)
    assert str(gap) == (
        "events of 'orders' were dropped, 5 of them, because their consumer was too slow, from 2026-01-01 00:00:03Z on, for 4.0 s"
    )


def test_a_dropped_event_that_the_server_sends_again_is_not_taken_for_a_repeated_one() -> None:
    talk = Talk()
    key = talk.live(window=2)
    for id_ in ("1", "2", "3"):
        talk.event(id_)
    talk.session.taken(key, 2)
    talk.event("3")
    assert talk.ids(key) == ["1", "2", "gap", "3"]


def test_the_smallest_window_still_gets_on() -> None:
    talk = Talk()
    key = talk.live(window=1)
    for n in range(100):
        talk.event(str(n))
        if n % 3 == 2:
            talk.session.taken(key, 1)
    assert len([each for each in talk.ids(key) if each != "gap"]) > 10


def test_a_consumer_that_is_stuck_costs_no_more_than_its_window_however_often_the_line_breaks() -> None:
    talk = Talk()
    key = talk.live(window=10)
    for n in range(100):
        talk.event(str(n))
        talk.break_for(20)
    assert len(talk.items(key)) <= 10
    talk.session.taken(key, len(talk.items(key)))
    gap = talk.items(key)[-1]
    assert isinstance(gap, PlainGap)
    assert (gap.reason, gap.dropped) == ("disconnected", 100 - sum(each != "gap" for each in talk.ids(key)))
    assert gap.seconds > 1_500


# --- credentials ------------------------------------------------------------------------------------------------------


def test_the_token_goes_in_the_first_message_and_subscriptions_follow_once_it_is_accepted() -> None:
    talk = Talk(PlainSockets(**LOGIN, **SPOKEN))
    talk.subscribe()
    talk.open()
    assert talk.sent == [{"do": "login", "token": "t1"}]
    assert "t1" not in repr(talk.effects)
    assert talk.event("0") == "passed over"
    assert talk.session.state is ConnectionState.AUTHENTICATING
    assert talk.say({"login": "ok"}) == "accepted"
    assert talk.session.state is ConnectionState.READY
    assert talk.sent[1:] == [{"do": "subscribe", "topic": "orders"}]


def test_a_welcome_may_be_awaited_where_the_credentials_went_with_the_upgrade() -> None:
    talk = Talk(PlainSockets(is_accepted=lambda message: message == "welcome", **SPOKEN))
    talk.subscribe()
    talk.open()
    assert (talk.session.state, talk.sent) == (ConnectionState.AUTHENTICATING, [])
    talk.say("welcome")
    assert (talk.session.state, len(talk.sent)) == (ConnectionState.READY, 1)


def test_a_challenge_is_a_message_that_has_a_reply() -> None:
    protocol = PlainSockets(
        is_accepted=lambda message: message == "welcome",
        reply=lambda message: message[::-1] if isinstance(message, str) and message.startswith("?") else None,
    )
    talk = Talk(protocol)
    talk.subscribe()
    talk.open()
    talk.say("?abc")
    assert talk.sent == ["cba?"]


def test_refused_they_are_renewed_once_and_then_it_is_final() -> None:
    talk = Talk(PlainSockets(**LOGIN))
    key = talk.subscribe()
    talk.open()
    assert talk.say({"login": "no"}) == "refused"
    assert len(talk.all(RenewCredentials)) == 1
    talk.token = "t2"
    talk.session.renewed(talk.now, "new")
    talk.open()
    assert talk.sent[-1] == {"do": "login", "token": "t2"}
    talk.say({"login": "no"})
    [end] = talk.all(End)
    assert (end.key, type(end.error)) == (key, RealtimeAuthError)
    assert len(talk.all(RenewCredentials)) == 1
    assert talk.session.state is ConnectionState.FAILED


def test_accepted_since_they_may_be_renewed_again() -> None:
    talk = Talk(PlainSockets(**LOGIN))
    talk.subscribe()
    for _ in range(3):
        talk.end_pause()
        talk.open()
        talk.say({"login": "ok"})
        talk.session.closed(talk.now, 4401, "expired")
        talk.session.renewed(talk.now, "new")
    assert len(talk.all(RenewCredentials)) == 3
    assert talk.session.state is not ConnectionState.FAILED


@pytest.mark.parametrize("code", [1008, 4401, 4403])
def test_a_server_that_takes_everybody_in_and_then_refuses_is_not_asked_for_ever(code: int) -> None:
    """Without an answer to the token, being connected says nothing about it."""
    talk = Talk(PlainSockets(auth=lambda token: token, is_refused=lambda message: message == "no"))
    talk.subscribe()
    for _ in range(2):
        talk.end_pause()
        talk.open()
        assert talk.session.state is ConnectionState.READY
        talk.session.closed(talk.now, code)
        talk.session.renewed(talk.now, "new")
    assert talk.session.state is ConnectionState.FAILED
    assert isinstance(talk.all(End)[0].error, RealtimeAuthError)


@pytest.mark.parametrize("sign", ["an event", "time", "a message after some time"])
def test_an_event_or_some_time_says_that_unanswered_credentials_were_good(sign: str) -> None:
    talk = Talk(PlainSockets(auth=lambda token: token, is_refused=lambda message: message == "no"))
    talk.subscribe()
    for n in range(4):
        talk.end_pause()
        talk.open()
        if sign == "an event":
            talk.event(str(n))
            assert talk.say("no") == "passed over"  # once it has served us, that means something else
        else:
            talk.pass_time(11)
        if sign == "a message after some time":
            assert talk.say("no") == "refused"
        else:
            talk.session.closed(talk.now, 4401)
        talk.session.renewed(talk.now, "new")
    assert talk.session.state is not ConnectionState.FAILED
    assert talk.all(End) == []


def test_a_message_of_refusal_counts_where_acceptance_is_never_said() -> None:
    talk = Talk(PlainSockets(auth=lambda token: token, is_refused=lambda message: message == "no"))
    talk.subscribe()
    talk.open()
    assert talk.say("no") == "refused"
    assert len(talk.all(RenewCredentials)) == 1


def test_no_answer_to_the_token_is_a_lost_attempt() -> None:
    talk = Talk(PlainSockets(**LOGIN))
    talk.subscribe()
    talk.open()
    talk.pass_time(11)
    assert talk.session.problem == "not welcomed within 10 s"
    assert talk.session.attempts == 2


def _raises(_: str) -> object:
    raise KeyError("t1")


@pytest.mark.parametrize(
    ("auth", "token", "why"),
    [
        (lambda token: token, None, "give it auth="),
        (_raises, "t1", "auth raised KeyError"),
        (lambda token: {1, 2}, "t1", r"auth gives cannot be sent as JSON \(TypeError\)"),
    ],
)
def test_a_token_that_cannot_be_said_is_final_and_nothing_of_it_is_in_the_error(
    auth: Callable[[str], object], token: str | None, why: str
) -> None:
    talk = Talk(PlainSockets(auth=auth), token=token)
    talk.subscribe()
    talk.open()
    [end] = talk.all(End)
    assert isinstance(end.error, RealtimeAuthError)
    with pytest.raises(RealtimeAuthError, match=why):
        raise end.error
    assert "t1" not in str(end.error)
    assert len(talk.all(Disconnect)) == 1
    assert talk.session.next_timer == float("inf")


def test_a_403_at_the_door_is_about_the_credentials_as_starlette_says_it() -> None:
    talk = Talk()
    talk.subscribe()
    talk.session.refused(talk.now, 403)
    assert len(talk.all(RenewCredentials)) == 1
    talk.session.renewed(talk.now, "same")
    assert "or no WebSocket is at this path" in str(talk.all(End)[0].error)


# --- closes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 1012, 1013, 3000, 4000, 4001, 4406, 4999])
def test_other_peoples_close_codes_mean_nothing_that_ours_mean(code: int) -> None:
    talk = Talk()
    talk.live()
    for _ in range(5):
        talk.session.closed(talk.now, code)
        assert talk.session.state in (ConnectionState.BACKOFF, ConnectionState.CONNECTING)
        talk.end_pause()
        talk.open()
    assert talk.all(End) == []
    assert talk.all(RenewCredentials) == []


def test_which_closes_are_final_and_which_refuse_the_credentials_is_the_protocols_to_say() -> None:
    protocol = PlainSockets(refused_closes=[4001], fatal_closes=[4005, 1008])
    for code, state in (
        (4001, ConnectionState.BACKOFF),
        (4401, ConnectionState.CONNECTING),
        (4005, ConnectionState.FAILED),
    ):
        talk = Talk(protocol)
        talk.live()
        talk.session.closed(talk.now, code, "why not")
        assert talk.session.state is state
        assert bool(talk.all(RenewCredentials)) == (code == 4001)
    [end] = talk.all(End)
    assert isinstance(end.error, RealtimeError)
    assert (str(end.error), end.error.code) == (
        "the server closed the connection with 4005 (why not), which is final",
        4005,
    )


def test_what_the_websocket_itself_says_is_broken_is_final_after_three_without_progress() -> None:
    talk = Talk()
    talk.live()
    for _ in range(3):
        talk.end_pause()
        if talk.session.state is ConnectionState.CONNECTING:
            talk.open()
        talk.session.closed(talk.now, 1009)
    assert isinstance(talk.all(End)[0].error, RealtimeProtocolError)


def test_the_pauses_are_those_of_our_own_sessions() -> None:
    talk = Talk()
    talk.live()
    pauses: list[float] = []
    for _ in range(5):
        talk.session.lost(talk.now, "cut")
        pauses.append(0.0 if talk.session.state is ConnectionState.CONNECTING else talk.session.next_timer - talk.now)
        talk.end_pause()
        talk.open()
    assert pauses == [0.0, 0.375, 0.75, 1.5, 3.0]


def test_closed_it_ends_everybody_and_takes_nobody() -> None:
    talk = Talk()
    key = talk.live()
    talk.session.close()
    [end] = talk.all(End)
    assert (end.key, type(end.error)) == (key, ClientClosedError)
    assert talk.all(Disconnect) == [Disconnect(1000, "closed by the user")]
    with pytest.raises(ClientClosedError):
        talk.subscribe()
    assert talk.event("1") == "late"
    talk.session.finished()
    assert talk.all(Moved)[-1].change.new is ConnectionState.CLOSED


# --- functions of the user's that fail --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subscribe", [_raises, lambda topic: {1, 2}, lambda topic: float("nan"), lambda topic: "\ud800"]
)
def test_a_subscription_that_cannot_be_said_is_refused_at_once(subscribe: Callable[[str], object]) -> None:
    talk = Talk(PlainSockets(subscribe=subscribe))
    with pytest.raises(InvalidArgumentError, match="the subscription to 'orders' cannot be sent: "):
        talk.session.check(Want("orders"))


def test_one_that_cannot_be_said_later_ends_with_its_topic_alone() -> None:
    good = True
    talk = Talk(PlainSockets(subscribe=lambda topic: topic if good or topic == "stock" else {1}, unsubscribe=_raises))
    key, other = talk.live(), talk.live("stock")
    good = False
    talk.break_for(1)
    [end] = talk.all(End)
    assert (end.key, type(end.error)) == (key, RealtimeError)
    assert talk.sent[-1] == "stock"
    talk.session.unsubscribe(other)  # whose message raises: it is over all the same
    assert talk.session.standings == []


def test_a_defect_in_the_driver_ends_the_consumer_whose_effect_it_was() -> None:
    talk = Talk(PlainSockets(**SPOKEN))
    first, second = talk.live(), talk.live("stock")
    talk.event("1")
    talk.session.undone(talk.all(Give)[0], "inside the client (X)")
    assert [each.key for each in talk.all(End)] == [first]
    talk.session.undone(SendText("{}", "stock"), "inside the client (X)")
    talk.session.undone(SendText("{}"), "inside the client (X)")
    assert [each.key for each in talk.all(End)] == [first, second]


# --- bad configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings_", "why"),
    [
        ({"path": "ws"}, 'such as "/ws"; got'),
        ({"path": "//evil"}, "path is what follows"),
        ({"path": "/a#b"}, "path is what follows"),
        ({"path": "/a b"}, "path is what follows"),
        ({"path": None}, "path is what follows"),
        ({"subprotocols": "v1"}, r"write subprotocols=\['v1'\]"),
        ({"subprotocols": ["a b"]}, "'a b' is none"),
        ({"auth": {"token": 1}}, "auth is a function, lambda token"),
        ({"subscribe": "sub"}, "subscribe is a function, lambda topic"),
        ({"is_accepted": True}, "is_accepted is a function, lambda message"),
        ({"unsubscribe": lambda topic: topic}, "about what subscribe= sends: give it too"),
        ({"type_of": ""}, "type_of is a name such as"),
        ({"id_of": "a..b"}, "id_of is a name such as"),
        ({"data_of": 3}, "data_of is a name such as"),
        ({"refused_closes": 4401}, r"such as \[4401\]"),
        ({"fatal_closes": [99]}, "from 1000 to 4999, got 99"),
        ({"fatal_closes": [True]}, "from 1000 to 4999, got True"),
        ({"fatal_closes": [1008]}, "1008 is in refused_closes and in fatal_closes"),
        ({"ignore": "pong"}, "ignore is a list of patterns"),
        ({"ignore": [3]}, "ignore is a list of patterns"),
        ({"ignore": None}, "ignore is a list of patterns"),
        ({"models": [Order]}, "models are types by patterns"),
        ({"models": {"": Order}}, "models: a type pattern is"),
        ({"models": {"x": object()}}, "models: pydantic cannot read data into the type for 'x'"),
        ({"ping": {1, 2}}, "give the message itself"),
        ({"ping": 1, "ping_seconds": 0}, "ping_seconds must be 0.01 to 86400 seconds"),
        ({"ping": 1, "silence_seconds": 20}, "silence_seconds must be more than ping_seconds"),
        ({"heartbeat_seconds": "20"}, "heartbeat_seconds must be"),
        ({"remembered_ids": -1}, "remembered_ids must be a whole number"),
        ({"max_message_bytes": 1 << 30}, "max_message_bytes is at most"),
        ({"token_parameter": "to ken"}, "token_parameter"),
        ({"token_parameter": "token", "auth": lambda token: token}, "give one"),
    ],
)
def test_a_bad_setting_is_refused_in_words_that_say_what_to_try(settings_: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        PlainSockets(**settings_)


# --- the whole of it --------------------------------------------------------------------------------------------------


class Honesty(RuleBasedStateMachine):
    """Against a model: what reached us while connected and had room is given once and in order, and each loss is told."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk(PlainSockets(**SPOKEN, remembered_ids=6))
        self.next_id = 0
        self.wants: dict[int, Want] = {}
        self.reached: dict[int, list[str]] = {}
        """What came for each consumer while connected, repeats left out."""
        self.untold: dict[int, set[str]] = {}
        """Which losses its next event must come after a gap for."""
        self.given: dict[int, list[PlainEvent | PlainGap]] = {}
        self.lost: dict[int, int] = {}
        """Events that came and were not given."""
        self.told: dict[int, int] = {}
        """How many of them gaps have counted."""
        self.waiting: dict[int, int] = {}
        self.recent: dict[int, list[str]] = {}
        self.cut: set[int] = set()
        """Who was subscribed when the connection broke that is not back yet."""

    @property
    def connected(self) -> bool:
        return self.talk.session.state is ConnectionState.READY

    def look(self, sent: dict[int, str | None] | None = None) -> None:
        """Takes what consumers were given since the last look, and holds it against what was sent to them."""
        self.talk.collect()
        effects, self.talk.effects = self.talk.effects, []
        news: dict[int, list[str]] = {}
        for effect in effects:
            if isinstance(effect, TellGap):
                self.told[effect.key] += effect.gap.dropped
                assert effect.gap.seconds >= 0
                assert (effect.gap.reason == "disconnected") == ("disconnected" in self.untold[effect.key])
                assert effect.gap.dropped or effect.gap.reason == "disconnected"
                assert self.untold[effect.key], "a gap where nothing was lost"
                self.untold[effect.key].clear()
                if effect.in_stream:
                    self.given[effect.key].append(effect.gap)
                    self.waiting[effect.key] += 1
            elif isinstance(effect, Give):
                key, event = effect.key, effect.event
                assert not self.untold[key], "an event before the gap that it follows was told"
                self.given[key].append(event)
                self.waiting[key] += 1
                assert event.id is not None
                news.setdefault(key, []).append(event.id)
        for key, id_ in (sent or {}).items():
            if id_ is not None and news.get(key) != [id_]:
                assert key not in news
                self.lost[key] += 1
                self.untold[key].add("overflow")
                # Only a consumer that is behind loses anything; and one event of room is kept for the gap.
                assert self.waiting[key] >= max(2, self.wants[key].window) - 1
            elif id_ is None:
                assert key not in news, "a repeated event was given again"
        for key in news:
            self.recent[key] = (self.recent[key] + news[key])[-6:]

    @rule(
        target=keys,
        topic=st.sampled_from(["a", "b"]),
        window=st.integers(1, 5),
        on_gap=st.sampled_from(["yield", "mark"]),
    )
    def subscribe(self, topic: str, window: int, on_gap: Any) -> int:
        key = self.talk.subscribe(topic, window=window, on_gap=on_gap)
        self.wants[key] = Want(topic, window=window, on_gap=on_gap)
        for store in (self.reached, self.given, self.recent):
            store[key] = []
        self.untold[key] = set()
        self.lost[key] = self.told[key] = self.waiting[key] = 0
        self.look()
        return key

    @rule(key=consumes(keys))
    def unsubscribe(self, key: int) -> None:
        self.talk.session.unsubscribe(key)
        del self.wants[key]
        self.look()

    @rule(topic=st.sampled_from(["a", "b", "c"]), back=st.integers(0, 5))
    def message(self, topic: str, back: int) -> None:
        """A new one; or one of the last few again."""
        again = back and self.next_id >= back
        if not again:
            self.next_id += 1
        id_ = f"{topic}{self.next_id - back + 1}" if again else f"{topic}{self.next_id}"
        listening = [key for key, want in self.wants.items() if want.topic == topic and self.connected]
        known = {key: id_ in self.recent[key] for key in listening}
        self.talk.event(id_, topic=topic)
        for key in listening:
            if not known[key]:
                self.reached[key].append(id_)
        self.look({key: None if known[key] else id_ for key in listening})

    @rule(key=keys, count=st.integers(1, 3))
    def take(self, key: int, count: int) -> None:
        if key in self.wants and (count := min(count, self.waiting[key])):
            self.waiting[key] -= count
            self.talk.session.taken(key, count)
            self.look()

    @rule(seconds=st.sampled_from([0.0, 1.0, 40.0]), late=st.booleans())
    def break_(self, seconds: float, late: bool) -> None:
        if not self.connected:
            return
        self.cut = set(self.wants)
        self.talk.session.lost(self.talk.now, "cut")
        if not late:
            self.talk.pass_time(seconds)
            self.connect()

    @rule()
    def connect(self) -> None:
        self.talk.end_pause()
        if self.talk.session.state is ConnectionState.CONNECTING:
            for key in self.cut & set(self.wants):
                self.untold[key].add("disconnected")
            self.cut = set()
            self.talk.open()
        self.look()

    @invariant()
    def nobody_holds_more_than_the_window(self) -> None:
        for key, want in self.wants.items():
            assert self.waiting[key] <= max(2, want.window)

    @invariant()
    def given_is_what_reached_us_in_order_less_what_gaps_have_counted(self) -> None:
        for key in self.wants:
            ids = [each.id for each in self.given[key] if isinstance(each, PlainEvent)]
            rest = iter(self.reached[key])
            assert all(id_ in rest for id_ in ids), "out of order, or never received"
            assert len(self.reached[key]) - len(ids) == self.lost[key] >= self.told[key]
            if not self.untold[key]:
                assert self.lost[key] == self.told[key]

    @invariant()
    def an_event_carries_the_gap_before_it(self) -> None:
        for key, want in self.wants.items():
            if want.on_gap == "yield":
                for before, each in zip([None, *self.given[key]], self.given[key], strict=False):
                    assert not (isinstance(each, PlainEvent)) or (each.after_gap is not None) == isinstance(
                        before, PlainGap
                    )


TestHonesty = Honesty.TestCase
TestHonesty.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
