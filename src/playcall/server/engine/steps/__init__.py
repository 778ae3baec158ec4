"""The step types, each in a file of its own: what a step does with its operations' outputs, and what it refers to.

A type knows nothing of databases, retries or crashes. `perform` is done again from the start after a crash, and is told
the outputs that there were before: so it is a function of outputs, and asks no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from ....models import Step
from ....models.step import (
    HandoffStep,
    ParallelStep,
    PartnerFeedbackStep,
    ProcessStep,
    SelfFeedbackStep,
    StandardStep,
    StepRetry,
    VersusStep,
)
from . import handoff, parallel, partner_feedback, process, self_feedback, standard, versus
from .parts import Part
from .work import Operation, StepWork

__all__ = ["Operation", "Part", "StepWork", "parts", "perform", "retry_of"]


async def perform(step: Step, work: StepWork) -> Any:
    """The step's output, of whatever type JSON holds.

    Raises:
        StepFailed: It failed.
        ConditionProblem: One of its conditions cannot be decided.
    """
    match step:
        case StandardStep():
            return await standard.perform(step, work)
        case ParallelStep():
            return await parallel.perform(step, work)
        case SelfFeedbackStep():
            return await self_feedback.perform(step, work)
        case PartnerFeedbackStep():
            return await partner_feedback.perform(step, work)
        case ProcessStep():
            return await process.perform(step, work)
        case VersusStep():
            return await versus.perform(step, work)
        case HandoffStep():
            return await handoff.perform(step, work)
        case _:
            assert_never(step)


def parts(step: Step) -> Iterator[Part]:
    """All that the step refers to, and what is surely a mistake in it. Places count from the step."""
    match step:
        case StandardStep():
            yield from standard.parts(step)
        case ParallelStep():
            yield from parallel.parts(step)
        case SelfFeedbackStep():
            yield from self_feedback.parts(step)
        case PartnerFeedbackStep():
            yield from partner_feedback.parts(step)
        case ProcessStep():
            yield from process.parts(step)
        case VersusStep():
            yield from versus.parts(step)
        case HandoffStep():
            yield from handoff.parts(step)
        case _:
            assert_never(step)


def retry_of(step: Step) -> StepRetry:
    """How often the whole step is tried. A process is begun once: its `retry` is its operations'."""
    if step.retry is None or isinstance(step, ProcessStep):
        return StepRetry(attempts=1)
    return step.retry
