"""What is wrong with a playbook, all of it at once, before it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, assert_never

from ...models import Agent, FieldProblem, PlaybookSpec, Step, Tool
from ...models.step import END
from ..tools import why_missing
from ..tools.json_kinds import is_list, is_object
from .flow import ancestors, find_cycle, go_tos, reached_from, successors
from .inputs import check_value
from .prompts import is_prompt
from .references import References
from .steps import parts
from .steps.parts import Condition, Loc, Mistake, OperationUse, Part, Templates, order_mistakes
from .suggestions import Suggestions, problem

__all__ = ["validate_playbook"]

MAX_TEXT_CHARACTERS = 262_144
MAX_PROBLEMS = 100


def _no_models(model: str) -> str | None:
    return "no model can be asked here"


def validate_playbook(
    spec: PlaybookSpec,
    *,
    agents: Mapping[str, Agent],
    tools: Mapping[str, Tool],
    why_no_model: Callable[[str], str | None] = _no_models,
) -> list[FieldProblem]:
    """The playbook's problems, the first hundred of them; `loc` counts from the playbook's root.

    `agents` and `tools` are by name; `why_no_model` says why a model cannot be asked, or None. It takes up to a few
    seconds for what `MAX_TEXT_CHARACTERS` lets through: call it in a thread.
    """
    if (size := sum(_texts(spec))) > MAX_TEXT_CHARACTERS:
        message = (
            f"the steps' parameters and conditions have {size:,} characters in all; {MAX_TEXT_CHARACTERS:,} are taken"
        )
        return [problem(["steps"], message, "playbook_too_large")]
    return list(islice(_Validation(spec, agents, tools, why_no_model).problems(), MAX_PROBLEMS))


def _texts(spec: PlaybookSpec) -> Iterator[int]:
    """The lengths of what is read as a template or a condition: with YAML's aliases, more than the document has."""
    for step in spec.steps:
        for part in _all_parts(step):
            if isinstance(part, Condition):
                yield len(part.condition)
            elif isinstance(part, Templates):
                yield from _lengths(part.value)


def _lengths(parameters: Any) -> Iterator[int]:
    """`Any`: a parameter is whatever JSON holds."""
    pending: list[Any] = [parameters]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield len(value)
        elif is_object(value):
            pending.extend(value.values())
        elif is_list(value):
            pending.extend(value)


def _all_parts(step: Step) -> Iterator[Part]:
    """With what a step of any type has."""
    yield from parts(step)
    branches = [
        (("next_conditions", index, "condition"), branch.condition) for index, branch in enumerate(step.next_conditions)
    ]
    for loc, condition in branches:
        yield Condition(loc, condition, {"output": None}, after=True)
    yield from order_mistakes(branches)


class _Validation:
    def __init__(
        self,
        spec: PlaybookSpec,
        agents: Mapping[str, Agent],
        tools: Mapping[str, Tool],
        why_no_model: Callable[[str], str | None],
    ) -> None:
        self._why_no_model = why_no_model
        self._spec = spec
        self._agents = agents
        self._tools = tools
        self._graph = successors(spec.steps)
        self._steps = dict.fromkeys(step.id for step in spec.steps)
        self._listed = frozenset(spec.agents)
        self._suggestions = Suggestions()
        self._references = References(
            inputs=spec.inputs,
            steps=self._steps,
            may_precede=ancestors(self._graph),
            suggestions=self._suggestions,
        )

    def problems(self) -> Iterator[FieldProblem]:
        yield from self._inputs()
        yield from self._listed_agents()
        yield from self._ids()
        yield from self._ways()
        for index, step in enumerate(self._spec.steps):
            for part in _all_parts(step):
                yield from self._part(("steps", index), step, part)

    def _inputs(self) -> Iterator[FieldProblem]:
        for name, spec in self._spec.inputs.items():
            if spec.default is not None and (why := check_value(spec, spec.default)[1]):
                yield problem(["inputs", name, "default"], why, "input_default_invalid")

    def _listed_agents(self) -> Iterator[FieldProblem]:
        for index, name in enumerate(self._spec.agents):
            if name not in self._agents:
                suggestion = self._suggestions.closest(name, self._agents)
                yield problem(["agents", index], f"there is no agent {name!r}", "agent_unknown", suggestion)

    def _ids(self) -> Iterator[FieldProblem]:
        seen: set[str] = set()
        for index, step in enumerate(self._spec.steps):
            if step.id in seen:
                yield problem(["steps", index, "id"], f"another step is called {step.id!r} too", "step_duplicate")
            if step.id == END:
                yield problem(["steps", index, "id"], f"{END!r} means the end of the run", "step_reserved")
            seen.add(step.id)

    def _ways(self) -> Iterator[FieldProblem]:
        steps = self._spec.steps
        for index, step in enumerate(steps):
            for loc, target in _targets(step):
                if target != END and target not in self._steps:
                    suggestion = self._suggestions.closest(target, [*self._steps, END])
                    yield problem(("steps", index, *loc), f"there is no step {target!r}", "step_unknown", suggestion)
        if cycle := find_cycle(self._graph):
            index = next(i for i, step in enumerate(steps) if step.id == cycle[-2])
            yield problem(
                ["steps", index],
                f"the steps {' → '.join(cycle)} form a loop without bound: the way may only lead onwards",
                "loop_without_bound",
            )
        reached = reached_from(steps[0].id, self._graph)
        for index, step in enumerate(steps):
            if step.id not in reached:
                yield problem(["steps", index], f"no way leads to step {step.id!r}", "step_unreachable")

    def _part(self, prefix: Loc, step: Step, part: Part) -> Iterator[FieldProblem]:
        match part:
            case OperationUse():
                yield from self._operation(prefix, part)
            case Templates():
                yield from self._references.templates(prefix, step.id, part)
            case Condition():
                yield from self._references.condition(prefix, step.id, part)
            case Mistake():
                suggestion = self._suggestions.closest(part.name, part.among)
                yield problem((*prefix, *part.loc), part.message, part.kind, suggestion)
            case _:
                assert_never(part)

    def _operation(self, prefix: Loc, use: OperationUse) -> Iterator[FieldProblem]:
        agent, operation = use.agent, use.operation
        if agent not in self._listed:
            yield problem(
                (*prefix, *use.agent_loc),
                f"the agent {agent!r} is not among the playbook's `agents`",
                "agent_not_listed",
                self._suggestions.closest(agent, self._spec.agents),
            )
            return
        known = self._agents.get(agent)
        if known is None:
            return  # told where the playbook lists it
        loc = (*prefix, *use.operation_loc)
        if is_prompt(operation, agent_model=known.model, agent_tools=known.tools, known=self._tools):
            if known.model is not None and (why := self._why_no_model(known.model)):
                reason = f"{operation!r} is a prompt for the model of {agent!r}, and {why}"
                yield problem(loc, reason, "model_unavailable", self._suggestions.closest(operation, known.tools))
            for name in known.tools:
                if name not in self._tools:
                    yield problem(
                        loc, f"the agent {agent!r} gives its model a tool: {why_missing(name)}", "tool_unknown"
                    )
        elif operation not in known.tools:
            suggestion = self._suggestions.closest(operation, known.tools)
            yield problem(loc, f"the agent {agent!r} has no tool {operation!r}", "operation_unknown", suggestion)
        elif operation not in self._tools:
            yield problem(
                loc,
                f"the agent {agent!r} names a tool that is not registered: {why_missing(operation)}",
                "tool_unknown",
                self._suggestions.closest(operation, self._tools),
            )


def _targets(step: Step) -> Iterator[tuple[Loc, str]]:
    """The steps that it names as following it, and where."""
    for index, branch in enumerate(step.next_conditions):
        yield ("next_conditions", index, "next"), branch.next
    if step.next is not None:
        yield ("next",), step.next
    for index, target in go_tos(step).items():
        yield ("operations", index, "failure_action", "go_to"), target
