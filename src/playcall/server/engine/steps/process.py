"""`process`: a sequence of operations, each with a condition, and with what is to be done when it fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ....models import JsonObject
from ....models.step import GoTo, ProcessOperation, ProcessStep, StepRetry
from ..conditions import holds
from ..failure import StepFailed
from .parts import Condition, Mistake, Names, OperationUse, Part, Templates, unused
from .work import Operation, StepWork

__all__ = ["parts", "perform"]

NOT_TRIED_AGAIN = frozenset({"template_failed"})
"""It would fail as it did."""


async def perform(step: ProcessStep, work: StepWork) -> list[JsonObject]:
    """What became of each operation, in order: `status` is `completed`, `failed` or `skipped`.

    A step that fails has them too, as far as it came.
    """
    results: list[JsonObject] = []
    # Any: an output is whatever JSON holds.
    previous: Any = None
    for index, one in enumerate(step.operations):
        result: JsonObject = {"agent": one.agent, "operation": one.operation}
        names = {"previous": previous, "results": list(results)}
        if one.condition is not None and not holds(one.condition, {**work.names, **names}):
            results.append({**result, "status": "skipped", "output": None, "error": None})
            continue
        try:
            previous = await _tried(step, index, names, work)
        except StepFailed as failure:
            error = {"code": failure.code, "message": failure.message}
            results.append({**result, "status": "failed", "output": None, "error": error})
            if one.failure_action == "continue" and not failure.is_final:
                continue
            go_to = one.failure_action.go_to if isinstance(one.failure_action, GoTo) else None
            raise StepFailed(failure.code, failure.message, is_final=True, output=results, go_to=go_to) from None
        results.append({**result, "status": "completed", "output": previous, "error": None})
    return results


async def _tried(step: ProcessStep, index: int, names: Mapping[str, Any], work: StepWork) -> Any:
    one = step.operations[index]
    retry = (step.retry or StepRetry()) if one.failure_action == "retry" else StepRetry(attempts=1)
    attempt = 1
    while True:
        tries = "" if attempt == 1 else f", try {attempt} of {retry.attempts}"
        operation = Operation(
            one.agent,
            one.operation,
            one.parameters or step.parameters,
            effect=str(index),
            note=f"operation {index + 1} of {len(step.operations)}{tries}",
            names=names,
        )
        try:
            [output] = await work.do(operation)
        except StepFailed as failure:
            if failure.is_final or failure.code in NOT_TRIED_AGAIN or attempt >= retry.attempts:
                raise
            await work.pause(retry.delay_seconds * 2 ** (attempt - 1))
            attempt += 1
        else:
            return output


def parts(step: ProcessStep) -> Iterator[Part]:
    for index, one in enumerate(step.operations):
        yield from _operation_parts(index, one)
    yield Templates(("parameters",), step.parameters, {"previous": None, "results": None})
    yield from unused(step.parameters, [one.parameters for one in step.operations])
    if step.retry is not None and all(one.failure_action != "retry" for one in step.operations):
        message = "a process is begun once: `retry` is for operations whose `failure_action` is `retry`, and none is"
        yield Mistake(("retry",), message, "retry_unused")


def _operation_parts(index: int, one: ProcessOperation) -> Iterator[Part]:
    loc = ("operations", index)
    known: Names = {"previous": None, "results": index}
    names, missing = (known, ()) if index else ({}, known)
    yield OperationUse((*loc, "agent"), one.agent, (*loc, "operation"), one.operation)
    yield Templates((*loc, "parameters"), one.parameters, names, missing)
    if one.condition is not None:
        yield Condition((*loc, "condition"), one.condition, names, missing)
