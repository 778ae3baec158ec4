"""Conditions decide over JSON values, and reach nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.server.engine.conditions import ConditionProblem, check_condition, condition_references, holds

NAMES: dict[str, Any] = {
    "inputs": {"text": "x", "n": 3, "large": "y" * 1_000_000},
    "output": {"count": 3, "items": [1, 2], "none": None},
    "steps": {"a": {"output": {"ok": True}}},
}


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ("output.count > 2 and len(output.items) == 2", True),
        ("output['count'] % 2 == 0", False),
        ("steps.a.output.ok", True),
        ("not true or false", False),
        ("null == none", True),
        ("'a' in inputs.text or inputs.n in [1, 3]", True),
        ("output.items[0] == 1 if inputs.n else false", True),
        ("has(output, 'missing')", False),
        ("lower('ABC') == 'abc'", True),
        ("min(output.items) + max(output.items) == sum(output.items)", True),
        ("output.none is None", True),
        ("-output.count < 0 < output.count", True),
        ("len(inputs.large) == 1000000 and not 'z' in inputs.large and inputs.large[:2] == 'yy'", True),
        ("round(2.5) == 2 and round(1.25, 1) == 1.2 and round(149, -2) == 100", True),
        ("output == output and [1, 2] == output.items and [1] + [2] == output.items", True),
    ],
)
def test_a_condition_holds_or_not(condition: str, truth: bool) -> None:
    assert holds(condition, NAMES) is truth


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "1 +",
        "nope",
        "output.missing",
        "output.count.real",
        "().__class__.__bases__[0].__subclasses__()",
        "open('/etc/passwd')",
        "__import__('os')",
        "inputs.text.upper()",
        "output.items.append(1)",
        "[x for x in output.items]",
        "lambda: 1",
        "f'{inputs}'",
        "(y := 1)",
        "len",
        "len(obj=[1])",
        "'%1000000000d' % 1",
        "'a' * 10000000000",
        "9 ** 9",
        "1 << 100",
        "1 / 0",
        "inputs.n > 'a'",
        "output.items[9]",
        "(" * 400 + "1" + ")" * 400,
        "1" + " + 1" * 1_000,
        "int('x')",
        "[[0] * 9999] * 9999 == [[0] * 9999] * 9999",
        "[[[0] * 999] * 999] < [[[0] * 999] * 999]",
        "[[1]] in [[[0] * 99999] * 99999]",
        "len(sum([[0] * 9999] * 2000, [])) > 1",
        "sum([[0], [1]]) == 1",
        "len(str([[['a' * 9999] * 9999] * 9999])) > 1",
        "lower([['a' * 99999] * 9999]) == ''",
        "max([[0] * 99999] * 9999) == 1",
        "'a' * 99999 + 'b' == 'c' or " + " or ".join(["len([0] * 99999) < 1"] * 60),
        "len(inputs.large" + "[1:]" * 30 + ") == 1",
        "len(inputs.large" + " + inputs.large" * 40 + ") == 1",
        "round(1, -999999999) == 0",
    ],
)
def test_a_bad_or_hostile_condition_is_refused(condition: str) -> None:
    """What would take minutes is broken off by what it has worked on, which is not a matter of the clock."""
    with pytest.raises(ConditionProblem):
        holds(condition, NAMES)


def test_a_condition_is_checked_without_being_decided() -> None:
    assert check_condition("output.missing > 1") is None
    assert "cannot be called" in (check_condition("eval('1')") or "")


def test_references_are_names_and_their_keys() -> None:
    assert condition_references("output.count > inputs.n and len(steps['b'].output) == z and true") == {
        ("output", "count"),
        ("inputs", "n"),
        ("steps", "b"),
        ("z",),
    }


@pytest.mark.parametrize("condition", ['"x" + ' + '"' + "a" * 10 + '"' + "()" * 600, "x" + "()" * 600])
def test_what_nests_too_deeply_is_a_problem_and_no_fault(condition: str) -> None:
    assert check_condition(condition) is not None
    with pytest.raises(ConditionProblem):
        condition_references(condition)
