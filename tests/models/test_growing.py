"""What a newer backend may add is read: unknown fields at every depth, unknown values in every enumeration.

Both are put into the JSON of the examples by walking the models, so that a field or an enumeration which is added later
is held to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from playcall.models import frames
from playcall.models.base import RequestModel
from playcall.models.event import AnyEvent, Event, UnknownEvent
from playcall.models.playbook import UnknownStep
from playcall.models.run import LogLevel
from playcall.models.struct import WireStruct
from playcall.realtime.codec import ServerFrame
from playcall.realtime.event_reading import read_events
from tests.models.examples import EVENTS, MODELS

NEW = "from-the-future"
SENT = (RequestModel, frames.Hello, frames.Subscribe, frames.Credit, frames.Unsubscribe, frames.AuthFrame)
READ = {name: model for name, (model, _) in MODELS.items() if not issubclass(model, SENT)}
"""What a client reads, in answers and in frames."""

Place = tuple[str | int, ...]


def wire(example: BaseModel | WireStruct) -> Any:
    return json.loads(example.model_dump_json())


def read(into: Any, value: Any) -> Any:
    """As `http.answers` does it; and what a socket brings is read there as the same."""
    parsed = TypeAdapter(into).validate_json(json.dumps(value), extra="ignore")
    if isinstance(parsed, Event):
        framed = {"op": "events", "sid": "s", "prev": parsed.seq - 1, "to": parsed.seq, "events": [value]}
        frame = read_events(json.dumps(framed))
        assert frame is not None
        assert frame.events == [parsed]
    elif isinstance(parsed, frames.Events):
        assert read_events(json.dumps(value)) == parsed
    return parsed


def fields_of(model: BaseModel | WireStruct) -> Iterator[tuple[str, str, Any]]:
    """Each field's name, its name in the JSON, and its type."""
    if isinstance(model, WireStruct):
        for each in msgspec.structs.fields(model):
            # What stands for an enumeration in msgspec's eyes is a string, and says in pydantic's what it is.
            yield each.name, each.name, LogLevel if each.name == "level" else each.type
    else:
        for name, field in type(model).model_fields.items():
            yield name, field.alias or name, field.annotation


def models_in(value: Any, place: Place = ()) -> Iterator[tuple[Place, BaseModel | WireStruct]]:
    """Every model within `value`, with its place in the JSON; what is kept raw has none."""
    if isinstance(value, BaseModel | WireStruct):
        yield place, value
        if not isinstance(value, UnknownStep):
            for name, key, _ in fields_of(value):
                yield from models_in(getattr(value, name), (*place, key))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from models_in(each, (*place, number))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from models_in(each, (*place, key))


def is_enumeration(annotation: Any) -> bool:
    """A `StrEnum`, closed or open, or a choice of words."""
    if get_origin(annotation) is Annotated:
        return is_enumeration(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return len(get_args(annotation)) > 1
    if isinstance(annotation, type):
        return issubclass(annotation, StrEnum)
    return get_origin(annotation) is not list and any(map(is_enumeration, get_args(annotation)))


def enumerations_in(example: BaseModel | WireStruct) -> Iterator[Place]:
    for place, model in models_in(example):
        for name, _, annotation in fields_of(model):
            if is_enumeration(annotation) and isinstance(getattr(model, name), str):
                yield (*place, name)


def at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


CHOICES = [(name, place) for name in READ for place in enumerations_in(MODELS[name][1])]


def choice(name: str, place: Place) -> Any:
    return pytest.param(name, place, id=f"{name}-{'.'.join(map(str, place))}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.text() | st.sampled_from(["model_config", "model_fields", "self", "__class__", "validate", "from", "schema"])


@pytest.mark.parametrize("name", READ)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_unknown_fields_at_every_depth_are_passed_over(name: str, data: st.DataObject) -> None:
    into, example = MODELS[name]
    value = wire(example)
    for place, model in models_in(example):
        if not isinstance(model, UnknownStep):  # which keeps all that it is given
            known = {each for name, key, _ in fields_of(model) for each in (name, key)}
            new = data.draw(st.dictionaries(names.filter(lambda each, known=known: each not in known), json_values))
            at(value, place).update(new, **{NEW: {"a": [{"b": None}]}})
    assert read(into, value) == example


def test_there_are_enumerations_in_the_examples() -> None:
    """The walk finds them: states, statuses, levels, kinds, and the modes of steps."""
    found = {place[-1] for _, place in CHOICES}
    assert {"status", "state", "kind", "level", "scope", "wish", "credential", "mode"} <= found


@pytest.mark.parametrize(("name", "place"), [choice(*each) for each in CHOICES])
def test_an_unknown_value_of_an_enumeration_stays_the_string_that_it_is(name: str, place: Place) -> None:
    into, example = MODELS[name]
    value = wire(example)
    at(value, place[:-1])[place[-1]] = NEW
    parsed = read(into, value)
    assert type(parsed) is type(example)
    assert wire(parsed) == value


@pytest.mark.parametrize("example", EVENTS, ids=lambda each: each.type)
def test_an_event_of_a_new_type_keeps_its_place_and_its_payload(example: Event[Any]) -> None:
    value = wire(example) | {"type": NEW, "terminal": True}
    parsed = read(AnyEvent, value)
    assert type(parsed) is UnknownEvent
    assert (parsed.seq, parsed.id, parsed.type, parsed.terminal) == (example.seq, example.id, NEW, True)
    assert parsed.data == value["data"]


@pytest.mark.parametrize("name", [name for name in READ if name.startswith("frame_")])
def test_a_frame_of_a_new_kind_is_told_by_its_op(name: str) -> None:
    assert read(ServerFrame, wire(MODELS[name][1]) | {"op": NEW}) == frames.UnknownFrame(op=NEW)


def test_a_page_of_events_passes_over_a_frame_of_a_new_kind() -> None:
    page = frames.EventPage(epoch="e1", seq=6, head=9, frames=[frames.Events(sid="s1", prev=6, to=9, events=[])])
    value = wire(page)
    value["frames"].insert(0, {"op": NEW})
    assert read(frames.EventPage, value).frames[-1] == page.frames[0]


@pytest.mark.parametrize("op", ["events", "gap", "ended"])
def test_a_page_of_events_does_not_pass_over_a_known_frame_that_cannot_be_read(op: str) -> None:
    """Its events would be lost, and the next request would begin behind them."""
    value = wire(frames.EventPage(epoch="e1", seq=6, head=9, frames=[]))
    value["frames"].append({"op": op, "sid": "s1", "prev": 6, "to": 9, "events": [{"seq": "?"}]})
    with pytest.raises(ValidationError, match="lacks a field"):
        read(frames.EventPage, value)
