"""Parameters of an HTTP tool, against the schema that its owner registered."""

from __future__ import annotations

import time
from typing import Any

import pytest

from playcall.models import JsonObject
from playcall.server.tools import ToolFailure, check_by_schema, quick_problems, why_no_schema

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"n": {"type": "integer", "maximum": 3}, "s": {"pattern": "^a+$"}, "o": {"required": ["x"]}},
    "required": ["n"],
    "additionalProperties": False,
}
NODE: JsonObject = {
    "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["id"]}},
    "properties": {"list": {"$ref": "#/$defs/node"}},
}


def exponential(levels: int) -> JsonObject:
    twice = {n: {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, levels)}
    return {
        "$ref": f"#/$defs/a{levels - 1}",
        "$defs": {"a0": {"type": "object"}, **{f"a{n}": v for n, v in twice.items()}},
    }


def test_each_problem_has_its_place_and_no_value() -> None:
    problems = quick_problems(SCHEMA, {"n": 7_777, "s": "s3cret", "o": {}, "z": 1})
    assert problems is not None
    assert sorted((p.loc, p.type) for p in problems) == [
        ([], "additionalProperties"),
        (["n"], "maximum"),
        (["o"], "required"),
        (["s"], "pattern"),
    ]
    assert not [p for p in problems if "s3cret" in p.msg or "7777" in p.msg]
    assert quick_problems(SCHEMA, {"n": 1}) == []


async def test_references_are_followed_apart() -> None:
    assert quick_problems(NODE, {}) is None
    await check_by_schema("t", NODE, {"list": {"id": 1, "next": {"id": 2}}})
    with pytest.raises(ToolFailure, match=r"t refused its parameters: list\.next: .*required") as failure:
        await check_by_schema("t", NODE, {"list": {"id": 1, "next": {}}})
    assert failure.value.code == "parameters_invalid"


async def test_a_schema_that_takes_for_ever_is_ended() -> None:
    assert why_no_schema(exponential(60)) is None, "it is a schema"
    begun = time.monotonic()
    with pytest.raises(ToolFailure, match="takes too long"):
        await check_by_schema("t", exponential(60), {})
    assert time.monotonic() - begun < 60


def nested(levels: int) -> JsonObject:
    schema: JsonObject = {"properties": {"a": {}}}
    for _ in range(levels):
        schema = {"if": schema, "then": {}, "else": {}, "unevaluatedProperties": False}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        nested(40),
        {"properties": {f"p{n}": {"pattern": r"\pL{30}" + str(n)} for n in range(1_500)}},
        {"patternProperties": {r"\pL{30}" + str(n): {} for n in range(1_500)}},
        {"items": {"pattern": "([a-z]{999}){999}"}},
        {"pattern": "[a-z]{99999999999}"},
    ],
    ids=["levels of unevaluatedProperties", "patterns", "patterns of names", "repetitions", "one repetition"],
)
async def test_what_may_take_long_is_never_checked_on_the_servers_own_loop(schema: JsonObject) -> None:
    assert why_no_schema(schema) is None, "it is a schema"
    assert quick_problems(schema, {"a": 1, "b": 2}) is None


def test_patterns_as_people_write_them_are_checked_at_once() -> None:
    named = {f"p{n}": {"pattern": r"^[A-Za-z0-9_.+-]{1,64}@[a-z]+\.[a-z]{2,9}$"} for n in range(10)}
    assert quick_problems({"properties": named}, {"p1": "nobody"}) is not None


async def test_a_pattern_is_matched_in_linear_time() -> None:
    problems = quick_problems({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 50_000 + "b"})
    assert problems is not None
    assert [p.type for p in problems] == ["pattern"]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nope"}, "no JSON schema"),
        ({"properties": []}, "no JSON schema"),
        ({"properties": {"a": {"pattern": "("}}}, "no JSON schema"),
        ({"$ref": "https://example.org/schema"}, "refers to nothing outside"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "refers to nothing outside"),
        ({"description": "x" * 70_000}, "at most 65,536 characters"),
    ],
)
def test_what_is_no_schema_is_refused_when_it_is_registered(schema: JsonObject, reason: str) -> None:
    assert reason in (why_no_schema(schema) or "")


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "object"}, SCHEMA, NODE, {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}],
)
def test_other_schemas_are_taken(schema: Any) -> None:
    assert why_no_schema(schema) is None


async def test_a_schema_that_was_registered_before_they_were_checked_refuses_in_words() -> None:
    with pytest.raises(ToolFailure, match="the tool's own schema is none"):
        await check_by_schema("t", {"type": "nope"}, {})
    with pytest.raises(ToolFailure, match="the tool's own schema is none"):
        await check_by_schema("t", {"$ref": "https://example.org/"}, {})
