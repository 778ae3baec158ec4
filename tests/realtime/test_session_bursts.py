"""Frames that came at once mean what they mean one by one."""

from __future__ import annotations

import random

import pytest

from playcall.models.cursor import Cursor
from playcall.realtime.effects import Deliver, Disconnect, Effect, Send
from playcall.realtime.states import ConnectionState

from .model_server import Frame
from .talk import Talk, events


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_frames_that_follow_each_other_are_one_delivery(talk: Talk) -> None:
    key, sid = talk.live()
    said = talk.frames(events(sid, 0, 2), events(sid, 2, 3, head=9), events(sid, 3, 3), events(sid, 3, 5))
    assert said == ["events"] * 4
    assert talk.delivered == [1, 2, 3, 4, 5]
    assert [(each.key, each.to, each.to.event_id) for each in talk.all(Deliver)] == [(key, Cursor("e1", 5), "e1-5")]
    assert talk.session.desired.received == 5
    assert talk.session.standings[0].head == 9


def test_the_id_at_the_end_is_the_last_events_or_what_was_said_of_what_a_filter_left_out(talk: Talk) -> None:
    _, sid = talk.live(types=("task.*",))
    talk.frames(events(sid, 0, 2, [2]), events(sid, 2, 2, []))
    talk.frames(events(sid, 2, 4, [3]), events(sid, 4, 6, [], at_id="left-out"))
    assert [each.to.event_id for each in talk.all(Deliver)] == ["e1-2", "left-out"]


def test_what_was_here_already_is_dropped_and_counted(talk: Talk) -> None:
    _, sid = talk.live()
    talk.frames(events(sid, 0, 3), events(sid, 3, 4))
    talk.frames(events(sid, 1, 4), events(sid, 4, 6))
    assert talk.delivered == [1, 2, 3, 4, 5, 6]
    assert talk.session.desired.repeated == 3


def test_what_comes_before_a_frame_that_is_wrong_has_been_received(talk: Talk) -> None:
    _, sid = talk.live()
    talk.frames(events(sid, 0, 2), events(sid, 2, 4), events(sid, 4, 7, [5, 7]))
    assert talk.delivered == [1, 2, 3, 4]
    assert talk.sent("subscribe")[-1]["from"] == {"epoch": "e1", "seq": 4, "id": "e1-4"}


def test_nothing_follows_a_terminal_event(talk: Talk) -> None:
    _, sid = talk.live()
    talk.frames(events(sid, 0, 2, terminal=True), events(sid, 2, 4))
    assert talk.delivered == [1, 2]
    assert [end.error for end in talk.ends] == [None]


def test_frames_that_came_after_the_one_that_ended_the_connection_are_not_heard(talk: Talk) -> None:
    _, sid = talk.live()
    welcome = {"op": "welcome", "v": 1, "connection_id": "c", "heartbeat_seconds": 15, "max_frame_bytes": 1_048_576}
    talk.frames(events(sid, 0, 1), welcome, events(sid, 1, 2), "garbage")
    assert talk.delivered == [1]
    assert [each.code for each in talk.all(Disconnect)] == [1002]  # of the second welcome, and of nothing else
    assert talk.session.state is not ConnectionState.READY


def test_a_frame_that_cannot_be_read_takes_none_of_the_others_with_it(talk: Talk) -> None:
    _, sid = talk.live()
    assert talk.frames(events(sid, 0, 1), events(sid, 1, 2), "garbage") == ["events", "events", "unreadable"]
    assert talk.delivered == [1, 2]
    assert "no JSON" in (talk.session.problem or "") or "not JSON" in (talk.session.problem or "")


def test_any_burst_means_what_its_frames_mean_one_by_one() -> None:
    chance = random.Random(7)
    for _ in range(400):
        together, alone = Talk(), Talk()
        for each in (together, alone):
            each.live(topic="tasks")
            each.live(topic="runs", types=("run.*",))
            each.forget()
        burst = [frame for _ in range(chance.randrange(1, 5)) for frame in _frames(chance)]
        together.frames(*burst)
        for frame in burst:
            alone.frames(frame)
        assert told(together) == told(alone), burst


def _frames(chance: random.Random) -> list[Frame]:
    """Frames that follow each other, of one of two subscriptions, the first with holes where a filter allows none."""
    sid = chance.choice(["s1", "s2", "s2", "s9"])
    prev = chance.choice([0, 0, 0, 1, 3])
    made: list[Frame] = []
    for _ in range(chance.randrange(1, 4)):
        to = prev + chance.randrange(4)
        seqs = [seq for seq in range(prev + 1, to + 1) if sid == "s1" or chance.random() < 0.7]
        if chance.random() < 0.1 and seqs:
            seqs.append(seqs[-1])  # twice
        made.append(events(sid, prev, to, seqs, terminal=chance.random() < 0.05))
        prev = to
    return made


def told(talk: Talk) -> object:
    """What the session made of it, whatever the number of deliveries."""
    talk.collect()
    asked: list[Effect] = [each for each in talk.effects if not isinstance(each, Deliver)]
    delivered: dict[int, list[int]] = {}
    for each in talk.all(Deliver):
        delivered.setdefault(each.key, []).extend(event.seq for event in each.events)
    standings = [(each.key, each.state, each.received, each.head) for each in talk.session.standings]
    frames = [each for each in asked if isinstance(each, Send) and each.frame.op != "credit"]
    others = [repr(each) for each in asked if not isinstance(each, Send)]
    return delivered, standings, frames, others, talk.session.tally, talk.session.state
