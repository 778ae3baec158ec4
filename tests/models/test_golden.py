"""The wire form is pinned by golden files.

A difference is a change of the contract: make it on purpose, by `python -m tests.models.test_golden`, and say so in the
changelog.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from playcall.models.event import AnyEvent, KnownEvent, UnknownEvent
from playcall.models.frames import KnownServerFrame, UnknownFrame
from tests.models.examples import EVENTS, MODELS

GOLDEN = Path(__file__).parent / "golden"


def wire(example: Any) -> str:
    return json.dumps(json.loads(example.model_dump_json()), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_is_written_as_its_golden_file_says(name: str) -> None:
    assert wire(MODELS[name][1]) == (GOLDEN / f"{name}.json").read_text()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_golden_file_is_read_back_as_the_same_value(name: str) -> None:
    into, example = MODELS[name]
    assert TypeAdapter(into).validate_json((GOLDEN / f"{name}.json").read_text(), extra="ignore") == example


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MODELS)


def test_every_event_type_has_an_example() -> None:
    union = get_args(get_args(KnownEvent)[0])
    assert {type(each) for each in EVENTS} == set(union)


@pytest.mark.parametrize("example", EVENTS, ids=lambda each: each.type)
def test_an_event_is_told_by_its_type(example: Any) -> None:
    read = TypeAdapter(AnyEvent).validate_json(example.model_dump_json(), extra="ignore")
    assert type(read) is type(example)


def test_an_unknown_event_type_arrives_raw() -> None:
    raw = {"seq": 1, "id": "e", "time": "2026-11-23T10:00:00Z", "type": "moon.rose", "data": {"phase": 3}, "new": 1}
    read = TypeAdapter(AnyEvent).validate_python(raw, extra="ignore")
    assert isinstance(read, UnknownEvent)
    assert read.data == {"phase": 3}


def test_a_known_event_with_an_unreadable_payload_arrives_raw() -> None:
    raw = {"seq": 1, "id": "e", "time": "2026-11-23T10:00:00Z", "type": "task.progress", "data": {"done": "much"}}
    read = TypeAdapter(AnyEvent).validate_python(raw, extra="ignore")
    assert isinstance(read, UnknownEvent)
    assert read.type == "task.progress"


def test_an_unknown_frame_is_told_by_its_op() -> None:
    read: Any = TypeAdapter(KnownServerFrame | UnknownFrame).validate_python({"op": "sing", "song": 1}, extra="ignore")
    assert read == UnknownFrame(op="sing")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.glob("*.json"):
        path.unlink()
    for name, (_, example) in MODELS.items():
        (GOLDEN / f"{name}.json").write_text(wire(example))
