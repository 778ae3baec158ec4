"""The end of a log as it grows: bounded, without a hole, and with a way back to what is older."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from playcall.dashboard.event_log import EventPage, earlier_events
from playcall.dashboard.event_tail import FIRST, KEPT, PATTERNS, EventTail, event_tail, patterns_of
from playcall.dashboard.following import Following
from playcall.errors import TopicForbiddenError
from playcall.models import AnyEvent, Cursor
from playcall.models.topic import task_topic
from playcall.realtime.items import Gap

from .desk import AGENT, Desk
from .waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def event(seq: int) -> AnyEvent:
    said = {"seq": seq, "id": f"evt_{seq}", "time": NOW, "type": "agent.deleted", "data": {"agent_id": "a"}}
    return EVENT.validate_python(said, extra="ignore")


def places(page: EventPage) -> list[int]:
    return [each.seq for each in page.events]


@pytest.fixture
def following(desk: Desk) -> Iterator[Following]:
    made = Following(desk.client)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", ()),
        (" , ", ()),
        ("task.*", ("task.*",)),
        ("task.*, *.failed\ttask.*", ("task.*", "*.failed")),
        (" ".join(map(str, range(50))), tuple(map(str, range(PATTERNS)))),
    ],
)
def test_what_is_typed_as_types_is_read_as_patterns(text: str, patterns: tuple[str, ...]) -> None:
    assert patterns_of(text) == patterns


def test_the_newest_events_are_kept_and_where_older_ones_begin_is_known() -> None:
    tail = EventTail("agents")
    tail.begin(Cursor("e", 10), EventPage((event(9), event(10)), 8))
    assert (places(tail.page()), tail.page().before, tail.taken) == ([9, 10], 8, 0)
    for seq in range(11, 11 + KEPT):
        tail.take(event(seq), Cursor("e", seq))
    page = tail.page()
    assert places(page) == list(range(11, 11 + KEPT))
    assert (page.before, tail.taken) == (10, KEPT)


def test_what_was_lost_for_good_is_counted_and_the_log_goes_on_in_its_new_life() -> None:
    tail = EventTail("agents")
    tail.begin(Cursor("e", 2), EventPage((event(1), event(2)), 0))
    tail.take(Gap("agents", "epoch", Cursor("e", 2), Cursor("f", 3)), Cursor("f", 3))
    assert (places(tail.page()), tail.page().before) == ([], 3), "what was there is of another life"
    tail.take(event(4), Cursor("f", 4))
    assert (tail.lost, tail.epoch, tail.taken, places(tail.page())) == (1, "f", 1, [4])


def test_of_a_log_that_became_shorter_the_events_are_gone_that_are_not_in_it_any_more() -> None:
    tail = EventTail("agents")
    tail.begin(Cursor("e", 9), EventPage((event(8), event(9)), 7))
    tail.take(Gap("agents", "ahead", Cursor("e", 9), Cursor("e", 5)), Cursor("e", 5))
    tail.take(event(6), Cursor("e", 6))
    assert (places(tail.page()), tail.page().before) == ([6], 5)


def test_events_before_a_hole_stay() -> None:
    tail = EventTail("agents")
    tail.begin(Cursor("e", 2), EventPage((event(1), event(2)), 0))
    tail.take(Gap("agents", "expired", Cursor("e", 2), Cursor("e", 7)), Cursor("e", 7))
    tail.take(event(8), Cursor("e", 8))
    assert (places(tail.page()), tail.lost) == ([1, 2, 8], 1)


def test_what_was_read_and_waited_in_the_feed_as_well_is_there_once() -> None:
    tail = EventTail("agents")
    tail.begin(Cursor("e", 2), EventPage((event(1), event(2)), 0))
    for seq in (2, 3):
        tail.take(event(seq), Cursor("e", seq))
    assert (places(tail.page()), tail.taken) == ([1, 2, 3], 1)


def test_a_real_topic_is_begun_with_what_was_and_goes_on_with_what_comes(desk: Desk, following: Following) -> None:
    tail = event_tail(following, "agents", ())
    until(lambda: tail.ready)
    before = places(tail.page())
    assert before, "the agent of the desk was created before"
    desk.client.agents.create({"name": "Another"})
    until(lambda: len(tail.page().events) == len(before) + 1)
    assert places(tail.page()) == list(range(1, len(before) + 2))
    assert tail.page().events[-1].type == "agent.created"
    assert tail.page().before == 0


def test_types_are_filtered_by_the_backend_and_each_filter_is_followed_once(desk: Desk, following: Following) -> None:
    tail = event_tail(following, "agents", ("*.deleted",))
    until(lambda: tail.ready)
    assert tail is event_tail(following, "agents", ("*.deleted",))
    assert tail is not event_tail(following, "agents", ())
    made = desk.client.agents.create({"name": "Short-lived"})
    desk.client.agents.delete(made.id)
    until(lambda: len(tail.page().events) == 1)
    assert tail.page().events[0].type == "agent.deleted"


def test_a_topic_that_has_ended_is_shown_and_is_over(desk: Desk, following: Following) -> None:
    made = desk.client.tasks.create({"agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}})
    model = event_tail(following, "tasks", ("task.completed",))
    until(lambda: bool(model.page().events))
    tail = event_tail(following, task_topic(made.id), ())
    until(lambda: tail.over)
    page = tail.page()
    assert page.events[-1].terminal
    assert places(page) == list(range(1, len(page.events) + 1))
    assert tail.epoch


def test_a_topic_that_is_not_there_is_said_to_be_so(following: Following) -> None:
    tail = event_tail(following, "run:nowhere", ())
    until(lambda: tail.over)
    assert isinstance(tail.error, TopicForbiddenError)


def test_older_events_follow_on_without_a_hole(desk: Desk, following: Following) -> None:
    for name in "abcde":
        desk.client.agents.create({"name": name})
    tail = event_tail(following, "agents", ())
    until(lambda: tail.ready)
    newest = tail.page().events[-1].seq
    older = earlier_events(desk.client, "agents", tail.epoch, newest - 2, want=FIRST)
    assert places(older) == list(range(1, newest - 1))
    assert older.before == 0
    none = earlier_events(desk.client, "agents", tail.epoch, newest, types=["agent.deleted"], want=1)
    assert (none.events, none.before) == ((), 0)
