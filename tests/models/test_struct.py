"""Events are structs, and everywhere else what models are: they say themselves, and stand in models and answers."""

from __future__ import annotations

import json
import pickle
from datetime import datetime
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.testclient import TestClient
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from playcall.http.answers import encode
from playcall.models.event import (
    AnyEvent,
    Event,
    RunLog,
    RunLogData,
    TaskProgress,
    TaskProgressData,
    UnknownEvent,
)
from playcall.models.run import LogLevel, Run, RunStatus
from tests.models.examples import EVENTS, RUN, T1, WHERE

PROGRESS = TaskProgress(type="task.progress", data=TaskProgressData(task_id="tsk_1", done=1.0), **WHERE)  # type: ignore[arg-type]


class Bench:
    """Nothing that crosses the wire."""


class Anything(BaseModel):
    value: Any


class Kept(BaseModel):
    """What a user may make of events."""

    events: list[AnyEvent]
    last: TaskProgress | None = None


def test_it_is_dumped_as_a_model_is() -> None:
    assert PROGRESS.model_dump()["time"] is T1
    assert PROGRESS.model_dump(mode="json")["time"] == "2026-11-23T10:00:01.250000Z"
    assert json.loads(PROGRESS.model_dump_json()) == PROGRESS.model_dump(mode="json")
    assert PROGRESS.model_dump_json(indent=2) == json.dumps(PROGRESS.model_dump(mode="json"), indent=2)


def test_a_resource_within_it_is_dumped_as_by_itself() -> None:
    event = EVENTS[0]
    assert event.model_dump()["data"]["run"] == RUN.model_dump()
    assert json.loads(event.model_dump_json())["data"]["run"] == json.loads(RUN.model_dump_json())
    assert isinstance(event.model_dump()["data"]["run"]["created_at"], datetime)


@pytest.mark.parametrize("example", EVENTS, ids=lambda each: each.type)
def test_a_model_holds_it_and_gives_it_back(example: Event[Any]) -> None:
    kept = Kept(events=[example])  # type: ignore[list-item]
    assert kept.events[0] is example
    assert Kept.model_validate_json(kept.model_dump_json()) == kept
    assert Kept.model_validate(kept.model_dump()) == kept
    assert kept.model_dump()["events"] == [example.model_dump()]


def test_where_pydantic_is_not_told_the_type_it_is_written_all_the_same() -> None:
    event, written = EVENTS[0], EVENTS[0].model_dump(mode="json")
    assert json.loads(Anything(value=event).model_dump_json()) == {"value": written}
    assert Anything(value=event).model_dump() == {"value": event.model_dump()}
    assert json.loads(to_json([event])) == [written]
    assert jsonable_encoder({"event": EVENTS[11]})["event"]["data"] == EVENTS[11].model_dump(mode="json")["data"]
    assert json.loads(encode(event)) == json.loads(encode({"event": event}))["event"] == written


def test_a_dictionary_of_it_and_its_dump_keep_what_is_no_json() -> None:
    event = EVENTS[0]
    assert dict(event) == {name: getattr(event, name) for name in ("seq", "id", "time", "type", "terminal", "data")}
    assert type(event.model_dump()["data"]["run"]["status"]) is RunStatus
    odd = UnknownEvent(type="x", data={"set": {1}}, **WHERE)
    assert odd.model_dump()["data"] == {"set": {1}}
    assert odd.model_dump(mode="json")["data"] == {"set": [1]}
    with pytest.raises(TypeError, match="JSON has no Bench"):
        UnknownEvent(type="x", data={"object": Bench()}, **WHERE).model_dump_json()


@pytest.mark.parametrize("extra", ["ignore", "allow"])
def test_fields_that_it_does_not_know_are_passed_over_whatever_the_caller_says(extra: Any) -> None:
    text = json.dumps(PROGRESS.model_dump(mode="json") | {"new": 1})
    assert TypeAdapter(TaskProgress).validate_json(text, extra=extra) == PROGRESS


def test_a_model_refuses_what_does_not_fit_and_says_where() -> None:
    with pytest.raises(ValidationError) as refused:
        Kept.model_validate({"events": [], "last": {**PROGRESS.model_dump(), "data": {"task_id": "t", "done": "much"}}})
    assert refused.value.errors()[0]["loc"] == ("last", "data", "done")


def test_a_schema_names_its_fields_and_what_may_be_left_out() -> None:
    schema = TypeAdapter(RunLog).json_schema()
    assert schema["properties"]["type"]["const"] == "run.log"
    assert "terminal" not in schema["required"]
    assert schema["$defs"]["LogLevel"]["enum"] == [*LogLevel]
    assert TypeAdapter(RunLog).json_schema(mode="serialization") == schema


def test_a_path_of_fastapi_takes_it_and_answers_with_it() -> None:
    app = FastAPI()

    @app.post("/echo")
    async def echo(event: Annotated[TaskProgress, Body()]) -> TaskProgress:
        return event

    client = TestClient(app)
    sent = PROGRESS.model_dump(mode="json")
    assert client.post("/echo", json=sent).json() == sent
    assert client.post("/echo", json=sent | {"seq": "first"}).status_code == 422


def test_it_is_immutable_equal_by_its_fields_and_goes_to_other_processes() -> None:
    with pytest.raises(AttributeError):
        PROGRESS.seq = 8  # type: ignore[misc]
    for example in EVENTS:
        assert pickle.loads(pickle.dumps(example)) == example
    assert {PROGRESS} == {TaskProgress(**{name: getattr(PROGRESS, name) for name in PROGRESS.__struct_fields__})}
    assert isinstance(EVENTS[0].data.run, Run)


@pytest.mark.parametrize("level", [LogLevel.WARNING, "warning", "from-the-future"])
def test_a_level_equals_that_of_the_enumeration_where_it_is_one(level: str) -> None:
    data = RunLogData(run_id=RUN.id, level=level, message="")
    assert (data.level == LogLevel.WARNING) is (level == "warning")
    assert json.loads(data.model_dump_json())["level"] == level
