"""What is wrong with a step of each type is told when the playbook is stored, at the place where it stands."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from playcall.models import JsonObject, PlaybookSpec
from playcall.server.documents import read_yaml
from playcall.server.engine import validate_playbook
from tests.server.engine.test_validate import AGENTS, TOOLS, problems, step

SELF: JsonObject = {
    "id": "l", "type": "self_feedback_loop", "agent": "reader", "operations": ["read"], "iterations": 3,
}  # fmt: skip
PARTNER: JsonObject = {
    "id": "l", "type": "partner_feedback_loop", "roles": {"maker": "reader", "critic": "thinker"},
    "operations": ["maker:read", "critic:read"], "iterations": 3,
}  # fmt: skip
DOES: JsonObject = {"agent": "reader", "operation": "read"}
PROCESS: JsonObject = {"id": "p", "type": "process", "operations": [DOES, DOES]}
VERSUS: JsonObject = {
    "id": "v", "type": "versus", "agents": ["reader:read", "thinker:read"], "judge": "reader:read",
    "evaluation_criteria": ["good"],
}  # fmt: skip
HANDOFF: JsonObject = {
    "id": "h", "type": "handoff", **DOES, "handoff_conditions": [{"condition": "output.n > 1", **DOES}],
}  # fmt: skip


def at(step: JsonObject, **more: Any) -> list[tuple[str, str, str | None]]:
    return [(".".join(map(str, loc[2:])), kind, suggestion) for loc, kind, suggestion in problems([{**step, **more}])]


def test_a_list_of_the_templates_own_is_not_judged() -> None:
    own = "{% raw %}{{ candidates[9] }}{% endraw %}{% for candidates in inputs %}{{ candidates[9] }}{% endfor %}"
    assert at(VERSUS, judge_parameters={"x": own}) == []


def test_each_type_knows_its_own_names_where_they_have_a_value() -> None:
    loop = {"x": "{{ previous.a }} {{ iteration }} {{ operation }}"}
    read = {"operation": "read", "parameters": {**loop, "y": "{{ outputs.read.a }}"}}
    assert at(SELF, operations=[read], termination_condition="output.a > iteration and outputs.read.b") == []
    mine = {"operation": "maker:read", "parameters": {**loop, "y": "{{ role }} {{ outputs.critic.a }}"}}
    assert at(PARTNER, operations=[mine, "critic:read"], termination_condition="outputs['maker'].n == iteration") == []
    later = {**DOES, "parameters": {"x": "{{ previous.a }} {{ results[0].status }}"}, "condition": "len(results) == 1"}
    assert at(PROCESS, operations=[DOES, later], parameters={"x": "{{ results }}"}) == []
    assert at(VERSUS, judge_parameters={"x": "{{ candidates[0].output }} {{ criteria }}"}) == []
    taken = {"condition": "output.n > 1", **DOES, "parameters": {"x": "{{ output.n }}"}}
    completion = {**DOES, "parameters": {"x": "{{ output }} {{ primary }}"}}
    assert at(HANDOFF, handoff_conditions=[taken], completion_action=completion) == []


@pytest.mark.parametrize(
    ("step", "more", "expected"),
    [
        (SELF, {"agent": "raeder"}, ("agent", "agent_not_listed", "reader")),
        (SELF, {"operations": ["read", "raed"]}, ("operations.1", "operation_unknown", "read")),
        (SELF, {"operations": [{"operation": "raed"}]}, ("operations.0.operation", "operation_unknown", "read")),
        (SELF, {"parameters": {"x": "{{ role }}"}}, ("parameters.x", "name_unknown", None)),
        (SELF, {"parameters": {"x": "{{ outputs.raed }}"}}, ("parameters.x", "output_unknown", "read")),
        (SELF, {"termination_condition": "previous.n"}, ("termination_condition", "name_unknown", None)),
        (SELF, {"termination_condition": "outputs.raed"}, ("termination_condition", "output_unknown", "read")),
        (SELF, {"termination_condition": "1 +"}, ("termination_condition", "condition_invalid", None)),
        (SELF, {"termination_condition": "steps.l.output"}, ("termination_condition", "step_not_run_yet", None)),
        (
            SELF,
            {"parameters": {"x": 1}, "operations": [{"operation": "read", "parameters": {"y": 1}}]},
            ("parameters", "parameters_unused", None),
        ),
        (SELF, {"operations": ["read"] * 11, "iterations": 1_000}, ("iterations", "too_many_operations", None)),
        (PARTNER, {"operations": ["maker:read", "critc:read"]}, ("operations.1", "role_unknown", "critic")),
        (PARTNER, {"operations": ["maker:read", "maker:read"]}, ("roles.critic", "role_unused", None)),
        (PARTNER, {"roles": {"maker": "reader", "critic": "raeder"}}, ("roles.critic", "agent_not_listed", "reader")),
        (PARTNER, {"operations": ["maker:raed", "critic:read"]}, ("operations.0", "operation_unknown", "read")),
        (PARTNER, {"parameters": {"x": "{{ outputs.read }}"}}, ("parameters.x", "output_unknown", None)),
        (PROCESS, {"operations": [{**DOES, "operation": "raed"}]}, ("operations.0.operation", "operation_unknown", "read")),
        (
            PROCESS,
            {"operations": [{**DOES, "parameters": {"x": "{{ previous.a }}"}}]},
            ("operations.0.parameters.x", "output_not_there_yet", None),
        ),
        (
            PROCESS,
            {"operations": [{**DOES, "condition": "results"}]},
            ("operations.0.condition", "output_not_there_yet", None),
        ),
        (PROCESS, {"operations": [DOES, {**DOES, "condition": "output.n"}]}, ("operations.1.condition", "name_unknown", None)),
        (
            PROCESS,
            {"operations": [{**DOES, "failure_action": {"go_to": "enb"}}]},
            ("operations.0.failure_action.go_to", "step_unknown", "end"),
        ),
        (PROCESS, {"operations": [DOES, {**DOES, "condition": "results[1]"}]}, ("operations.1.condition", "output_unknown", None)),
        (
            PROCESS,
            {"operations": [DOES, {**DOES, "parameters": {"x": "{{ results[0] }} {{ results[1].output }}"}}]},
            ("operations.1.parameters.x", "output_unknown", None),
        ),
        (VERSUS, {"judge_parameters": {"x": "{{ candidates[2].output }}"}}, ("judge_parameters.x", "output_unknown", None)),
        (PROCESS, {"retry": {"attempts": 2}}, ("retry", "retry_unused", None)),
        (VERSUS, {"agents": ["reader:read", "raeder:read"]}, ("agents.1", "agent_not_listed", "reader")),
        (VERSUS, {"judge": "reader:raed"}, ("judge", "operation_unknown", "read")),
        (VERSUS, {"parameters": {"x": "{{ candidates }}"}}, ("parameters.x", "name_unknown", None)),
        (VERSUS, {"judge_parameters": {"x": "{{ candidate }}"}}, ("judge_parameters.x", "name_unknown", "candidates")),
        (HANDOFF, {"operation": "raed"}, ("operation", "operation_unknown", "read")),
        (HANDOFF, {"parameters": {"x": "{{ output }}"}}, ("parameters.x", "output_not_there_yet", None)),
        (
            HANDOFF,
            {"handoff_conditions": [{"condition": "true", **DOES}, {"condition": "output.n", **DOES}]},
            ("handoff_conditions.1.condition", "condition_unreachable", None),
        ),
        (
            HANDOFF,
            {"handoff_conditions": [{"condition": "output.n", **DOES}, {"condition": " output.n ", **DOES}]},
            ("handoff_conditions.1.condition", "condition_unreachable", None),
        ),
        (
            HANDOFF,
            {"completion_action": {**DOES, "agent": "raeder"}},
            ("completion_action.agent", "agent_not_listed", "reader"),
        ),
        (
            HANDOFF,
            {"handoff_conditions": [{"condition": "primary", **DOES}]},
            ("handoff_conditions.0.condition", "name_unknown", None),
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(
    step: JsonObject, more: JsonObject, expected: tuple[str, str, str | None]
) -> None:
    assert at(step, **more) == [expected]


def test_a_failure_that_leads_somewhere_is_a_way_of_the_graph() -> None:
    back = {**PROCESS, "operations": [{**DOES, "failure_action": {"go_to": "a"}}]}
    assert [p[1] for p in problems([step("a"), back])] == ["loop_without_bound"]
    there = {**PROCESS, "operations": [{**DOES, "failure_action": {"go_to": "mend"}}], "next": "end"}
    mend = step("mend", parameters={"x": "{{ steps.p.error.code }} {{ steps.p.output }}"})
    assert problems([there, mend]) == [], "reached by the failure alone, and after it"
    assert [p[1] for p in problems([{**there, "operations": [DOES]}, mend])] == ["step_unreachable", "step_not_run_yet"]


def test_a_problem_has_the_line_and_column_of_what_is_wrong() -> None:
    text = """
name: p
agents: [reader]
steps:
  - id: p
    type: process
    operations:
      - {agent: reader, operation: read}
      - agent: reader
        operation: read
        parameters: {x: "{{ prevoius }}"}
        failure_action: {go_to: nowhere}
"""
    document = read_yaml(text.encode())
    found = document.place(validate_playbook(PlaybookSpec.model_validate(document.value), agents=AGENTS, tools=TOOLS))
    assert [(p.type, p.line, p.column, p.suggestion) for p in found] == [
        ("step_unknown", 12, 33, None),
        ("name_unknown", 11, 25, "previous"),
    ]


words = st.sampled_from(["reader", "thinker", "ghost", "read", "lost", "a", "b", "end", "maker", "critic"])
texts = st.sampled_from(
    ["x", "{{ previous }}", "{{ outputs.read }}", "{{ steps.a.output }}", "{{ inputs.x }}", "{{ broken", "output.n > 1",
     "results", "true", "iteration == 2", "outputs.maker", "1 +"]
)  # fmt: skip
parameters = st.dictionaries(st.sampled_from("xy"), st.one_of(texts, st.lists(texts, max_size=2)), max_size=2)
entries = st.builds("{}:{}".format, words, words)
more = {"id": words, "next": words, "parameters": parameters}
does = st.fixed_dictionaries({"agent": words, "operation": words, "parameters": parameters})
steps = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("self_feedback_loop"), "agent": words, "iterations": st.just(2), "termination_condition": texts,
         "operations": st.lists(st.one_of(words, st.fixed_dictionaries({"operation": words, "parameters": parameters})),
                                min_size=1, max_size=2), **more}
    ),
    st.fixed_dictionaries(
        {"type": st.just("partner_feedback_loop"), "roles": st.just({"maker": "reader", "critic": "ghost"}),
         "operations": st.lists(entries, min_size=2, max_size=3), "iterations": st.just(2), **more}
    ),
    st.fixed_dictionaries(
        {"type": st.just("process"), **more,
         "operations": st.lists(
             st.tuples(does, st.one_of(st.just("retry"), st.builds(lambda to: {"go_to": to}, words)), texts).map(
                 lambda t: {**t[0], "failure_action": t[1], "condition": t[2]}), min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("versus"), "agents": st.lists(entries, min_size=2, max_size=2), "judge": entries,
         "judge_parameters": parameters, "evaluation_criteria": st.just(["x"]), **more}
    ),
    st.fixed_dictionaries(
        {"type": st.just("handoff"), "agent": words, "operation": words, "completion_action": does, **more,
         "handoff_conditions": st.lists(
             st.tuples(does, texts).map(lambda t: {**t[0], "condition": t[1]}), min_size=1, max_size=3)}
    ),
)  # fmt: skip


# A thread of something else in this process may use `random` while a value is drawn; nothing here does.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@settings(deadline=None)
@given(st.lists(steps, min_size=1, max_size=4))
def test_whatever_is_wrong_every_problem_points_at_something_that_the_author_wrote(steps: list[JsonObject]) -> None:
    written = {"name": "p", "agents": ["reader", "thinker"], "steps": steps}
    document = read_yaml(yaml.safe_dump(written).encode())
    spec = PlaybookSpec.model_validate(document.value)
    found = validate_playbook(spec, agents=AGENTS, tools=TOOLS)
    for problem in found:
        assert tuple(problem.loc) in document.places, problem
    assert found == validate_playbook(spec, agents=AGENTS, tools=TOOLS)
