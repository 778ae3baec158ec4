"""`partner_feedback_loop`: roles take turns, each seeing what the others made."""

from __future__ import annotations

from collections.abc import Iterator

from ....models import JsonObject
from ....models.step import PartnerFeedbackStep, PartnerOperation
from .parts import Condition, Mistake, OperationUse, Part, Templates, unused
from .rounds import Turn, repeat, too_many
from .work import StepWork

__all__ = ["parts", "perform"]


async def perform(step: PartnerFeedbackStep, work: StepWork) -> JsonObject:
    """`outputs` has the latest output of each role."""
    turns: list[Turn] = []
    for one in _operations(step):
        role, _, operation = one.operation.partition(":")
        parameters = one.parameters or step.parameters
        turns.append(Turn(step.roles[role], operation, parameters, role, {"role": role, "operation": operation}))
    return await repeat(turns, step.termination_condition, step.iterations, work)


def parts(step: PartnerFeedbackStep) -> Iterator[Part]:
    operations = _operations(step)
    at_work: set[str] = set()
    names = {"previous": None, "iteration": None, "role": None, "operation": None, "outputs": step.roles.keys()}
    for index, (entry, one) in enumerate(zip(step.operations, operations, strict=True)):
        role, _, operation = one.operation.partition(":")
        at_work.add(role)
        loc = ("operations", index)
        named = loc if isinstance(entry, str) else (*loc, "operation")
        if role in step.roles:
            yield OperationUse(("roles", role), step.roles[role], named, operation)
        else:
            message = f"there is no role {role!r}; there are: {', '.join(step.roles)}"
            yield Mistake(named, message, "role_unknown", role, step.roles)
        yield Templates((*loc, "parameters"), one.parameters, names)
    for role in step.roles:
        if role not in at_work and at_work <= step.roles.keys():  # else one of the unknown may be meant
            yield Mistake(("roles", role), f"no operation is done by the role {role!r}", "role_unused")
    yield Templates(("parameters",), step.parameters, names)
    yield from too_many(len(operations), step.termination_condition, step.iterations)
    yield from unused(step.parameters, [one.parameters for one in operations])
    if condition := step.termination_condition:
        known = {"output": None, "iteration": None, "outputs": step.roles.keys()}
        yield Condition(("termination_condition",), condition, known)


def _operations(step: PartnerFeedbackStep) -> list[PartnerOperation]:
    return [PartnerOperation(operation=one) if isinstance(one, str) else one for one in step.operations]
