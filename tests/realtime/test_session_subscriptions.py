"""Rules 1 to 5 of the contract's client half: cursors, gaps, ends, credit."""

from __future__ import annotations

import pytest

from playcall.errors import EventGapError, RealtimeError, RealtimeProtocolError, TopicForbiddenError
from playcall.models.cursor import Cursor
from playcall.realtime.effects import Answered, DeclareGap, Deliver, Disconnect
from playcall.realtime.states import ConnectionState, SubscriptionState

from .talk import Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


def state_of(talk: Talk) -> SubscriptionState:
    return talk.session.desired.all[0].state


def test_subscribed_fixes_the_cursor_of_a_word_and_later_subscribes_carry_it(talk: Talk) -> None:
    talk.subscribe(start="head")
    talk.welcome()
    assert talk.sent("subscribe")[0]["from"] == "head"
    talk.subscribed(talk.sid, seq=7, head=7)
    talk.session.lost(talk.now, "cut")
    talk.welcome()
    assert talk.sent("subscribe")[-1]["from"] == {"epoch": "e1", "seq": 7}


def test_a_word_is_sent_again_when_the_connection_broke_before_subscribed(talk: Talk) -> None:
    talk.subscribe(start="start")
    talk.welcome()
    talk.session.lost(talk.now, "cut")
    talk.welcome()
    assert [frame["from"] for frame in talk.sent("subscribe")] == ["start", "start"]


def test_events_above_the_cursor_are_delivered_and_move_it(talk: Talk) -> None:
    key, sid = talk.live()
    talk.events(sid, 0, 3)
    assert talk.delivered == [1, 2, 3]
    assert talk.all(Deliver)[-1].to == Cursor("e1", 3)
    assert talk.all(Deliver)[-1].key == key


def test_repeated_events_are_dropped_and_counted(talk: Talk) -> None:
    _, sid = talk.live()
    talk.events(sid, 0, 3)
    talk.events(sid, 1, 5)
    talk.events(sid, 0, 2)
    assert talk.delivered == [1, 2, 3, 4, 5]
    assert talk.session.desired.repeated == 4
    assert talk.session.desired.received == 5


def test_an_empty_frame_moves_the_cursor_past_what_the_filter_left_out(talk: Talk) -> None:
    _, sid = talk.live(types=("task.*",))
    talk.events(sid, 0, 9, [])
    talk.events(sid, 9, 12, [11])
    assert talk.delivered == [11]
    assert [each.to for each in talk.all(Deliver)] == [Cursor("e1", 9), Cursor("e1", 12)]


@pytest.mark.parametrize(
    ("prev", "to", "seqs"),
    [
        pytest.param(2, 3, [3], id="prev above the cursor"),
        pytest.param(0, 3, [1, 3], id="a hole without a filter"),
        pytest.param(0, 3, [1, 2], id="too few without a filter"),
        pytest.param(0, 2, [], id="none without a filter"),
        pytest.param(0, 2, [2, 1], id="backwards"),
        pytest.param(0, 1, [5], id="beyond to"),
        pytest.param(0, 3, [1, 1, 3], id="twice"),
        pytest.param(0, -1, [], id="to before prev"),
        pytest.param(-1, 0, [0], id="before the log"),
    ],
)
def test_a_broken_chain_subscribes_anew_from_the_cursor_under_a_new_sid(
    talk: Talk, prev: int, to: int, seqs: list[int]
) -> None:
    _, sid = talk.live()
    talk.events(sid, prev, to, seqs)
    assert talk.delivered == []
    assert [frame["sid"] for frame in talk.sent("unsubscribe")] == [sid]
    again = talk.sent("subscribe")[-1]
    assert again["from"] == {"epoch": "e1", "seq": 0}
    assert again["sid"] != sid


@pytest.mark.parametrize(("prev", "to", "seqs"), [(0, 3, [2, 1]), (0, 3, [1, 1]), (0, 3, [4]), (1, 3, [1])])
def test_a_filter_allows_holes_but_no_disorder(talk: Talk, prev: int, to: int, seqs: list[int]) -> None:
    _, sid = talk.live(types=("*",), seq=0)
    if prev:
        talk.events(sid, 0, prev, [])
    talk.forget()
    talk.events(sid, prev, to, seqs)
    assert talk.delivered == []
    assert talk.sent("subscribe")


def test_a_ping_that_is_ahead_of_the_cursor_means_that_a_frame_is_missing(talk: Talk) -> None:
    _, sid = talk.live()
    talk.frame({"op": "ping", "n": 1, "at": {sid: 0, "s99": 50}})
    assert talk.sent("subscribe") == []
    talk.frame({"op": "ping", "n": 2, "at": {sid: 4}})
    assert talk.sent("subscribe")[0]["from"] == {"epoch": "e1", "seq": 0}
    assert [frame["n"] for frame in talk.sent("pong")] == [1, 2]


def test_the_third_break_without_progress_closes_the_connection(talk: Talk) -> None:
    _, sid = talk.live()
    for _ in range(2):
        talk.events(sid, 5, 6)
        sid = talk.sid
        talk.subscribed(sid)
    assert talk.all(Disconnect) == []
    talk.events(sid, 5, 6)
    assert talk.all(Disconnect)[0].code == 1002
    assert talk.session.state is ConnectionState.CONNECTING


def test_progress_forgives_earlier_breaks(talk: Talk) -> None:
    _, sid = talk.live()
    for seq in range(6):
        talk.events(sid, seq + 5, seq + 6)
        sid = talk.sid
        talk.subscribed(sid, seq=seq)
        talk.events(sid, seq, seq + 1)
    assert talk.all(Disconnect) == []
    assert talk.delivered == [1, 2, 3, 4, 5, 6]


def test_a_chain_that_breaks_on_three_connections_ends_its_subscription_with_an_error_and_no_other(talk: Talk) -> None:
    talk.subscribe("runs")
    broken = talk.subscribe("tasks")
    for _ in range(3):
        talk.pass_time(30)
        talk.welcome()
        for _ in range(3):
            sid = talk.sid_of("tasks")
            talk.subscribed(sid)
            talk.events(sid, 5, 6)
    assert [(end.key, type(end.error)) for end in talk.ends] == [(broken, RealtimeProtocolError)]
    assert [each.want.topic for each in talk.session.desired.all] == ["runs"]


@pytest.mark.parametrize(
    ("seq", "head", "epoch"),
    [
        pytest.param(9, 9, "e1", id="after our cursor: a silent gap"),
        pytest.param(5, 9, "e2", id="of another epoch"),
        pytest.param(5, 4, "e1", id="beyond its own head"),
        pytest.param(-1, 4, "e1", id="before the log"),
        pytest.param(5, 9, "", id="without an epoch"),
    ],
)
def test_a_subscribed_that_does_not_fit_the_cursor_is_a_broken_chain(
    talk: Talk, seq: int, head: int, epoch: str
) -> None:
    talk.subscribe(start=Cursor("e1", 5))
    talk.welcome()
    sid = talk.sid
    talk.subscribed(sid, seq=seq, head=head, epoch=epoch)
    assert talk.all(Answered) == []
    assert [frame["from"] for frame in talk.sent("subscribe")] == [{"epoch": "e1", "seq": 5}] * 2


def test_subscribed_twice_and_events_before_it_are_broken_chains(talk: Talk) -> None:
    _, sid = talk.live()
    talk.subscribed(sid)
    assert talk.sid != sid
    talk.events(talk.sid, 0, 1)
    assert len(talk.sent("subscribe")) == 2


def test_frames_of_an_old_sid_are_dropped(talk: Talk) -> None:
    key, sid = talk.live()
    talk.session.unsubscribe(key)
    assert talk.sent("unsubscribe")[0]["sid"] == sid
    talk.forget()
    talk.events(sid, 0, 3)
    talk.subscribed(sid)
    talk.frame({"op": "gap", "sid": sid, "reason": "expired", "lost_after": _at(0), "resume": _at(3)})
    talk.frame({"op": "ended", "sid": sid, "reason": "finished"})
    talk.frame({"op": "unsubscribed", "id": 1, "sid": sid})
    assert talk.effects == talk.session.take_effects() == []


def test_a_sid_is_never_used_twice(talk: Talk) -> None:
    talk.subscribe()
    talk.subscribe()
    for _ in range(3):
        talk.welcome()
        talk.session.lost(talk.now, "cut")
        talk.pass_time(30)
    sids = [frame["sid"] for frame in talk.sent("subscribe")]
    assert len(sids) == len(set(sids)) == 6


def test_a_subscription_is_replaying_until_its_cursor_reaches_the_head_of_subscribed(talk: Talk) -> None:
    talk.subscribe(start="start")
    assert state_of(talk) is SubscriptionState.PENDING
    talk.welcome()
    talk.subscribed(talk.sid, seq=0, head=4)
    assert state_of(talk) is SubscriptionState.REPLAYING
    assert talk.session.standings[0].head == 4
    talk.events(talk.sid, 0, 3)
    assert state_of(talk) is SubscriptionState.REPLAYING
    talk.events(talk.sid, 3, 4)
    assert state_of(talk) is SubscriptionState.LIVE
    talk.session.lost(talk.now, "cut")
    assert state_of(talk) is SubscriptionState.PENDING


# --- gaps and ends ----------------------------------------------------------------------------------------------------


def _at(seq: int, epoch: str = "e1") -> dict[str, object]:
    return {"epoch": epoch, "seq": seq}


def _gap(talk: Talk, sid: str, resume: dict[str, object], reason: str = "expired") -> None:
    talk.frame({"op": "gap", "sid": sid, "reason": reason, "lost_after": _at(0), "resume": resume})


def test_a_gap_ends_a_raising_subscription_with_both_places(talk: Talk) -> None:
    key, sid = talk.live()
    talk.events(sid, 0, 2)
    _gap(talk, sid, _at(0, "e2"), "epoch")
    (end,) = talk.ends
    assert end.key == key
    assert isinstance(end.error, EventGapError)
    assert (end.error.lost_after, end.error.resume, end.error.code) == (Cursor("e1", 2), Cursor("e2", 0), "epoch")
    assert talk.session.desired.gaps == 1


def test_a_gap_is_yielded_in_its_place_and_reading_goes_on_from_resume(talk: Talk) -> None:
    _, sid = talk.live(on_gap="yield")
    talk.events(sid, 0, 2)
    _gap(talk, sid, _at(9))
    gap = talk.all(DeclareGap)[0].gap
    assert (gap.lost_after, gap.resume, gap.reason, gap.topic) == (Cursor("e1", 2), Cursor("e1", 9), "expired", "tasks")
    again = talk.sent("subscribe")[-1]
    assert again["from"] == _at(9)
    assert talk.sent("unsubscribe") == [], "the server has ended that sid itself"
    talk.subscribed(again["sid"], seq=9, head=9)
    talk.events(again["sid"], 9, 10)
    assert talk.delivered == [1, 2, 10]


def test_gap_after_gap_without_progress_does_not_spin(talk: Talk) -> None:
    _, sid = talk.live(on_gap="yield")
    for n in range(3):
        _gap(talk, sid, _at(n))
        sid = talk.sid
    assert len(talk.all(Disconnect)) == 1


def test_a_gap_without_a_valid_place_is_a_broken_contract(talk: Talk) -> None:
    _, sid = talk.live(on_gap="yield")
    _gap(talk, sid, _at(-4))
    assert talk.all(Disconnect)[0].code == 1002


def test_ended_ends_a_subscription_without_an_error(talk: Talk) -> None:
    for reason in ("finished", "deleted", "something new"):
        key, sid = talk.live()
        talk.frame({"op": "ended", "sid": sid, "reason": reason, "retry": False})
        assert [(end.key, end.error) for end in talk.ends] == [(key, None)]


def test_a_terminal_event_ends_its_subscription_after_it_was_delivered(talk: Talk) -> None:
    key, sid = talk.live(topic="run:1")
    talk.events(sid, 0, 2, terminal=True)
    assert talk.delivered == [1, 2]
    assert [(end.key, end.error) for end in talk.ends] == [(key, None)]
    talk.frame({"op": "ended", "sid": sid, "reason": "finished"})
    assert len(talk.ends) == 1


def test_forbidden_is_an_error_that_names_the_topic_by_error_and_by_ended(talk: Talk) -> None:
    _, sid = talk.live(topic="run:1")
    talk.frame({"op": "ended", "sid": sid, "reason": "forbidden", "retry": False})
    talk.subscribe("run:2")
    request = talk.sent("subscribe")[-1]
    talk.frame({"op": "error", "id": request["id"], "code": "forbidden", "message": "no", "retry": False})
    errors = [end.error for end in talk.ends]
    assert all(isinstance(error, TopicForbiddenError) for error in errors)
    assert [error.topic for error in errors if isinstance(error, TopicForbiddenError)] == ["run:1", "run:2"]


def test_another_error_ends_the_subscription_with_its_code(talk: Talk) -> None:
    talk.subscribe()
    talk.welcome()
    talk.frame(
        {"op": "error", "sid": talk.sid, "code": "bad_types", "message": "a pattern is too long", "retry": False}
    )
    error = talk.ends[0].error
    assert isinstance(error, RealtimeError)
    assert error.code == "bad_types"
    assert "a pattern is too long" in str(error)


@pytest.mark.parametrize("op", ["error", "ended"])
def test_a_subscription_that_was_refused_for_now_is_asked_for_again_later(talk: Talk, op: str) -> None:
    key = talk.subscribe()
    talk.welcome()
    refusal = {"op": op, "sid": talk.sid, "code": "busy", "reason": "moved", "message": "later", "retry": True}
    for n in range(3):
        talk.frame({**refusal, "sid": talk.sid})
        assert len(talk.sent("subscribe")) == n + 1
        talk.pass_time(4)
        assert len(talk.sent("subscribe")) == n + 2
    talk.frame({**refusal, "sid": talk.sid})
    talk.session.unsubscribe(key)
    talk.pass_time(20)
    assert len(talk.sent("subscribe")) == 4


def test_an_error_that_names_no_subscription_is_only_noted(talk: Talk) -> None:
    talk.live()
    talk.frame({"op": "error", "code": "rate", "message": "slow down", "retry": True})
    talk.frame({"op": "error", "sid": "s77", "code": "unknown_sid", "message": "?", "retry": False})
    assert talk.ends == []
    assert talk.session.problem == "the backend reported unknown_sid: ?"


# --- credit -----------------------------------------------------------------------------------------------------------


def test_credit_is_raised_once_half_of_the_window_can_be_granted_again(talk: Talk) -> None:
    key, sid = talk.live(window=10)
    talk.events(sid, 0, 10)
    assert talk.sent("credit") == []
    talk.session.taken(key, 4)
    assert talk.sent("credit") == []
    talk.session.taken(key, 1)
    assert talk.sent("credit") == [{"op": "credit", "sid": sid, "limit": 15}]
    talk.session.taken(key, 5)
    assert talk.sent("credit")[-1]["limit"] == 20


def test_more_events_than_the_credit_are_a_broken_chain(talk: Talk) -> None:
    _, sid = talk.live(window=4)
    talk.events(sid, 0, 3)
    talk.events(sid, 3, 5)
    assert talk.delivered == [1, 2, 3]
    assert "credit" in (talk.session.problem or "")


def test_repeated_events_use_credit_but_no_room(talk: Talk) -> None:
    _, sid = talk.live(window=4, start=Cursor("e1", 2))
    talk.events(sid, 0, 2)
    assert talk.delivered == []
    assert talk.sent("credit") == [{"op": "credit", "sid": sid, "limit": 6}]


def test_a_new_sid_is_granted_only_the_room_that_is_left(talk: Talk) -> None:
    key, sid = talk.live(window=10)
    talk.events(sid, 0, 7)
    talk.session.lost(talk.now, "cut")
    talk.welcome()
    assert talk.sent("subscribe")[-1]["limit"] == 3
    assert talk.sent("subscribe")[-1]["from"] == {**_at(7), "id": "e1-7"}
    talk.session.taken(key, 7)
    talk.subscribed(talk.sid, seq=7, head=7)
    talk.session.taken(key, 0)
    assert talk.sent("credit")[-1]["limit"] == 10


def test_a_full_buffer_is_not_subscribed_until_there_is_room(talk: Talk) -> None:
    key, sid = talk.live(window=2)
    talk.events(sid, 0, 2)
    talk.session.lost(talk.now, "cut")
    talk.forget()
    talk.welcome()
    assert talk.sent("subscribe") == []
    talk.session.taken(key, 1)
    assert [frame["limit"] for frame in talk.sent("subscribe")] == [1]


def test_what_is_taken_or_unsubscribed_after_the_end_is_ignored(talk: Talk) -> None:
    key, sid = talk.live()
    talk.frame({"op": "ended", "sid": sid, "reason": "finished"})
    talk.forget()
    talk.session.taken(key, 5)
    talk.session.unsubscribe(key)
    assert talk.session.take_effects() == []


# --- answers that come too late ---------------------------------------------------------------------------------------


def test_not_now_for_what_is_no_longer_wanted_is_not_asked_again(talk: Talk) -> None:
    withdrawn = talk.subscribe()
    talk.subscribe("runs")
    talk.welcome()
    asked = talk.sent("subscribe")[0]
    talk.session.unsubscribe(withdrawn)
    talk.forget()
    talk.frame({"op": "error", "id": asked["id"], "sid": asked["sid"], "code": "busy", "message": "", "retry": True})
    talk.pass_time(12)
    assert talk.sent("subscribe") == []
    assert talk.session.state is ConnectionState.READY


@pytest.mark.parametrize("answered_late", [False, True])
def test_nothing_is_kept_of_what_was_withdrawn_before_its_answer(talk: Talk, answered_late: bool) -> None:
    talk.live()
    for _ in range(10):
        key = talk.subscribe("runs")
        asked = talk.sent("subscribe")[-1]
        talk.session.unsubscribe(key)
        if answered_late:
            talk.frame({"op": "subscribed", "id": asked["id"], "sid": asked["sid"], "epoch": "e1", "seq": 0, "head": 0})
    assert len(talk.session.desired._requests) <= 1  # the one of live(), whose answer has another id
    assert len(talk.session.desired._by_sid) == 1
