"""What the feedback loops have in common: rounds of operations, each of which sees what came before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ....models import JsonObject
from ..conditions import holds
from .parts import Mistake
from .work import MAX_TASKS_OF_RUN, Operation, StepWork

__all__ = ["Turn", "repeat", "too_many"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One operation of each round. Its latest output stands in `outputs` under `key`; `called` is who is at work."""

    agent: str
    operation: str
    parameters: JsonObject
    key: str
    called: JsonObject


async def repeat(turns: Sequence[Turn], condition: str | None, iterations: int, work: StepWork) -> JsonObject:
    """Rounds of all turns, one operation after the other, until the condition holds after a round.

    `met` is false if the iterations were used up instead; the step completes all the same.
    """
    # Any: an output is whatever JSON holds.
    previous: Any = None
    outputs: dict[str, Any] = dict.fromkeys(turn.key for turn in turns)
    met = condition is None
    iteration = 0
    while iteration < iterations:
        iteration += 1
        for index, turn in enumerate(turns):
            operation = Operation(
                turn.agent,
                turn.operation,
                turn.parameters,
                effect=f"{iteration}.{index}",
                note=f"round {iteration} of {iterations}",
                names={**turn.called, "iteration": iteration, "previous": previous, "outputs": dict(outputs)},
            )
            [previous] = await work.do(operation)
            outputs[turn.key] = previous
        names = {**work.names, "output": previous, "outputs": outputs, "iteration": iteration}
        if condition is not None and holds(condition, names):
            met = True
            break
    return {"output": previous, "outputs": outputs, "iterations": iteration, "met": met}


def too_many(operations: int, condition: str | None, iterations: int) -> Iterator[Mistake]:
    """A loop that is sure to fail: nothing ends it before it has begun more operations than a run may have."""
    if condition is None and operations * iterations > MAX_TASKS_OF_RUN:
        message = f"{iterations} rounds of {operations} operations are more than the {MAX_TASKS_OF_RUN:,} of a run"
        yield Mistake(("iterations",), message, "too_many_operations")
