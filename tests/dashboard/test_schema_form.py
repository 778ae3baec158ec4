"""A tool's schema becomes fields that ask for what it says, and never refuse what the backend would take."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.dashboard.input_form import Ask, Field
from playcall.dashboard.schema_form import WHOLE, fields_of_schema, parameters_of, read_parameters

from .desk import Desk


def schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def field(described: Any, *required: str, **more: Any) -> Field:
    return fields_of_schema({**schema(*required, x=described), **more})[0]


def reading(typed: object, described: Any, *required: str) -> tuple[dict[str, Any], str | None]:
    """What would be sent, and what is said at the one field."""
    found = read_parameters(fields_of_schema(schema(*required, x=described)), {"x": typed})
    return found.values, found.problems.get("x")


@pytest.mark.parametrize(
    ("described", "ask", "hint"),
    [
        ({"type": "string"}, Ask.LINE, "text"),
        ({"type": "string", "minLength": 1, "maxLength": 1}, Ask.LINE, "text, of 1 character"),
        ({"type": "string", "maxLength": 20_000}, Ask.LINES, "text, of at most 20000 characters"),
        ({"type": "string", "pattern": "^a"}, Ask.LINE, "text, matching ^a"),
        ({"type": "string", "format": "date"}, Ask.LINE, "text, a date"),
        ({"type": "integer", "minimum": 1, "maximum": 1_000_000}, Ask.LINE, "a whole number, 1 to 1000000"),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, Ask.LINE, "a whole number, 1 to 9"),
        ({"type": "number", "exclusiveMinimum": 0}, Ask.LINE, "a number, more than 0"),
        ({"type": "number", "minimum": 0.5, "multipleOf": 0.5}, Ask.LINE, "a number, at least 0.5, a multiple of 0.5"),
        ({"type": "boolean"}, Ask.YES_NO, "yes or no"),
        ({"type": "boolean", "default": True}, Ask.YES_NO, "yes or no"),
        ({"enum": ["a", 1, None]}, Ask.CHOICE, "text"),
        ({"const": 3}, Ask.CHOICE, "text"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, Ask.LINES, "a list, of at least 1 item"),
        ({"type": "array", "items": {"type": "integer"}}, Ask.LINES, "a list, as JSON"),
        ({"type": "object"}, Ask.LINES, "an object, as JSON"),
        ({}, Ask.LINES, "any value, as JSON"),
        (True, Ask.LINES, "any value, as JSON"),
        ({"type": ["string", "integer"]}, Ask.LINES, "string or integer, as JSON"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, Ask.LINES, "string or integer, as JSON"),
        ({"anyOf": [{"type": "integer", "maximum": 3}, {"type": "null"}]}, Ask.LINE, "a whole number, at most 3"),
        ({"type": ["integer", "null"]}, Ask.LINE, "a whole number"),
    ],
)
def test_each_kind_of_parameter_is_asked_for_in_its_own_way(described: Any, ask: Ask, hint: str) -> None:
    found = field(described)
    assert (found.ask, found.hint) == (ask, hint)


def test_a_reference_within_the_schema_is_followed_and_one_in_circles_ends() -> None:
    shared = {"$defs": {"Size": {"type": "integer", "minimum": 1}, "Loop": {"$ref": "#/$defs/Loop"}}}
    assert field({"$ref": "#/$defs/Size", "default": 4}, **shared).initial == "4"
    assert field({"$ref": "#/$defs/Size"}, **shared).hint == "a whole number, at least 1"
    for odd in ("#/$defs/Loop", "#/nowhere/at/all", "https://example.org/schema"):
        assert field({"$ref": odd}, **shared).ask is Ask.LINES


@pytest.mark.parametrize(
    ("typed", "described", "values", "problem"),
    [
        ("3", {"type": "integer"}, {"x": 3}, None),
        ("3.5", {"type": "integer"}, {}, "not a whole number: 3.5"),
        ("0", {"type": "integer", "exclusiveMinimum": 0}, {}, "has to be at least 1"),
        ("3.5", {"type": "number"}, {"x": 3.5}, None),
        ("", {"type": "string"}, {}, None),
        ("", {"type": "string", "default": "a"}, {"x": ""}, None),
        ("ab", {"type": "string", "maxLength": 1}, {}, "has to be at most 1 in length"),
        ("a\nb", {"type": "array", "items": {"type": "string"}}, {"x": ["a", "b"]}, None),
        ("[1, 2]", {"type": "array", "items": {"type": "integer"}}, {"x": [1, 2]}, None),
        ('{"a": 1}', {"type": "object"}, {"x": {"a": 1}}, None),
        ("[1]", {"type": "object"}, {}, 'has to be an object, such as {"key": "value"}'),
        ("true", {}, {"x": True}, None),
        ("some text", {}, {"x": "some text"}, None),
        (1, {"enum": ["a", 1, None]}, {"x": 1}, None),
        (False, {"type": "boolean"}, {"x": False}, None),
        (None, {"type": "boolean"}, {}, None),
    ],
)
def test_what_was_typed_is_sent_as_what_it_is(
    typed: object, described: Any, values: dict[str, Any], problem: str | None
) -> None:
    assert reading(typed, described) == (values, problem)


@pytest.mark.parametrize(
    "described", [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {}, {"enum": ["a"]}]
)
def test_what_is_required_has_to_be_there_whatever_it_is(described: Any) -> None:
    assert reading(None, described, "x") == ({}, "a value is required")
    assert reading(None, described) == ({}, None)


def test_a_tools_own_default_is_in_the_field_and_makes_it_optional() -> None:
    (found,) = fields_of_schema(schema("x", x={"type": "integer", "default": 1}), {"x": 7})
    assert (found.initial, found.required) == ("7", False)


@pytest.mark.parametrize("open_schema", [{}, {"type": "object"}, {"anyOf": [{"type": "object"}]}, {"properties": 3}])
def test_a_schema_that_names_nothing_is_asked_for_as_a_whole(open_schema: dict[str, Any]) -> None:
    fields = fields_of_schema(open_schema)
    assert [each.name for each in fields] == [WHOLE]
    assert read_parameters(fields, {WHOLE: '{"a": 1}'}).values == {"a": 1}
    assert read_parameters(fields, {WHOLE: ""}).values == {}
    assert read_parameters(fields, {WHOLE: "[1]"}).problems
    assert parameters_of(open_schema) == ()


def test_beside_named_parameters_others_can_be_given_where_the_schema_says_so() -> None:
    open_schema = {**schema(**{"a": {"type": "integer"}, WHOLE: {"type": "string"}}), "additionalProperties": True}
    fields = fields_of_schema(open_schema)
    names = [each.name for each in fields]
    assert len(set(names)) == 3, "a parameter may have any name"
    typed = {"a": "1", WHOLE: "own", names[-1]: '{"a": 2, "b": 3}'}
    assert read_parameters(fields, typed).values == {"a": 1, WHOLE: "own", "b": 3}
    assert [each.name for each in parameters_of(open_schema)] == ["a", WHOLE]


def test_a_table_says_what_each_parameter_is() -> None:
    (method, path) = parameters_of(
        schema("path", method={"type": "string", "enum": ["GET", "PUT"], "default": "GET"}, path={"type": "string", "description": "Where"})
    )  # fmt: skip
    assert (method.kind, method.required, method.default) == ("one of GET, PUT", False, '"GET"')
    assert (path.kind, path.required, path.default, path.about) == ("text", True, "", "Where")


def test_every_tool_of_a_real_backend_can_be_asked_for(desk: Desk) -> None:
    tools = list(desk.client.tools.list())
    assert len(tools) > 5
    for tool in tools:
        fields = fields_of_schema(tool.parameters, tool.defaults)
        assert [each.name for each in fields] == list(tool.parameters["properties"])
        assert {each.name for each in fields if each.required} == set(tool.parameters.get("required", ()))
    wait = next(tool for tool in tools if tool.name == "wait")
    values = read_parameters(fields_of_schema(wait.parameters), {"seconds": "0", "message": "done"}).values
    assert desk.client.tools.execute(wait.id, values).finished
