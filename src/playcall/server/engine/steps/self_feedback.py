"""`self_feedback_loop`: one agent repeats its operations, each of which sees what came before."""

from __future__ import annotations

from collections.abc import Iterator

from ....models import JsonObject
from ....models.step import LoopOperation, SelfFeedbackStep
from .parts import Condition, OperationUse, Part, Templates, unused
from .rounds import Turn, repeat, too_many
from .work import StepWork

__all__ = ["parts", "perform"]


async def perform(step: SelfFeedbackStep, work: StepWork) -> JsonObject:
    """`outputs` has the latest output of each operation, by its name."""
    turns = [
        Turn(step.agent, one.operation, one.parameters or step.parameters, one.operation, {"operation": one.operation})
        for one in _operations(step)
    ]
    return await repeat(turns, step.termination_condition, step.iterations, work)


def parts(step: SelfFeedbackStep) -> Iterator[Part]:
    operations = _operations(step)
    keys = frozenset(one.operation for one in operations)
    names = {"previous": None, "iteration": None, "operation": None, "outputs": keys}
    for index, (entry, one) in enumerate(zip(step.operations, operations, strict=True)):
        loc = ("operations", index)
        named = loc if isinstance(entry, str) else (*loc, "operation")
        yield OperationUse(("agent",), step.agent, named, one.operation)
        yield Templates((*loc, "parameters"), one.parameters, names)
    yield Templates(("parameters",), step.parameters, names)
    yield from too_many(len(operations), step.termination_condition, step.iterations)
    yield from unused(step.parameters, [one.parameters for one in operations])
    if condition := step.termination_condition:
        known = {"output": None, "iteration": None, "outputs": keys}
        yield Condition(("termination_condition",), condition, known)


def _operations(step: SelfFeedbackStep) -> list[LoopOperation]:
    return [LoopOperation(operation=one) if isinstance(one, str) else one for one in step.operations]
