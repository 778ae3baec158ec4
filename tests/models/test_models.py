"""What a model accepts and refuses, where the wire form alone does not tell."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from playcall.models.cursor import Cursor
from playcall.models.playbook import Playbook, PlaybookSpec, UnknownStep
from playcall.models.run import Run, RunStatus
from tests.models.examples import PLAYBOOK, RUN

MINIMAL: dict[str, Any] = {
    "name": "a",
    "agents": ["Reader"],
    "steps": [{"id": "s", "type": "standard", "agent": "Reader", "operation": "wait"}],
}


def problems(change: dict[str, Any]) -> list[tuple[tuple[Any, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        PlaybookSpec.model_validate({**MINIMAL, **change})
    return [(error["loc"], error["type"]) for error in caught.value.errors()]


def step(**fields: Any) -> dict[str, Any]:
    return {"steps": [{**MINIMAL["steps"][0], **fields}]}


@pytest.mark.parametrize(
    ("change", "loc", "kind"),
    [
        ({"name": ""}, ("name",), "string_too_short"),
        ({"steps": []}, ("steps",), "too_short"),
        ({"colour": 1}, ("colour",), "extra_forbidden"),
        (step(id="1st"), ("steps", 0, "standard", "id"), "string_pattern_mismatch"),
        (step(speed=9), ("steps", 0, "standard", "speed"), "extra_forbidden"),
        (step(type="guess"), ("steps", 0), "union_tag_invalid"),
        (step(timeout_seconds=0), ("steps", 0, "standard", "timeout_seconds"), "greater_than"),
        (step(retry={"attempts": 0}), ("steps", 0, "standard", "retry", "attempts"), "greater_than_equal"),
    ],
)
def test_a_mistake_is_named_with_the_path_of_its_field(change: dict[str, Any], loc: tuple[Any, ...], kind: str) -> None:
    assert problems(change) == [(loc, kind)]


@pytest.mark.parametrize("mode", ["split", "round_robin"])
def test_sharing_out_needs_the_field_to_share(mode: str) -> None:
    parallel = {"id": "s", "type": "work_in_parallel", "agents": ["Reader:wait"], "input_distribution": mode}
    assert problems({"steps": [parallel]})[0][0] == ("steps", 0, "work_in_parallel", "input_distribution")


@pytest.mark.parametrize("aggregation", ["filter", {"mode": "merge", "condition": "output"}])
def test_a_condition_belongs_to_filter_and_filter_to_a_condition(aggregation: Any) -> None:
    parallel = {"id": "s", "type": "work_in_parallel", "agents": ["Reader:wait"], "output_aggregation": aggregation}
    assert problems({"steps": [parallel]})[0][0] == ("steps", 0, "work_in_parallel", "output_aggregation")


def test_a_mode_may_be_written_alone() -> None:
    parallel = {"id": "s", "type": "work_in_parallel", "agents": ["Reader:wait"], "output_aggregation": "merge"}
    spec = PlaybookSpec.model_validate({**MINIMAL, "steps": [parallel]})
    assert spec.steps[0].model_dump()["output_aggregation"]["mode"] == "merge"


def test_an_input_without_default_is_required_unless_it_says_otherwise() -> None:
    inputs = {
        "a": {"type": "string"},
        "b": {"type": "string", "default": "x"},
        "c": {"type": "list", "required": False},
    }
    spec = PlaybookSpec.model_validate({**MINIMAL, "inputs": inputs})
    assert [each.is_required for each in spec.inputs.values()] == [True, False, False]


def test_a_playbook_from_a_newer_backend_is_read_and_keeps_what_it_cannot_read() -> None:
    raw = PLAYBOOK.model_dump(mode="json")
    raw["colour"] = "blue"
    raw["steps"][0]["speed"] = 9
    raw["steps"][1]["type"] = "quantum"
    read = Playbook.model_validate(raw, extra="ignore")
    assert read.steps[0] == PLAYBOOK.steps[0]
    assert isinstance(read.steps[1], UnknownStep)
    assert read.steps[1].raw["agents"] == ["Reader:source.sizes", "Reader:source.todos"]


def test_an_unknown_status_stays_a_string_and_a_known_one_is_the_member() -> None:
    known = Run.model_validate(RUN.model_dump())
    unknown = Run.model_validate({**RUN.model_dump(), "status": "dreaming"})
    assert known.status is RunStatus.RUNNING
    assert type(unknown.status) is str
    assert unknown.status == "dreaming"


@pytest.mark.parametrize("text", ["", ":", "e1", "e1:", "e1:-1", "e1:x", "e 1:1", ":7", "e1:٣"])
def test_a_cursor_that_is_not_epoch_and_seq_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        Cursor.parse(text)


def test_a_cursor_is_read_back_as_it_is_written() -> None:
    assert Cursor.parse(str(Cursor("e1", 118))) == Cursor("e1", 118)
