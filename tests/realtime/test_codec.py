"""Frames and their text."""

from __future__ import annotations

import json

import pytest

from playcall.models.cursor import Cursor
from playcall.models.event import TaskProgress, UnknownEvent
from playcall.models.frames import Credit, Events, Subscribe, UnknownFrame, WireCursor
from playcall.realtime.codec import UnreadableFrameError, decode, decode_all, encode

from .talk import event


def test_events_are_read_in_one_pass_into_their_types() -> None:
    progress = event(1, "task.progress") | {"data": {"task_id": "t", "done": 1, "new_field": 0}}
    frame = decode(
        json.dumps({"op": "events", "sid": "s", "prev": 0, "to": 2, "events": [progress, event(2, "new.one")]})
    )
    assert isinstance(frame, Events)
    assert [type(each) for each in frame.events] == [TaskProgress, UnknownEvent]


def test_an_unknown_op_and_unknown_fields_are_passed_over() -> None:
    assert decode('{"op":"hologram","x":1}') == UnknownFrame(op="hologram")
    assert decode('{"op":"ping","n":1,"x":1}') == decode('{"op":"ping","n":1}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "[]",
        "null",
        '"op"',
        "{}",
        '{"op":7}',
        '{"op":"events","sid":"s","events":[]}',
        '{"op":"ping"}',
        '{"op":"gap","sid":"s","reason":"expired","lost_after":null,"resume":null}',
        '{"op":"events","sid":"s","prev":0,"to":1,"events":[{"seq":1}]}',
        '{"op":"ping","n":1',
    ],
)
def test_what_breaks_the_contract_cannot_be_read_and_the_message_shows_nothing_of_it(text: str) -> None:
    with pytest.raises(UnreadableFrameError) as raised:
        decode(text)
    assert "sid" not in str(raised.value)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(['{"op":"ping","n":1}', '{"op":"pong","n":2}', '{"op":"hologram"}'], id="all can be read"),
        pytest.param(['{"op":"ping","n":1}', '{"op":"ping"}', '{"op":"pong","n":2}'], id="a field is missing"),
        pytest.param(['{"op":"ping","n":1}', "garbage", '{"op":"pong","n":2}'], id="one is no JSON"),
        pytest.param(['{"op":"ping","n":1},{"op":"ping","n":2}', '{"op":"ping","n":3}'], id="one holds two"),
        pytest.param(['{"op":"ping","n":1}'], id="only one"),
        pytest.param([], id="none"),
    ],
)
def test_frames_that_are_read_together_are_what_they_are_by_themselves(texts: list[str]) -> None:
    def alone(text: str) -> object:
        try:
            return decode(text)
        except UnreadableFrameError as error:
            return str(error)

    together = [str(each) if isinstance(each, UnreadableFrameError) else each for each in decode_all(texts)]
    assert together == [alone(text) for text in texts]


def test_client_frames_leave_out_what_is_not_there() -> None:
    subscribe = Subscribe(id=1, sid="s", topic="t", from_=WireCursor.of(Cursor("e", 3)), limit=5)
    assert json.loads(encode(subscribe)) == {
        "op": "subscribe",
        "id": 1,
        "sid": "s",
        "topic": "t",
        "from": {"epoch": "e", "seq": 3},
        "limit": 5,
    }
    assert encode(Credit(sid="s", limit=2)) == '{"op":"credit","sid":"s","limit":2}'
