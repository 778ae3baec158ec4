"""Rules 2 and 3: the id that a cursor carries, and the state that is read anew after a gap."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from playcall.errors import RealtimeProtocolError, TopicForbiddenError
from playcall.models.cursor import Cursor
from playcall.models.ids import TaskId
from playcall.models.task import Task
from playcall.realtime.effects import DeliverSnapshot, Disconnect, SubscriptionMoved, TakeSnapshot
from playcall.realtime.items import Snapshot
from playcall.realtime.states import ConnectionState, SubscriptionState

from .talk import Talk, event

STATE = (
    Task.model_validate(
        {
            "id": TaskId("t1"),
            "version": 7,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
            "agent_id": "a1",
            "operation": "text.stats",
            "status": "queued",
        },
        extra="ignore",
    ),
)


@pytest.fixture
def talk() -> Talk:
    return Talk()


def gap(talk: Talk, sid: str, *, epoch: str = "e2", resume: int = 0) -> None:
    frame = {"op": "gap", "sid": sid, "reason": "epoch", "lost_after": {"epoch": "e1", "seq": 2}}
    talk.frame({**frame, "resume": {"epoch": epoch, "seq": resume}})


def lost(talk: Talk) -> int:
    """A subscription that has lost events, and waits for the state."""
    key, sid = talk.live(on_gap="snapshot")
    talk.events(sid, 0, 2)
    gap(talk, sid)
    assert len(talk.all(TakeSnapshot)) == 1
    return key


def read(talk: Talk, key: int, seq: int = 40) -> Snapshot:
    snapshot = Snapshot(talk.all(TakeSnapshot)[0].gap, STATE, Cursor("e2", seq))
    talk.session.snapshot(key, snapshot)
    return snapshot


def test_after_a_gap_the_state_comes_before_any_event_and_reading_goes_on_from_its_cursor(talk: Talk) -> None:
    key = lost(talk)
    assert talk.sent("subscribe") == [], "nothing is asked for until the state is known"
    snapshot = read(talk, key)
    assert talk.all(DeliverSnapshot)[0].snapshot == snapshot
    assert talk.sent("subscribe")[-1]["from"] == {"epoch": "e2", "seq": 40}
    talk.subscribed(talk.sid, epoch="e2", seq=40)
    talk.events(talk.sid, 40, 41)
    assert talk.delivered == [1, 2, 41]


def test_a_connection_that_is_lost_meanwhile_changes_nothing(talk: Talk) -> None:
    key = lost(talk)
    talk.session.lost(talk.now, "cut")
    snapshot = read(talk, key)
    assert talk.sent("subscribe") == []
    talk.welcome()
    assert talk.sent("subscribe")[-1]["from"] == {"epoch": "e2", "seq": 40}
    assert talk.all(DeliverSnapshot)[0].snapshot == snapshot


def test_a_state_that_is_read_after_a_reconnect_is_enough(talk: Talk) -> None:
    key = lost(talk)
    talk.session.lost(talk.now, "cut")
    talk.welcome()
    assert len(talk.all(TakeSnapshot)) == 2, "asked for again, as whoever reads may have given up"
    assert talk.sent("subscribe") == []
    read(talk, key)
    talk.session.snapshot(key, talk.all(DeliverSnapshot)[0].snapshot)
    assert len(talk.all(DeliverSnapshot)) == 1
    assert len(talk.sent("subscribe")) == 1


def test_a_state_that_cannot_be_read_now_is_read_later(talk: Talk) -> None:
    key = lost(talk)
    talk.forget()
    talk.session.no_snapshot(talk.now, key, TopicForbiddenError("down", topic="tasks"), final=False)
    assert talk.ends == []
    talk.pass_time(2)
    assert len(talk.all(TakeSnapshot)) == 1


def test_a_state_that_is_gone_ends_the_subscription(talk: Talk) -> None:
    key = lost(talk)
    error = TopicForbiddenError("gone", topic="tasks")
    talk.session.no_snapshot(talk.now, key, error, final=True)
    assert talk.ends[0].error is error


def test_a_state_for_a_subscription_that_is_not_wanted_any_more_is_nobodys(talk: Talk) -> None:
    key = lost(talk)
    talk.session.unsubscribe(key)
    read(talk, key)
    talk.session.no_snapshot(talk.now, key, TopicForbiddenError("gone", topic="tasks"), final=True)
    assert talk.all(DeliverSnapshot) == []
    assert talk.ends == []


def test_gap_after_snapshot_after_gap_without_progress_ends_in_an_error_and_does_not_spin(talk: Talk) -> None:
    key = lost(talk)
    for n in range(50):
        if talk.ends:
            break
        if talk.session.state is not ConnectionState.READY:
            talk.end_pause()
            talk.welcome()
        talk.session.snapshot(key, Snapshot(talk.all(TakeSnapshot)[-1].gap, STATE, Cursor("e2", n)))
        gap(talk, talk.sid)
    assert talk.all(Disconnect)
    assert isinstance(talk.ends[0].error, RealtimeProtocolError)


# --- ids --------------------------------------------------------------------------------------------------------------


def resubscribed_from(talk: Talk) -> dict[str, object]:
    talk.session.lost(talk.now, "cut")
    talk.end_pause()
    talk.welcome()
    place: dict[str, object] = talk.sent("subscribe")[-1]["from"]
    return place


def test_a_cursor_carries_the_id_of_the_event_at_it(talk: Talk) -> None:
    _, sid = talk.live()
    talk.events(sid, 0, 3)
    assert resubscribed_from(talk) == {"epoch": "e1", "seq": 3, "id": "e1-3"}


def test_what_a_filter_left_out_has_its_id_from_the_frame(talk: Talk) -> None:
    _, sid = talk.live(types=("task.*",))
    talk.frame({"op": "events", "sid": sid, "prev": 0, "to": 5, "events": [], "at_id": "evt-5"})
    assert resubscribed_from(talk) == {"epoch": "e1", "seq": 5, "id": "evt-5"}


def test_where_it_begins_has_its_id_from_subscribed(talk: Talk) -> None:
    talk.subscribe(start=Cursor("e1", 4))
    talk.welcome()
    frame = {"op": "subscribed", "id": 1, "sid": talk.sid, "epoch": "e1", "seq": 4, "head": 4, "at_id": "evt-4"}
    talk.frame(frame)
    assert resubscribed_from(talk) == {"epoch": "e1", "seq": 4, "id": "evt-4"}


def test_a_cursor_of_the_users_own_is_sent_with_its_id(talk: Talk) -> None:
    talk.subscribe(start=Cursor("e1", 4, "evt-4"))  # type: ignore[arg-type]
    talk.welcome()
    assert talk.sent("subscribe")[-1]["from"] == {"epoch": "e1", "seq": 4, "id": "evt-4"}


def test_another_event_at_the_cursor_without_a_gap_is_a_broken_contract(talk: Talk) -> None:
    talk.subscribe(start=Cursor("e1", 4, "evt-4"))  # type: ignore[arg-type]
    talk.welcome()
    frame = {"op": "subscribed", "id": 1, "sid": talk.sid, "epoch": "e1", "seq": 4, "head": 4, "at_id": "another"}
    talk.frame(frame)
    assert len(talk.sent("subscribe")) == 2
    assert talk.session.standings[0].state is SubscriptionState.PENDING


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_head_follows_the_log_so_that_lag_is_behind_the_newest_entry(talk: Talk) -> None:
    _, sid = talk.live(start="start", head=10)
    talk.frame({"op": "events", "sid": sid, "prev": 0, "to": 1, "events": [event(1)], "head": 500})
    standing = talk.session.standings[0]
    assert (standing.received, standing.head) == (Cursor("e1", 1), 500)
    assert standing.state is SubscriptionState.REPLAYING


def test_live_is_measured_by_the_head_of_subscribed_however_fast_the_log_grows(talk: Talk) -> None:
    _, sid = talk.live(start="start", head=1)
    talk.frame({"op": "events", "sid": sid, "prev": 0, "to": 1, "events": [event(1)], "head": 500})
    assert talk.session.standings[0].state is SubscriptionState.LIVE


def test_each_transition_of_a_subscription_is_told_once(talk: Talk) -> None:
    key = talk.subscribe(start="start")
    talk.welcome()
    talk.subscribed(talk.sid, seq=0, head=1)
    talk.events(talk.sid, 0, 1)
    talk.events(talk.sid, 1, 2)
    talk.session.lost(talk.now, "cut")
    talk.session.unsubscribe(key)
    changes = [(each.change.key, each.change.old, each.change.new) for each in talk.all(SubscriptionMoved)]
    state = SubscriptionState
    assert changes == [
        (key, state.PENDING, state.REPLAYING),
        (key, state.REPLAYING, state.LIVE),
        (key, state.LIVE, state.PENDING),
        (key, state.PENDING, state.ENDED),
    ]


def test_an_outage_is_told_with_its_reason_and_its_length(talk: Talk) -> None:
    talk.live()
    talk.session.lost(talk.now, "cut by the test")
    talk.session.lost(talk.now, "nothing listens there", reached=False)
    talk.pass_time(0.5)
    assert talk.session.state is ConnectionState.CONNECTING
    assert list(talk.session.outages) == []
    talk.welcome()
    assert [(each.why, round(each.seconds, 3)) for each in talk.session.outages] == [("cut by the test", 0.5)]
