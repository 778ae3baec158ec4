"""Events are structs, and everywhere else what models are: they say themselves, and stand in models and answers."""

from __future__ import annotations

import json
import pickle
from datetime import datetime
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, TypeAdapter, ValidationError

from playcall.models.event import AnyEvent, Event, RunLog, RunLogData, TaskProgress, TaskProgressData
from playcall.models.run import LogLevel, Run
from tests.models.examples import EVENTS, RUN, T1, WHERE

PROGRESS = TaskProgress(type="task.progress", data=TaskProgressData(task_id="tsk_1", done=1.0), **WHERE)  # type: ignore[arg-type]


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


def test_a_model_refuses_what_does_not_fit_and_says_where() -> None:
    with pytest.raises(ValidationError) as refused:
        Kept.model_validate({"events": [], "last": {**PROGRESS.model_dump(), "data": {"task_id": "t", "done": "much"}}})
    assert refused.value.errors()[0]["loc"][:4] == ("last", "data", "done")


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
