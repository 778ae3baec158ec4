"""A form keeps to what the playbook declares, says what is wrong at the field, and never sends what was not typed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from playcall.dashboard.input_form import MISSING, Ask, Field, fields_of, problems_by_field, read
from playcall.models import FieldProblem, InputSpec, Playbook
from playcall.server.engine.inputs import bind_inputs

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def playbook(**inputs: dict[str, Any]) -> Playbook:
    return Playbook.model_validate(
        {
            "id": "pbk_1",
            "version": 1,
            "created_at": NOW,
            "updated_at": NOW,
            "name": "P",
            "agents": ["A"],
            "inputs": inputs,
            "steps": [{"id": "s", "type": "standard", "agent": "A", "operation": "wait"}],
        },
        extra="ignore",
    )


def field(**spec: Any) -> Field:
    return fields_of(playbook(x=spec))[0]


def reading(typed: object, **spec: Any) -> tuple[dict[str, Any], str | None]:
    """The values that would be sent for the one input `x`, and what is said at it."""
    found = read([field(**spec)], {"x": typed})
    return found.values, found.problems.get("x")


@pytest.mark.parametrize(
    ("spec", "ask", "initial"),
    [
        ({"type": "string"}, Ask.LINE, ""),
        ({"type": "string", "default": "one\ntwo"}, Ask.LINES, "one\ntwo"),
        ({"type": "string", "default": "x" * 81}, Ask.LINES, "x" * 81),
        ({"type": "integer", "default": 3}, Ask.LINE, "3"),
        ({"type": "float", "default": 0.5}, Ask.LINE, "0.5"),
        ({"type": "boolean", "default": False}, Ask.YES_NO, False),
        ({"type": "boolean"}, Ask.YES_NO, None),
        ({"type": "list", "default": ["a", "b"]}, Ask.LINES, "a\nb"),
        ({"type": "list", "default": [1, "b"]}, Ask.LINES, '[\n  1,\n  "b"\n]'),
        ({"type": "list", "default": ["[a", "b"]}, Ask.LINES, '[\n  "[a",\n  "b"\n]'),
        ({"type": "object", "default": {"a": 1}}, Ask.LINES, '{\n  "a": 1\n}'),
        ({"type": "string", "choices": ["a", "b"], "default": "b"}, Ask.CHOICE, 1),
        ({"type": "string", "choices": ["a", "b"]}, Ask.CHOICE, None),
        ({"type": "date"}, Ask.LINES, ""),
    ],
)
def test_a_field_asks_as_the_type_of_its_input_wants(spec: dict[str, Any], ask: Ask, initial: object) -> None:
    asked = field(**spec)
    assert (asked.ask, asked.initial) == (ask, initial)
    assert type(asked.initial) is type(initial)


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "string", "default": "a b "},
        {"type": "string", "default": "one\n\ntwo"},
        {"type": "integer", "default": -3},
        {"type": "float", "default": 1e300},
        {"type": "boolean", "default": True},
        {"type": "list", "default": ["a", " b", ""]},
        {"type": "list", "default": [["x"], {"y": None}]},
        {"type": "object", "default": {"ä": [1, {"b": "c\nd"}]}},
        {"type": "integer", "choices": [1, 2], "default": 2},
        {"type": "list", "choices": [["a"], ["b"]], "default": ["b"]},
    ],
)
def test_a_form_that_nobody_touched_sends_the_defaults(spec: dict[str, Any]) -> None:
    asked = field(**spec)
    values, problem = reading(asked.initial, **spec)
    assert problem is None
    assert values == {"x": spec["default"]}


@pytest.mark.parametrize(
    ("spec", "typed", "value"),
    [
        ({"type": "string"}, " as it is ", " as it is "),
        ({"type": "string", "default": "x"}, "", ""),  # cleared on purpose
        ({"type": "integer"}, " 12 ", 12),
        ({"type": "integer"}, str(2**70), 2**70),
        ({"type": "float"}, "1e3", 1000.0),
        ({"type": "float"}, "7", 7.0),
        ({"type": "boolean"}, False, False),
        ({"type": "list"}, "a\n\n b ", ["a", "b"]),
        ({"type": "list"}, '[1, "a"]', [1, "a"]),
        ({"type": "object"}, '{"a": {"b": []}}', {"a": {"b": []}}),
        ({"type": "float", "choices": [0.5, 1]}, 1, 1),
        ({"type": "date"}, "2026-01-01", "2026-01-01"),
        ({"type": "date"}, '{"y": 1}', {"y": 1}),
        ({"type": "date"}, "[" * 100_000, "[" * 100_000),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_type(spec: dict[str, Any], typed: object, value: object) -> None:
    values, problem = reading(typed, **spec)
    assert problem is None
    assert values == {"x": value}
    assert type(values["x"]) is type(value)


@pytest.mark.parametrize(
    ("spec", "typed", "said"),
    [
        ({"type": "string"}, "", MISSING),
        ({"type": "integer"}, "", MISSING),
        ({"type": "boolean"}, None, MISSING),
        ({"type": "string", "choices": ["a"]}, None, MISSING),
        ({"type": "integer"}, "two", "not a whole number: two"),
        ({"type": "integer"}, "1.5", "not a whole number: 1.5"),
        ({"type": "float"}, "much", "not a number: much"),
        ({"type": "float"}, "inf", "has to be a finite number"),
        ({"type": "float"}, "nan", "has to be a finite number"),
        ({"type": "integer", "min": 1, "max": 5}, "0", "has to be at least 1"),
        ({"type": "integer", "min": 1, "max": 5}, "6", "has to be at most 5"),
        ({"type": "string", "max": 2}, "abc", "has to be at most 2 in length"),
        ({"type": "list", "min": 2}, "one", "has to be at least 2 in length"),
        ({"type": "object"}, "[1]", 'has to be an object, such as {"key": "value"}'),
        ({"type": "object"}, "{", "not JSON: Expecting property name enclosed in double quotes (line 1, column 2)"),
        ({"type": "list"}, "[1,", "not JSON: Expecting value (line 1, column 4)"),
        ({"type": "list"}, "[" * 100_000, "nested too deep"),
        ({"type": "object"}, '{"a":' * 100_000, "nested too deep"),
    ],
)
def test_what_is_wrong_is_said_at_the_field_and_nothing_is_sent_for_it(
    spec: dict[str, Any], typed: object, said: str
) -> None:
    assert reading(typed, **spec) == ({}, said)


def test_an_empty_field_that_is_not_required_is_not_sent_so_the_default_holds() -> None:
    asked = fields_of(
        playbook(
            number={"type": "integer", "default": 3},
            text={"type": "string", "required": False},
            choice={"type": "string", "choices": ["a"], "required": False},
            yes={"type": "boolean", "required": False},
        )
    )
    found = read(asked, {"number": "", "text": "", "choice": None, "yes": None})
    assert (found.values, found.problems) == ({}, {})


def test_one_wrong_value_hides_neither_the_others_nor_their_mistakes() -> None:
    asked = fields_of(playbook(a={"type": "integer"}, b={"type": "integer"}, c={"type": "string"}))
    found = read(asked, {"a": "x", "b": "y", "c": "z"})
    assert set(found.problems) == {"a", "b"}
    assert found.values == {"c": "z"}


def test_what_our_own_check_lets_pass_the_backend_takes() -> None:
    specs: dict[str, dict[str, Any]] = {
        "a": {"type": "integer", "min": 1, "max": 5},
        "b": {"type": "float"},
        "c": {"type": "list", "max": 2},
        "d": {"type": "object"},
        "e": {"type": "boolean"},
        "f": {"type": "string", "choices": ["x", "y"]},
    }
    asked = fields_of(playbook(**specs))
    found = read(asked, {"a": "5", "b": "-0.5", "c": "one\ntwo", "d": "{}", "e": True, "f": 1})
    assert found.problems == {}
    declared = {name: InputSpec.model_validate(spec) for name, spec in specs.items()}
    values, problems = bind_inputs(declared, found.values)
    assert problems == []
    assert values == {"a": 5, "b": -0.5, "c": ["one", "two"], "d": {}, "e": True, "f": "y"}


def test_the_backends_mistakes_come_to_their_fields_and_the_rest_is_told_apart() -> None:
    asked = fields_of(playbook(a={"type": "integer"}, b={"type": "list"}))
    elsewhere = FieldProblem(loc=["body", "inputs", "new"], msg="the playbook has no input 'new'", type="input_unknown")
    by_field, others = problems_by_field(
        [
            FieldProblem(loc=["body", "inputs", "a"], msg="too small", type="input_invalid"),
            FieldProblem(loc=["body", "inputs", "a"], msg="too odd", type="input_invalid"),
            FieldProblem(loc=["body", "inputs", "b", 0], msg="not this", type="input_invalid"),
            elsewhere,
        ],
        asked,
    )
    assert by_field == {"a": "too small; too odd", "b": "not this"}
    assert others == (elsewhere,)
