"""One playbook of each step type, all of whose operations are the tool that is named; for what must hold of every type."""

from __future__ import annotations

from collections.abc import Callable

from playcall.models import JsonObject

__all__ = ["SEVEN", "playbook"]

Parameters = Callable[[str], JsonObject]
"""Of the operation with this id, which may be a template."""


def playbook(type: str, tool: str, parameters: Parameters, *, judge: JsonObject | None = None) -> JsonObject:
    """A step of the type. Agents are `a` and `b`; ids of operations are below. `judge` is the judge's parameters."""

    def own(id: str) -> JsonObject:
        return {"operation": tool, "parameters": parameters(id)}

    def partner(role: str, id: str) -> JsonObject:
        return {"operation": f"{role}:{tool}", "parameters": parameters(id)}

    steps: dict[str, JsonObject] = {
        "standard": {"agent": "a", "operation": tool, "parameters": parameters("only")},
        "work_in_parallel": {"agents": [f"a:{tool}", f"b:{tool}"], "parameters": parameters("both")},
        "self_feedback_loop": {"agent": "a", "operations": [own("round-{{ iteration }}")], "iterations": 3},
        "partner_feedback_loop": {
            "roles": {"maker": "a", "critic": "b"},
            "operations": [partner("maker", "make-{{ iteration }}"), partner("critic", "judge-{{ iteration }}")],
            "termination_condition": "iteration == 2",
            "iterations": 9,
        },
        "process": {
            "operations": [
                {"agent": "a", **own("first"), "failure_action": "retry"},
                {"agent": "b", **own("second")},
                {"agent": "a", **own("never"), "condition": "len(results) > 2"},
                {"agent": "a", **own("last")},
            ],
            "retry": {"attempts": 2, "delay_seconds": 0},
        },
        "versus": {
            "agents": [f"a:{tool}", f"b:{tool}"],
            "parameters": parameters("both"),
            "judge": f"a:{tool}",
            "judge_parameters": judge or parameters("judge"),
            "evaluation_criteria": ["first"],
        },
        "handoff": {
            "agent": "a",
            "operation": tool,
            "parameters": parameters("primary"),
            "handoff_conditions": [
                {"condition": "output is None", "agent": "b", **own("never")},
                {"condition": "true", "agent": "b", **own("taken")},
            ],
            "completion_action": {"agent": "a", **own("completion")},
        },
    }
    return {"id": "s", "type": type, **steps[type]}


SEVEN = (
    "standard",
    "work_in_parallel",
    "self_feedback_loop",
    "partner_feedback_loop",
    "process",
    "versus",
    "handoff",
)
