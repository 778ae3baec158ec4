"""The frame of events from its text: what pydantic would make of it, and nothing that brings a client down."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from playcall.models.event import Event, UnknownEvent
from playcall.models.frames import Events
from playcall.realtime.codec import UnreadableFrameError, decode
from playcall.realtime.event_reading import read_events
from tests.models.examples import EVENTS

from .talk import event

AS_MODELS = TypeAdapter(Events)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def framed(*events: Any, **more: Any) -> str:
    return json.dumps({"op": "events", "sid": "s", "prev": 0, "to": len(events), "events": events} | more)


def places_in(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(each for key, below in inner for each in places_in(below, (*place, key)))]


def changed(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    if not place:
        return new
    value = copy.deepcopy(value)
    inside = value
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = new
    return value


@pytest.mark.parametrize("example", EVENTS, ids=lambda each: each.type)
def test_each_event_is_read_as_its_model_says(example: Event[Any]) -> None:
    frame = read_events(framed(json.loads(example.model_dump_json())))
    assert frame is not None
    assert frame.events == [example]
    assert type(frame.events[0]) is type(example)


@pytest.mark.parametrize("example", EVENTS, ids=lambda each: each.type)
@given(data=st.data())
def test_whatever_comes_is_never_read_as_something_that_the_models_do_not_say(
    example: Event[Any], data: st.DataObject
) -> None:
    """A value anywhere in the event is replaced. What fits is equal; what does not is raw, or the frame is unreadable.

    pydantic may read more than we do: it takes `"5"` for a number.
    """
    value = json.loads(example.model_dump_json())
    value = changed(value, data.draw(st.sampled_from(places_in(value)[1:])), data.draw(json_values))
    text = framed(value)
    read = read_events(text)
    if read is None:
        with pytest.raises(UnreadableFrameError):
            decode(text)
    elif isinstance(read.events[0], UnknownEvent):
        assert read.events[0].data == value["data"]
        assert read.events[0].type == value["type"]
    else:
        assert read == AS_MODELS.validate_json(text, extra="ignore")


def test_what_does_not_fit_its_type_comes_raw_and_those_beside_it_are_typed() -> None:
    good = event(1, "task.progress") | {"data": {"task_id": "t", "done": 1}}
    bad = event(2, "task.progress") | {"data": {"done": "much"}}
    frame = read_events(framed(good, bad, event(3, "moon.rose")))
    assert frame is not None
    assert [type(each).__name__ for each in frame.events] == ["TaskProgress", "UnknownEvent", "UnknownEvent"]
    assert frame.events[1].data == {"done": "much"}


def test_a_resource_within_an_event_that_does_not_fit_comes_raw() -> None:
    whole = json.loads(EVENTS[0].model_dump_json())
    whole["data"]["run"]["steps_total"] = "many"
    frame = read_events(framed(whole))
    assert frame is not None
    assert type(frame.events[0]) is UnknownEvent


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("[" * 100_000 + "]" * 100_000, id="lists"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, id="objects"),
    ],
)
@pytest.mark.parametrize("type", ["task.progress", "run.created", "moon.rose"])
def test_nesting_without_end_is_a_frame_that_cannot_be_read(type: str, data: str) -> None:
    text = framed(event(1, type) | {"data": "HERE"}).replace('"HERE"', f'{{"deep":{data}}}')
    with pytest.raises(UnreadableFrameError):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(framed(event(1, "moon.rose")).replace('"data": {', '"data": {"x": NaN, '), id="no number"),
        pytest.param(framed(event(1, "moon.rose")).replace("moon.rose", "\ud800"), id="half a character"),
        pytest.param(framed(event(1, "moon.rose") | {"data": [1]}), id="a payload that is no object"),
        pytest.param(framed(event(1, "moon.rose") | {"seq": "1"}), id="a place that is no number"),
        pytest.param(framed(event(1, "moon.rose") | {"time": "yesterday"}), id="a time that is none"),
        pytest.param(framed(to=1.5), id="a fraction of a place"),
        pytest.param(framed()[:-1], id="cut short"),
        pytest.param(framed() * 2, id="two of them"),
    ],
)
def test_a_frame_that_cannot_be_read_whole_is_not_read_at_all(text: str) -> None:
    """Its events would be lost in silence."""
    assert read_events(text) is None
    with pytest.raises(UnreadableFrameError):
        decode(text)


def test_what_it_reads_pydantic_reads_as_well() -> None:
    """And what the models refuse altogether is not read."""
    for text in (framed(*[event(n, "moon.rose") for n in (1, 2)]), framed(head=7, at_id="evt_1")):
        assert read_events(text) == AS_MODELS.validate_json(text, extra="ignore")
    with pytest.raises(ValidationError):
        AS_MODELS.validate_json(framed(sid=7))
    assert read_events(framed(sid=7)) is None
