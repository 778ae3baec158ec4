"""The picture of a playbook's steps says which follows which, and takes no text of users for Graphviz's own."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter

from playcall.dashboard.step_graph import step_graph, who_does
from playcall.models import UnknownStep
from playcall.models.step import Step

STEP: TypeAdapter[Step] = TypeAdapter(Step)


def standard(id: str, **fields: Any) -> Step:
    return STEP.validate_python({"id": id, "type": "standard", "agent": "A", "operation": "wait", **fields})


def edges(dot: str) -> list[tuple[str, str]]:
    """By the names of the steps."""
    names = {key: label.split("\\n")[0] for key, label in re.findall(r'(\w+) \[label="([^"]*)"', dot)}
    return [(names[one], names[other]) for one, other in re.findall(r"^(\w+) -> (\w+)", dot, re.MULTILINE)]


def test_steps_follow_each_other_in_the_order_of_the_list() -> None:
    assert edges(step_graph([standard("a"), standard("b"), standard("c")])) == [("a", "b"), ("b", "c")]


def test_next_and_conditions_lead_elsewhere_and_the_end_is_drawn() -> None:
    steps = [
        standard("a", next_conditions=[{"condition": "output.x > 1", "next": "c"}]),
        standard("b", next="end"),
        standard("c"),
    ]
    dot = step_graph(steps)
    assert edges(dot) == [("a", "c"), ("a", "b"), ("b", "end")]
    assert "output.x > 1" in dot


def test_the_last_step_leads_to_the_end_where_another_way_leads_from_it() -> None:
    steps = [standard("a"), standard("b", next_conditions=[{"condition": "true", "next": "end"}])]
    assert edges(step_graph(steps)) == [("a", "b"), ("b", "end"), ("b", "end")]


def test_names_with_quotes_backslashes_and_html_stay_within_their_label() -> None:
    unknown = UnknownStep.model_validate({"id": 'x"]; evil [label="<b>\\N', "type": "new"})
    dot = step_graph([unknown])
    assert 'label="x\\"]; evil [label=\\"<b>\\\\N' in dot
    assert "label=<" not in dot


def test_of_very_many_steps_the_first_are_drawn_and_the_rest_is_counted() -> None:
    dot = step_graph([standard(f"s{n}") for n in range(2_000)], most=10)
    assert len(edges(dot)) == 9
    assert "1,990 more" in dot
    assert "s10" not in dot


def test_each_type_says_who_does_it() -> None:
    parallel = STEP.validate_python({"id": "p", "type": "work_in_parallel", "agents": ["A:x", "B:y"]})
    versus = STEP.validate_python(
        {"id": "v", "type": "versus", "agents": ["A:x", "B:y"], "judge": "J:z", "evaluation_criteria": ["c"]}
    )
    assert who_does(standard("a")) == "A:wait"
    assert who_does(parallel) == "A:x, B:y"
    assert who_does(versus) == "A:x or B:y; J:z decides"
