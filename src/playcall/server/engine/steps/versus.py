"""`versus`: two or more operations do the same at once, and a judge picks one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ....models import JsonObject
from ....models.step import VersusStep
from ...tools.json_kinds import is_object
from ..failure import StepFailed
from .parts import Part, Templates, entry_use
from .work import Operation, StepWork

__all__ = ["parts", "perform", "winner_of"]


async def perform(step: VersusStep, work: StepWork) -> JsonObject:
    """If a candidate fails the others are stopped, and the step fails."""
    parameters = await work.render(step.parameters)
    contest: list[Operation] = []
    for index, entry in enumerate(step.agents):
        agent, _, operation = entry.partition(":")
        note = f"candidate {index + 1} of {len(step.agents)}"
        contest.append(Operation(agent, operation, parameters, effect=str(index), note=note))
    outputs = await work.do(*contest)
    candidates: list[JsonObject] = [
        {"agent": one.agent, "operation": one.operation, "output": output}
        for one, output in zip(contest, outputs, strict=True)
    ]
    names: JsonObject = {"candidates": candidates, "criteria": step.evaluation_criteria}
    agent, _, operation = step.judge.partition(":")
    judge = (
        Operation(agent, operation, step.judge_parameters, effect="judge", note="judge", names=names)
        if step.judge_parameters
        else Operation(agent, operation, names, effect="judge", note="judge")
    )
    [verdict] = await work.do(judge)
    winner = winner_of(verdict, step.agents)
    return {"winner": winner, **candidates[winner], "verdict": verdict}


def winner_of(verdict: Any, agents: Sequence[str]) -> int:
    """Whom the judge named: the place in `agents`, from 0.

    The verdict is an object with `winner`, or one with a `text` (as tools that write texts give it) that holds such an
    object or nothing but the winner, or that text or the winner itself. The winner is a place in `agents`, or an entry of
    it, or the name of an agent that stands there once.

    Raises:
        StepFailed: `winner_unclear`.
    """
    named = _named(verdict)
    if isinstance(named, str):
        named = named.strip()
        if named.isdecimal() and len(named) < 10:
            named = int(named)
    if isinstance(named, int) and not isinstance(named, bool) and 0 <= named < len(agents):
        return named
    by_entry = [index for index, entry in enumerate(agents) if entry == named]
    by_agent = [index for index, entry in enumerate(agents) if entry.partition(":")[0] == named]
    for found in (by_entry, by_agent):
        if len(found) == 1:
            return found[0]
    said = json.dumps(verdict, ensure_ascii=False)
    said = said if len(said) <= 200 else said[:200] + "…"
    wanted = f"a number from 0 to {len(agents) - 1}, or one of {', '.join(agents)}"
    raise StepFailed("winner_unclear", f"the judge must name the `winner`: {wanted}; it gave {said}")


def _named(verdict: Any) -> object:
    if is_object(verdict):
        if "winner" in verdict or "text" not in verdict:
            return verdict.get("winner")
        verdict = verdict["text"]
    if isinstance(verdict, str):
        try:
            read = json.loads(verdict)
        except (ValueError, RecursionError):
            return verdict
        return read.get("winner") if is_object(read) else read
    return verdict


def parts(step: VersusStep) -> Iterator[Part]:
    for index, entry in enumerate(step.agents):
        yield entry_use(("agents", index), entry)
    yield entry_use(("judge",), step.judge)
    yield Templates(("parameters",), step.parameters, {})
    yield Templates(
        ("judge_parameters",),
        step.judge_parameters,
        {"candidates": len(step.agents), "criteria": len(step.evaluation_criteria)},
    )
