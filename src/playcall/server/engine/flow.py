"""Where a run goes from a step: the graph that `next` and `next_conditions` draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...models import Step
from ...models.playbook import END
from .conditions import holds

__all__ = ["ancestors", "find_cycle", "next_step", "successors"]


def successors(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Every step that may follow each one, without the end and without names of no step."""
    known = {step.id for step in steps}
    graph: dict[str, list[str]] = {}
    for index, step in enumerate(steps):
        targets = [condition.next for condition in step.next_conditions]
        fallback = _fallback(steps, index)
        if fallback is not None:
            targets.append(fallback)
        graph.setdefault(step.id, list(dict.fromkeys(t for t in targets if t in known)))
    return graph


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


def _fallback(steps: Sequence[Step], index: int) -> str | None:
    following = steps[index + 1].id if index + 1 < len(steps) else None
    return steps[index].next or following


def ancestors(graph: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """For each step, those that may have run before it."""
    incoming: dict[str, set[str]] = {step: set() for step in graph}
    for step, targets in graph.items():
        for target in targets:
            incoming[target].add(step)
    result: dict[str, set[str]] = {}
    for step in graph:
        seen: set[str] = set()
        pending = list(incoming[step])
        while pending:
            before = pending.pop()
            if before not in seen:
                seen.add(before)
                pending.extend(incoming[before])
        result[step] = seen
    return result


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
