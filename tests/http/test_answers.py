"""From an answer to a value: never an invented one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import BaseModel, Field, SecretStr

from playcall.answer import Answer
from playcall.errors import (
    InvalidArgumentError,
    UnreadableAnswerError,
)
from playcall.http.answers import adapter, decode, encode
from playcall.http.transport import WireAnswer
from playcall.models.agent import Agent, AgentPatch
from playcall.models.tool import ToolKind, ToolSpec
from playcall.timeline import Timeline

TIMELINE = Timeline("GET", "/items/3", 60.0, changes=False)
JSON = {"Content-Type": "application/json; charset=utf-8"}


class Item(BaseModel, extra="forbid"):
    name: str
    parts: list[Annotated[int, Field(ge=0)]] = []


def answer(body: bytes | str, status: int = 200, headers: Mapping[str, str] = JSON) -> WireAnswer:
    return WireAnswer(status, CIMultiDict(headers), body.encode() if isinstance(body, str) else body)


def success(body: bytes | str, timeline: Timeline = TIMELINE, request_id: str | None = None) -> Answer:
    given = answer(body)
    return Answer(given.status, given.headers, given.body, timeline, request_id)


# --- values -----------------------------------------------------------------------------------------------------------


def test_an_answer_becomes_its_model_and_what_a_newer_backend_added_is_passed_over() -> None:
    item: Item = decode(success('{"name": "a", "parts": [1], "new": {"x": 1}}'), Item)
    assert item == Item(name="a", parts=[1])


def test_without_a_type_it_is_whatever_json_it_is_and_no_body_is_none() -> None:
    assert decode(success('[1, {"a": null}]'), None) == [1, {"a": None}]
    assert decode(success(""), None) is None


@pytest.mark.parametrize(
    ("body", "into", "field"),
    [
        ('{"name": 3}', Item, "name"),
        ('{"name": "a", "parts": [1, -1]}', Item, "parts.1"),
        ('[{"name": "a"}, {}]', list[Item], "1.name"),
        ("{}", Item, "name"),
        ("", Item, None),
        ("<html>", Item, None),
        ("<html>", None, None),
        (b"\xff\xfe", None, None),
        ('{"name": "a"', Item, None),
        ("[" * 100_000, None, None),
        ("[" * 100_000, Item, None),
        ("null", Item, None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_does_not_fit_is_an_error_with_the_path_of_the_field(
    body: bytes | str, into: Any, field: str | None
) -> None:
    with pytest.raises(UnreadableAnswerError, match="GET /items/3 answered 200") as caught:
        decode(success(body, request_id="r1"), into)
    assert caught.value.field == field
    assert caught.value.status == 200
    assert caught.value.request_id == "r1"
    assert caught.value.may_have_happened is False


def test_an_unreadable_answer_to_a_write_says_that_it_may_have_happened() -> None:
    with pytest.raises(UnreadableAnswerError) as caught:
        decode(success("{}", Timeline("POST", "/items", 60.0)), Item)
    assert caught.value.may_have_happened is True


@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_garbage_is_a_value_or_an_unreadable_answer_and_nothing_else(body: bytes) -> None:
    for into in (None, Item, list[int]):
        try:
            decode(success(body), into)
        except UnreadableAnswerError:
            pass


@pytest.mark.parametrize("wrong", [3, 1.5, {"a": 1}, [int]], ids=repr)
def test_a_type_that_pydantic_does_not_know_is_an_argument_error(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="into="):
        adapter(wrong)


def test_validators_are_made_once_and_do_not_fill_the_memory() -> None:
    assert adapter(list[Item]) is adapter(list[Item])
    for number in range(600):
        adapter(Annotated[int, Field(ge=number)])
    assert adapter(Item).validate_json('{"name": "a"}') == Item(name="a")


def test_an_answer_of_a_model_ignores_new_fields_at_any_depth() -> None:
    raw = {
        "id": "a1",
        "name": "n",
        "type": "worker",
        "state": "dreaming",  # a state that this version does not know
        "version": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "mood": {"new": True},
    }
    agent: Agent = decode(success(json.dumps(raw)), Agent)
    assert agent.state == "dreaming"


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_a_model_sends_the_fields_that_were_set() -> None:
    assert json.loads(encode(AgentPatch(description="x"))) == {"description": "x"}
    assert json.loads(encode(AgentPatch(model=None))) == {"model": None}


def test_a_secret_header_of_a_tool_reaches_the_backend_and_shows_in_no_repr() -> None:
    spec = ToolSpec(name="t", kind=ToolKind.HTTP, url="http://x", secret_headers={"X-Key": SecretStr("s3cret")})
    assert json.loads(encode(spec))["secret_headers"] == {"X-Key": "s3cret"}
    assert "s3cret" not in repr(spec)


def test_models_datetimes_and_enumerations_stand_inside_plain_values() -> None:
    value = {"at": datetime(2026, 1, 1, tzinfo=UTC), "kind": ToolKind.HTTP, "patch": AgentPatch(name="n"), "set": {1}}
    assert json.loads(encode(value)) == {
        "at": "2026-01-01T00:00:00Z",
        "kind": "http",
        "patch": {"name": "n"},
        "set": [1],
    }


def circle() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    "wrong",
    [float("nan"), {"x": float("inf")}, object(), {"\ud800": 1}, "\ud800", {(1, 2): 3}, circle(), lambda: 1],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_is_refused_before_anything_is_sent(wrong: object) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be sent as JSON"):
        encode(wrong)
