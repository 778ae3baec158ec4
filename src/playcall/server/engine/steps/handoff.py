"""`handoff`: a primary agent, then the first to whom its output is handed, then what completes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....models import JsonObject
from ....models.step import HandoffStep
from ..conditions import holds
from .parts import Condition, OperationUse, Part, Templates, order_mistakes
from .work import Operation, StepWork

__all__ = ["parts", "perform"]


async def perform(step: HandoffStep, work: StepWork) -> JsonObject:
    """`output` is that of whoever answered: the primary, or the one that took over."""
    [primary] = await work.do(
        Operation(step.agent, step.operation, step.parameters, effect="primary", note="primary", names={})
    )
    answered_by, output = {"agent": step.agent, "operation": step.operation}, primary
    for index, handoff in enumerate(step.handoff_conditions):
        if not holds(handoff.condition, {**work.names, "output": primary}):
            continue
        names = {"output": primary}
        parameters = handoff.parameters or step.parameters
        note = f"handed to {handoff.agent}"
        taken = Operation(
            handoff.agent, handoff.operation, parameters, effect=f"handoff.{index}", note=note, names=names
        )
        answered_by = {"agent": handoff.agent, "operation": handoff.operation}
        [output] = await work.do(taken)
        break
    # Any: an output is whatever JSON holds.
    completion: Any = None
    if action := step.completion_action:
        names = {"output": output, "primary": primary}
        parameters = action.parameters or step.parameters
        done = Operation(
            action.agent, action.operation, parameters, effect="completion", note="completion", names=names
        )
        [completion] = await work.do(done)
    return {"answered_by": answered_by, "output": output, "primary": primary, "completion": completion}


def parts(step: HandoffStep) -> Iterator[Part]:
    yield OperationUse(("agent",), step.agent, ("operation",), step.operation)
    # Who takes over may get them too, but the primary always does: before there is an output.
    yield Templates(("parameters",), step.parameters, {}, {"output", "primary"})
    for index, handoff in enumerate(step.handoff_conditions):
        loc = ("handoff_conditions", index)
        yield OperationUse((*loc, "agent"), handoff.agent, (*loc, "operation"), handoff.operation)
        yield Condition((*loc, "condition"), handoff.condition, {"output": None})
        yield Templates((*loc, "parameters"), handoff.parameters, {"output": None})
    conditions = [
        (("handoff_conditions", index, "condition"), handoff.condition)
        for index, handoff in enumerate(step.handoff_conditions)
    ]
    yield from order_mistakes(conditions)
    if action := step.completion_action:
        at = "completion_action"
        yield OperationUse((at, "agent"), action.agent, (at, "operation"), action.operation)
        yield Templates((at, "parameters"), action.parameters, {"output": None, "primary": None})
