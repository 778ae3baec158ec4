"""A mistake in YAML is shown where it stands."""

from __future__ import annotations

from playcall.dashboard.mistakes import LINE_CHARACTERS, headline, pointed_at
from playcall.models import FieldProblem

TEXT = "name: x\nsteps:\n  - id: a\n    agent: Waitr\n"


def problem(line: int | None, column: int | None, *, suggestion: str | None = None) -> FieldProblem:
    return FieldProblem(
        loc=["body", "steps", 0, "agent"],
        msg="no such agent",
        type="x",
        line=line,
        column=column,
        suggestion=suggestion,
    )


def test_the_caret_stands_under_the_place_after_the_line_before_it() -> None:
    assert pointed_at(TEXT, problem(4, 12)) == "3 |   - id: a\n4 |     agent: Waitr\n  |            ^"


def test_the_first_line_has_none_before_it() -> None:
    assert pointed_at(TEXT, problem(1, 1)) == "1 | name: x\n  | ^"


def test_a_tab_is_one_column_wide() -> None:
    assert pointed_at("\tx: 1", problem(1, 2)) == "1 |  x: 1\n  |  ^"


def test_of_a_long_line_the_part_with_the_mistake_is_shown() -> None:
    text = "x" * 300 + "!" + "y" * 300
    shown = pointed_at(text, problem(1, 301))
    line, caret = shown.splitlines()
    assert line[caret.index("^")] == "!"
    assert len(line) <= LINE_CHARACTERS + 4


def test_without_a_place_nothing_is_pointed_at() -> None:
    assert pointed_at(TEXT, problem(None, None)) == ""
    assert pointed_at(TEXT, problem(99, 1)) == ""


def test_the_headline_names_field_place_and_what_may_have_been_meant() -> None:
    assert headline(problem(4, 12, suggestion="Waiter")) == (
        "steps[0].agent: no such agent (line 4, column 12); did you mean Waiter?"
    )
    assert headline(FieldProblem(loc=["body"], msg="not YAML", type="x")) == "not YAML"
