"""YAML is read as JSON would be, or refused with its place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from playcall.models import FieldProblem, PlaybookSpec
from playcall.server.documents import Document, DocumentError, read_yaml
from playcall.server.locations import clean_loc, field_problems


def test_values_are_those_that_json_knows() -> None:
    text = b"a: 1\nb: 1.5\nc: yes\nd: null\ne: 2024-01-01\nf: '1'\ng: [x, {h: ~}]\n1: one\nyes: y\n"
    assert read_yaml(text).value == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": "2024-01-01", "f": "1", "g": ["x", {"h": None}],
        "1": "one", "yes": "y",
    }  # fmt: skip


def test_an_alias_is_the_value_again() -> None:
    assert read_yaml(b"a: &x [1]\nb: *x").value == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (b"", "empty", 1),
        (b"\xff", "UTF-8", None),
        (b"a: \x00", "not YAML|null byte|control", None),
        (b"a: 1\na: 2", "'a' stands twice", 2),
        (b"a: !!python/object:os.system x", "tag", 1),
        (b"a: !!binary aGk=", "binary", 1),
        (b"a: !!set {x}", "set", 1),
        (b"a: .nan", "not a number", 1),
        (b"a: !!int x", "not of the kind int", 1),
        (b"a: !!int ''", "not of the kind int", 1),
        (b"a: !!float ''", "not of the kind float", 1),
        (b"a: " + b"9" * 50, "in quotes", 1),
        (b"? [1]\n: 2", "key is a text", 1),
        (b"a: &x {b: 1}\nc:\n  <<: *x", "merge", 3),
        (b"a: &x [*x]", "nested", 1),
        (b"a: " + b"[" * 80 + b"]" * 80, "nested", 1),
        (b"a: " + b"[" * 1_000_000, "nested more than 64 deep", 1),
        (b"- a\n- [b", "flow sequence", 3),
    ],
)
def test_what_json_cannot_say_is_refused(text: bytes, message: str, line: int | None) -> None:
    with pytest.raises(DocumentError, match=message) as caught:
        read_yaml(text)
    if line is not None:
        assert caught.value.problem.line == line


def test_a_billion_laughs_are_not_told() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(DocumentError, match="aliases counted"):
        read_yaml("\n".join(lines).encode())


def test_a_problem_is_placed_at_its_value_or_at_what_is_there() -> None:
    document = read_yaml(b"a:\n  - b: 1\n")
    places = document.place([FieldProblem(loc=loc, msg="", type="") for loc in (["a", 0, "b"], ["a", 0, "c"], ["z"])])
    assert [(place.line, place.column) for place in places] == [(2, 8), (2, 5), (1, 1)]


def test_json_has_no_places() -> None:
    problem = FieldProblem(loc=["a"], msg="", type="")
    assert Document({"a": 1}).place([problem]) == [problem]


@pytest.mark.parametrize(
    ("loc", "missing", "cleaned"),
    [
        (("steps", 0, "standard", "agent"), False, ("steps", 0, "agent")),
        (("steps", 0, "standard", "operation"), True, ("steps", 0, "operation")),
        (("steps", 7), False, ("steps",)),
        (("name", "str"), False, ("name",)),
    ],
)
def test_union_members_are_left_out_of_a_path(
    loc: tuple[str | int, ...], missing: bool, cleaned: tuple[str | int, ...]
) -> None:
    value = {"name": 1, "steps": [{"type": "standard", "agent": 3}]}
    assert clean_loc(loc, value, missing=missing) == cleaned


def test_an_unknown_step_type_is_told_at_its_field_with_the_types_there_are() -> None:
    step = {"id": "s", "type": "standrad", "agent": "Reader", "operation": "wait"}
    document = {"name": "a", "agents": ["Reader"], "steps": [step]}
    with pytest.raises(ValidationError) as caught:
        PlaybookSpec.model_validate(document)
    [problem] = field_problems(caught.value, document)
    assert problem.loc == ["steps", 0, "type"]
    assert problem.msg.startswith("there is no type 'standrad'; there are standard, work_in_parallel, ")
    assert problem.suggestion == "standard"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"id": "a", "typ": "standard"}, "Field required; is 'typ' meant to be 'type'?"),
        ({"id": "a"}, "Field required"),
    ],
)
def test_a_step_that_does_not_say_what_it_is_is_told_so_in_its_own_words(step: dict[str, str], said: str) -> None:
    spec = {"name": "n", "agents": ["A"], "steps": [{"id": "b", "type": "wait"}, step]}
    with pytest.raises(ValidationError) as caught:
        PlaybookSpec.model_validate(spec)
    [problem] = [each for each in field_problems(caught.value, spec) if each.loc[:2] == ["steps", 1]]
    assert (problem.loc, problem.msg, problem.type) == (["steps", 1, "type"], said, "missing")
