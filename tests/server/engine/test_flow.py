"""Where a run goes, as data."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from playcall.models import Step
from playcall.server.engine.flow import completed_way, find_cycle, go_tos, successors

DOES = {"agent": "a", "operation": "o"}
STEPS: list[Step] = TypeAdapter(list[Step]).validate_python(
    [
        {"id": "first", "type": "standard", **DOES,
         "next_conditions": [{"condition": "output.short", "next": "last"}]},
        {"id": "risky", "type": "process", "operations": [DOES, {**DOES, "failure_action": {"go_to": "mend"}}],
         "next": "last"},
        {"id": "mend", "type": "standard", **DOES},
        {"id": "last", "type": "standard", **DOES},
    ]
)  # fmt: skip


def way(**outcomes: tuple[str, Any]) -> list[str]:
    rows = {step.id: outcomes.get(step.id, ("skipped", None)) for step in STEPS}
    names = {
        "inputs": {},
        "steps": {name: {"status": status, "output": output} for name, (status, output) in rows.items()},
    }
    return completed_way(STEPS, {name: status for name, (status, _) in rows.items()}, names)


def test_a_failure_that_leads_somewhere_is_an_edge() -> None:
    assert go_tos(STEPS[1]) == {1: "mend"}
    assert successors(STEPS) == {"first": ["last", "risky"], "risky": ["mend", "last"], "mend": ["last"], "last": []}
    assert find_cycle(successors(STEPS)) is None


def test_the_completed_way_ends_at_the_first_step_that_did_not_complete() -> None:
    done = ("completed", {"short": False})
    assert way(first=done, risky=("reused", None), last=done) == ["first", "risky", "last"]
    assert way(first=done, risky=("failed", None), mend=done, last=done) == ["first"]
    assert way(first=("completed", {"short": True}), last=("cancelled", None)) == ["first"]
    assert way(first=("completed", {"short": True}), last=done) == ["first", "last"]
    assert way(first=("completed", {})) == ["first"], "a condition that cannot be decided leads nowhere"
    assert way() == []
