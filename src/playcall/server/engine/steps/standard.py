"""`standard`: one agent, one operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....models.step import StandardStep
from .parts import OperationUse, Part, Templates
from .work import Operation, StepWork

__all__ = ["parts", "perform"]


async def perform(step: StandardStep, work: StepWork) -> Any:
    """The output is the operation's."""
    [output] = await work.do(Operation(step.agent, step.operation, step.parameters, names={}))
    return output


def parts(step: StandardStep) -> Iterator[Part]:
    yield OperationUse(("agent",), step.agent, ("operation",), step.operation)
    yield Templates(("parameters",), step.parameters, {})
