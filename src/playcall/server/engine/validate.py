"""What is wrong with a playbook, all of it at once, before it is stored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ...models import Agent, FieldProblem, PlaybookSpec, Step, Tool
from ...models.playbook import END, ParallelStep, StandardStep
from ..tools.json_kinds import is_list, is_object
from ..tools.templating import check_template, references
from .conditions import check_condition, condition_references
from .flow import ancestors, find_cycle, reached_from, successors
from .inputs import check_value

__all__ = ["BUILT_STEP_TYPES", "validate_playbook"]

BUILT_STEP_TYPES = ("standard", "work_in_parallel")

MAX_TEXT_CHARACTERS = 262_144
MAX_PROBLEMS = 100
MAX_MESSAGE_CHARACTERS = 1_000
MAX_COMPARISONS = 1_000
"""Of names, for suggestions, in all: each takes up to a tenth of a millisecond."""
COMPARISONS_AT_ONCE = 200
SUGGESTION_CHARACTERS = 64

Loc = list[str | int]


def validate_playbook(
    spec: PlaybookSpec, *, agents: Mapping[str, Agent], tools: Mapping[str, Tool]
) -> list[FieldProblem]:
    """The playbook's problems, the first hundred of them; `loc` counts from the playbook's root.

    `agents` and `tools` are by name. It takes up to a few seconds for what `MAX_TEXT_CHARACTERS` lets through: call it in
    a thread.
    """
    if (size := sum(_texts(spec))) > MAX_TEXT_CHARACTERS:
        message = (
            f"the steps' parameters and conditions have {size:,} characters in all; {MAX_TEXT_CHARACTERS:,} are taken"
        )
        return [_problem(["steps"], message, "playbook_too_large")]
    return list(islice(_Validation(spec, agents, tools).problems(), MAX_PROBLEMS))


def _texts(spec: PlaybookSpec) -> Iterator[int]:
    """The lengths of what is read as a template or a condition: with YAML's aliases, more than the document has."""
    pending: list[Any] = [step.parameters for step in spec.steps]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield len(value)
        elif is_object(value):
            pending.extend(value.values())
        elif is_list(value):
            pending.extend(value)
    for step in spec.steps:
        yield from (len(branch.condition) for branch in step.next_conditions)
        if isinstance(step, ParallelStep):
            yield len(step.output_aggregation.condition or "")


class _Validation:
    def __init__(self, spec: PlaybookSpec, agents: Mapping[str, Agent], tools: Mapping[str, Tool]) -> None:
        self._spec = spec
        self._agents = agents
        self._tools = tools
        self._graph = successors(spec.steps)
        self._may_precede = ancestors(self._graph)
        self._steps = dict.fromkeys(step.id for step in spec.steps)
        self._listed = frozenset(spec.agents)
        self._comparisons = MAX_COMPARISONS

    def problems(self) -> Iterator[FieldProblem]:
        yield from self._inputs()
        yield from self._listed_agents()
        yield from self._flow()
        for index, step in enumerate(self._spec.steps):
            yield from self._step(["steps", index], step)

    def _inputs(self) -> Iterator[FieldProblem]:
        for name, spec in self._spec.inputs.items():
            if spec.default is not None and (why := check_value(spec, spec.default)[1]):
                yield _problem(["inputs", name, "default"], why, "input_default_invalid")

    def _listed_agents(self) -> Iterator[FieldProblem]:
        for index, name in enumerate(self._spec.agents):
            if name not in self._agents:
                yield _problem(
                    ["agents", index], f"there is no agent {name!r}", "agent_unknown", self._closest(name, self._agents)
                )

    def _flow(self) -> Iterator[FieldProblem]:
        steps = self._spec.steps
        seen: set[str] = set()
        for index, step in enumerate(steps):
            if step.id in seen:
                yield _problem(["steps", index, "id"], f"another step is called {step.id!r} too", "step_duplicate")
            if step.id == END:
                yield _problem(["steps", index, "id"], f"{END!r} means the end of the run", "step_reserved")
            seen.add(step.id)
        for index, step in enumerate(steps):
            targets: list[tuple[Loc, str]] = [
                (["steps", index, "next_conditions", i, "next"], branch.next)
                for i, branch in enumerate(step.next_conditions)
            ]
            if step.next is not None:
                targets.append((["steps", index, "next"], step.next))
            for loc, target in targets:
                if target != END and target not in self._steps:
                    yield _problem(
                        loc, f"there is no step {target!r}", "step_unknown", self._closest(target, [*self._steps, END])
                    )
        if cycle := find_cycle(self._graph):
            index = next(i for i, step in enumerate(steps) if step.id == cycle[-2])
            yield _problem(
                ["steps", index],
                f"the steps {' → '.join(cycle)} form a loop without bound: `next` may only lead onwards",
                "loop_without_bound",
            )
        reached = reached_from(steps[0].id, self._graph)
        for index, step in enumerate(steps):
            if step.id not in reached:
                yield _problem(["steps", index], f"no way leads to step {step.id!r}", "step_unreachable")

    def _step(self, loc: Loc, step: Step) -> Iterator[FieldProblem]:
        if isinstance(step, StandardStep):
            yield from self._operation([*loc, "agent"], step.agent, [*loc, "operation"], step.operation)
        elif isinstance(step, ParallelStep):
            for index, entry in enumerate(step.agents):
                agent, _, operation = entry.partition(":")
                yield from self._operation([*loc, "agents", index], agent, [*loc, "agents", index], operation)
            yield from self._sharing(loc, step)
            if condition := step.output_aggregation.condition:
                where: Loc = [*loc, "output_aggregation", "condition"]
                yield from self._condition(where, step, condition, {"output", "index"})
        else:
            yield _problem(
                [*loc, "type"],
                f"steps of type {step.type!r} are not built yet; there are: {', '.join(BUILT_STEP_TYPES)}",
                "step_type_unsupported",
            )
        yield from self._templates([*loc, "parameters"], step, step.parameters)
        for index, branch in enumerate(step.next_conditions):
            where = [*loc, "next_conditions", index, "condition"]
            yield from self._condition(where, step, branch.condition, {"output"}, after=True)

    def _operation(self, agent_loc: Loc, agent: str, operation_loc: Loc, operation: str) -> Iterator[FieldProblem]:
        if agent not in self._listed:
            yield _problem(
                agent_loc,
                f"the agent {agent!r} is not among the playbook's `agents`",
                "agent_not_listed",
                self._closest(agent, self._spec.agents),
            )
            return
        known = self._agents.get(agent)
        if known is None:
            return  # told where the playbook lists it
        if operation not in known.tools:
            reason = f"the agent {agent!r} has no tool {operation!r}"
            if known.model is not None:
                reason += "; prompts for a model are not built yet"
            yield _problem(operation_loc, reason, "operation_unknown", self._closest(operation, known.tools))
        elif operation not in self._tools:
            yield _problem(
                operation_loc,
                f"the agent {agent!r} names a tool {operation!r} that is not registered",
                "tool_unknown",
                self._closest(operation, self._tools),
            )

    def _sharing(self, loc: Loc, step: ParallelStep) -> Iterator[FieldProblem]:
        field = step.input_distribution.field
        if field is None or step.input_distribution.mode == "duplicate":
            return
        value = step.parameters.get(field)
        where: Loc = [*loc, "input_distribution", "field"]
        if field not in step.parameters:
            yield _problem(
                where, f"the step has no parameter {field!r}", "field_unknown", self._closest(field, step.parameters)
            )
        elif not (is_list(value) or (isinstance(value, str) and "{{" in value)):
            yield _problem([*loc, "parameters", field], "only a list can be shared out", "field_not_a_list")

    def _templates(self, loc: Loc, step: Step, value: Any) -> Iterator[FieldProblem]:
        if is_object(value):
            for key, item in value.items():
                yield from self._templates([*loc, key], step, item)
        elif is_list(value):
            for index, item in enumerate(value):
                yield from self._templates([*loc, index], step, item)
        elif isinstance(value, str):
            if why := check_template(value):
                yield _problem(loc, f"the template cannot be read: {why}", "template_invalid")
            else:
                yield from self._references(loc, step, references(value), set(), after=False)

    def _condition(
        self, loc: Loc, step: Step, condition: str, extra: set[str], *, after: bool = False
    ) -> Iterator[FieldProblem]:
        if why := check_condition(condition):
            yield _problem(loc, why, "condition_invalid")
        else:
            yield from self._references(loc, step, condition_references(condition), extra, after=after)

    def _references(
        self, loc: Loc, step: Step, found: set[tuple[str, ...]], extra: set[str], *, after: bool
    ) -> Iterator[FieldProblem]:
        """`after`: the step itself has ended by then, so its own output is there."""
        for reference in sorted(found):
            name, key = reference[0], reference[1] if len(reference) > 1 else None
            if name not in ("inputs", "steps") and name not in extra:
                names = ["inputs", "steps", *sorted(extra)]
                yield _problem(
                    loc,
                    f"there is no {name!r}; there are: {', '.join(names)}",
                    "name_unknown",
                    self._closest(name, names),
                )
            elif name == "inputs" and key is not None and key not in self._spec.inputs:
                yield _problem(
                    loc, f"the playbook has no input {key!r}", "input_unknown", self._closest(key, self._spec.inputs)
                )
            elif name == "steps" and key is not None and key not in self._steps:
                yield _problem(loc, f"there is no step {key!r}", "step_unknown", self._closest(key, self._steps))
            elif (
                name == "steps"
                and key is not None
                and not (after and key == step.id)
                and not self._may_precede(key, step.id)
            ):
                yield _problem(loc, f"step {key!r} cannot have run before step {step.id!r}", "step_not_run_yet")

    def _closest(self, name: str, known: Iterable[str]) -> str | None:
        """The name that was meant, perhaps. Comparing is slow: so few are compared, and those of similar length."""
        if len(name) > SUGGESTION_CHARACTERS:
            return None
        likely = (other for other in known if abs(len(other) - len(name)) <= max(2, len(name) // 3))
        compared = list(islice(likely, min(COMPARISONS_AT_ONCE, self._comparisons)))
        self._comparisons -= len(compared)
        close = difflib.get_close_matches(name, compared, n=1)
        return close[0] if close else None


def _problem(loc: Loc, message: str, kind: str, suggestion: str | None = None) -> FieldProblem:
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "…"
    return FieldProblem(loc=loc, msg=message, type=kind, suggestion=suggestion)
