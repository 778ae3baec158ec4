"""`work_in_parallel`: sharing out the input among operations, and making one output of theirs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....models import JsonObject
from ....models.step import InputDistribution, OutputAggregation, ParallelStep
from ...tools.json_kinds import is_list, is_object
from ..conditions import MAX_WORK, Work, holds
from ..failure import StepFailed
from .parts import Condition, Mistake, Part, Templates, entry_use
from .work import Operation, StepWork

__all__ = ["aggregate", "distribute", "parts", "perform"]

_FILTER_WORK = 5 * MAX_WORK
"""Of all the times that the condition of `filter` is decided."""


async def perform(step: ParallelStep, work: StepWork) -> Any:
    """If one operation fails the others are stopped, and the step fails."""
    shares = distribute(await work.render(step.parameters), step.input_distribution, len(step.agents))
    operations: list[Operation] = []
    for index, (entry, share) in enumerate(zip(step.agents, shares, strict=True)):
        agent, _, operation = entry.partition(":")
        operations.append(Operation(agent, operation, share, effect=str(index)))
    outputs = await work.do(*operations)
    # Of thousands of outputs it takes seconds.
    return await asyncio.to_thread(aggregate, outputs, step.output_aggregation, work.names)


def parts(step: ParallelStep) -> Iterator[Part]:
    for index, entry in enumerate(step.agents):
        yield entry_use(("agents", index), entry)
    yield from _sharing(step)
    if condition := step.output_aggregation.condition:
        yield Condition(("output_aggregation", "condition"), condition, {"output": None, "index": None})
    yield Templates(("parameters",), step.parameters, {})


def _sharing(step: ParallelStep) -> Iterator[Part]:
    field = step.input_distribution.field
    if field is None or step.input_distribution.mode == "duplicate":
        return
    if field not in step.parameters:
        loc = ("input_distribution", "field")
        yield Mistake(loc, f"the step has no parameter {field!r}", "field_unknown", field, step.parameters)
        return
    value = step.parameters[field]
    if not (is_list(value) or (isinstance(value, str) and "{{" in value)):
        yield Mistake(("parameters", field), "only a list can be shared out", "field_not_a_list")


def distribute(parameters: JsonObject, distribution: InputDistribution, count: int) -> list[JsonObject]:
    """The parameters of each of `count` operations.

    `split` gives consecutive parts whose lengths differ by one at the most; there may be empty ones.

    Raises:
        StepFailed: `field_not_a_list`.
    """
    field = distribution.field
    if distribution.mode == "duplicate" or field is None:
        return [dict(parameters) for _ in range(count)]
    items = parameters.get(field)
    if not is_list(items):
        raise StepFailed("field_not_a_list", f"the parameter {field!r} is to be shared out, but is not a list")
    if distribution.mode == "round_robin":
        parts = [items[place::count] for place in range(count)]
    else:
        bounds = [place * len(items) // count for place in range(count + 1)]
        parts = [items[start:end] for start, end in itertools.pairwise(bounds)]
    return [{**parameters, field: part} for part in parts]


def aggregate(outputs: Sequence[Any], aggregation: OutputAggregation, names: Mapping[str, Any]) -> Any:
    """One output of all of them, in the order of the operations.

    Raises:
        StepFailed: `output_not_an_object`: `merge` takes objects only.
        ConditionProblem: the condition of `filter` cannot be decided.
    """
    if aggregation.mode == "merge":
        merged: JsonObject = {}
        for output in outputs:
            if not is_object(output):
                raise StepFailed("output_not_an_object", "`merge` takes operations whose outputs are objects")
            merged = _merge(merged, output)
        return merged
    if aggregation.condition is not None:
        condition, together = aggregation.condition, Work(_FILTER_WORK)
        return [
            output
            for index, output in enumerate(outputs)
            if holds(condition, {**names, "output": output, "index": index}, work=together)
        ]
    return list(outputs)


def _merge(into: JsonObject, other: JsonObject) -> JsonObject:
    """Objects are merged, lists joined, and of other values the later stays."""
    result = dict(into)
    for key, value in other.items():
        present = result.get(key)
        if is_object(present) and is_object(value):
            result[key] = _merge(present, value)
        elif is_list(present) and is_list(value):
            result[key] = [*present, *value]
        else:
            result[key] = value
    return result
