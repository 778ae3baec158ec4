"""Where a run goes from a step: the graph that `next` and `next_conditions` draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ...models import Step, StepStatus
from ...models.step import END, GoTo, ProcessStep
from .conditions import ConditionProblem, holds

__all__ = ["ancestors", "completed_way", "find_cycle", "go_tos", "next_step", "reached_from", "successors"]


def successors(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Every step that may follow each one, without the end and without names of no step."""
    known = {step.id for step in steps}
    graph: dict[str, list[str]] = {}
    for index, step in enumerate(steps):
        targets = [condition.next for condition in step.next_conditions]
        targets.extend(go_tos(step).values())
        fallback = _fallback(steps, index)
        if fallback is not None:
            targets.append(fallback)
        graph.setdefault(step.id, list(dict.fromkeys(t for t in targets if t in known)))
    return graph


def go_tos(step: Step) -> dict[int, str]:
    """Where the run goes on if the step fails, by the place of the operation that failed it."""
    if not isinstance(step, ProcessStep):
        return {}
    actions = [operation.failure_action for operation in step.operations]
    return {index: action.go_to for index, action in enumerate(actions) if isinstance(action, GoTo)}


def next_step(steps: Sequence[Step], current: str, names: Mapping[str, Any]) -> str | None:
    """The step after `current`, or None at the end.

    The first of `next_conditions` that holds wins; then `next`; then the step that follows in the list.

    Raises:
        ConditionProblem: a condition cannot be decided.
    """
    index = next(i for i, step in enumerate(steps) if step.id == current)
    for branch in steps[index].next_conditions:
        if holds(branch.condition, names):
            return None if branch.next == END else branch.next
    fallback = _fallback(steps, index)
    return None if fallback == END else fallback


def completed_way(steps: Sequence[Step], statuses: Mapping[str, str], names: Mapping[str, Any]) -> list[str]:
    """The steps that a run has completed, from the first on, up to one that it did not.

    What was done after a step that failed, because it said where to go on, is not among them.
    """
    way: list[str] = []
    at: str | None = steps[0].id
    while at is not None and statuses[at] in (StepStatus.COMPLETED, StepStatus.REUSED):
        way.append(at)
        try:
            at = next_step(steps, at, {**names, "output": names["steps"][at]["output"]})
        except ConditionProblem:
            break
    return way


def _fallback(steps: Sequence[Step], index: int) -> str | None:
    following = steps[index + 1].id if index + 1 < len(steps) else None
    return steps[index].next or following


def ancestors(graph: Mapping[str, Sequence[str]]) -> Callable[[str, str], bool]:
    """Tells whether its first step may have run before its second. In a graph with a loop, any may have."""
    try:
        # The sorter takes what comes before for what comes after: so the last steps are first.
        order = [*TopologicalSorter(graph).static_order()][::-1]
    except CycleError:
        return lambda _before, _step: True
    # A set of steps is a number, because thousands of sets of thousands of names are too much to hold.
    bits = {step: 1 << index for index, step in enumerate(order)}
    before = dict.fromkeys(order, 0)
    for step in order:
        for target in graph[step]:
            before[target] |= before[step] | bits[step]
    return lambda earlier, step: bool(before[step] & bits[earlier])


def reached_from(first: str, graph: Mapping[str, Sequence[str]]) -> set[str]:
    """The steps that some way leads to, the first one among them."""
    reached = {first}
    pending = [first]
    while pending:
        new = [target for target in graph[pending.pop()] if target not in reached]
        reached.update(new)
        pending.extend(new)
    return reached


def find_cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The steps of one loop, in its order, or None if there is none."""
    done: set[str] = set()
    for start in graph:
        if start in done:
            continue
        path: list[str] = [start]
        iterators = [iter(graph[start])]
        while iterators:
            target = next(iterators[-1], None)
            if target is None:
                iterators.pop()
                done.add(path.pop())
            elif target in path:
                return [*path[path.index(target) :], target]
            elif target not in done:
                path.append(target)
                iterators.append(iter(graph[target]))
    return None
