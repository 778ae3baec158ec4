"""A playbook is told everything that is wrong with it at once."""

from __future__ import annotations

import cProfile
import difflib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.models import Agent, JsonObject, PlaybookSpec, Tool
from playcall.models.ids import AgentId, ToolId
from playcall.server.clock import utc_now
from playcall.server.engine import validate_playbook
from playcall.server.engine.flow import ancestors, reached_from

NOW = utc_now()


def agent(name: str, tools: list[str], model: str | None = None) -> Agent:
    return Agent(
        id=AgentId(name), version=1, created_at=NOW, updated_at=NOW, name=name, type="w", model=model, tools=tools, state="ready"
    )  # fmt: skip


def tool(name: str) -> Tool:
    return Tool(id=ToolId(name), version=1, created_at=NOW, updated_at=NOW, name=name, kind="builtin")


AGENTS = {a.name: a for a in (agent("reader", ["read", "lost"]), agent("thinker", ["read"], "gpt"))}
TOOLS = {t.name: t for t in (tool("read"), tool("other"))}


def step(id: str, **more: Any) -> JsonObject:
    return {"id": id, "type": "standard", "agent": "reader", "operation": "read", **more}


def problems(steps: list[JsonObject], **more: Any) -> list[tuple[list[str | int], str, str | None]]:
    spec = PlaybookSpec.model_validate({"name": "p", "agents": ["reader", "thinker"], "steps": steps, **more})
    return [(p.loc, p.type, p.suggestion) for p in validate_playbook(spec, agents=AGENTS, tools=TOOLS)]


def test_a_sound_playbook_has_no_problems() -> None:
    steps = [
        step(
            "a", parameters={"path": "{{ inputs.path }}", "deep": [{"x": "{% for i in range(2) %}{{ i }}{% endfor %}"}]}
        ),
        step(
            "b", next_conditions=[{"condition": "output.n > 1 and steps.b.output.n < inputs.n", "next": "d"}], next="c"
        ),
        step("c", parameters={"x": "{{ steps.a.output }}"}, next="end"),
        {
            "id": "d",
            "type": "work_in_parallel",
            "agents": ["reader:read", "thinker:read"],
            "parameters": {"files": "{{ steps.a.output.files }}"},
            "input_distribution": {"mode": "split", "field": "files"},
            "output_aggregation": {"mode": "filter", "condition": "output.ok and index < 3"},
        },
    ]
    inputs = {"path": {"type": "string"}, "n": {"type": "integer", "default": 3, "min": 1}}
    assert problems(steps, inputs=inputs) == []


def test_every_problem_is_told_at_once_with_its_place_and_a_suggestion() -> None:
    found = problems(
        [
            step("a", agent="raeder"),
            step("b", operation="raed"),
            step("c", operation="lost"),
            step("a", next="enb"),
            step("d", parameters={"x": "{{ inputs.pth }}", "y": ["{{ broken"], "z": "{{ steps.nope.output }} {{ self2 }}"}),
            step("e", next_conditions=[{"condition": "1 +", "next": "e2"}]),
            {"id": "v", "type": "versus", "agents": ["reader:read", "raeder:read"], "judge": "reader:raed",
             "evaluation_criteria": ["x"]},
        ],
        agents=["reader", "thinker", "ghost"],
        inputs={"path": {"type": "string"}, "n": {"type": "integer", "default": "many"}},
    )  # fmt: skip
    assert (["inputs", "n", "default"], "input_default_invalid", None) in found
    assert (["agents", 2], "agent_unknown", None) in found
    assert (["steps", 0, "agent"], "agent_not_listed", "reader") in found
    assert (["steps", 1, "operation"], "operation_unknown", "read") in found
    assert (["steps", 2, "operation"], "tool_unknown", None) in found
    assert (["steps", 3, "id"], "step_duplicate", None) in found
    assert (["steps", 3, "next"], "step_unknown", "end") in found
    assert (["steps", 4, "parameters", "x"], "input_unknown", "path") in found
    assert (["steps", 4, "parameters", "y", 0], "template_invalid", None) in found
    assert (["steps", 4, "parameters", "z"], "step_unknown", None) in found
    assert (["steps", 4, "parameters", "z"], "name_unknown", None) in found
    assert (["steps", 5, "next_conditions", 0, "condition"], "condition_invalid", None) in found
    assert (["steps", 5, "next_conditions", 0, "next"], "step_unknown", "e") in found
    assert (["steps", 6, "agents", 1], "agent_not_listed", "reader") in found
    assert (["steps", 6, "judge"], "operation_unknown", "read") in found


def test_a_prompt_is_taken_where_a_model_can_be_asked_and_refused_where_none_can() -> None:
    spec = PlaybookSpec.model_validate(
        {"name": "p", "agents": ["thinker"], "steps": [step("a", agent="thinker", operation="think")]}
    )
    agents = {"thinker": agent("thinker", ["read"], "gpt")}
    assert validate_playbook(spec, agents=agents, tools=TOOLS, why_no_model=lambda _model: None) == []
    (problem,) = validate_playbook(spec, agents=agents, tools=TOOLS, why_no_model="no {}".format)
    assert (problem.loc, problem.type) == (["steps", 0, "operation"], "model_unavailable")
    assert problem.msg.endswith("no gpt")


def test_a_loop_and_an_unreachable_step_are_told() -> None:
    assert [p[1] for p in problems([step("a"), step("b", next="a")])] == ["loop_without_bound"]
    assert problems([step("a", next="c"), step("b"), step("c")]) == [(["steps", 1], "step_unreachable", None)]
    assert [p[1] for p in problems([step("a", next="a")])] == ["loop_without_bound"]


def test_an_output_that_cannot_be_there_yet_is_told() -> None:
    assert problems([step("a", parameters={"x": "{{ steps.b.output }}"}), step("b")]) == [
        (["steps", 0, "parameters", "x"], "step_not_run_yet", None)
    ]
    assert problems([step("a", parameters={"x": "{{ steps.a.output }}"})])[0][1] == "step_not_run_yet"


@pytest.mark.parametrize(
    ("parameters", "type"), [({}, "field_unknown"), ({"files": "text"}, "field_not_a_list"), ({"files": [1]}, None)]
)
def test_what_is_shared_out_must_be_a_list(parameters: JsonObject, type: str | None) -> None:
    parallel = {
        "id": "p",
        "type": "work_in_parallel",
        "agents": ["reader:read"],
        "parameters": parameters,
        "input_distribution": {"mode": "round_robin", "field": "files"},
    }
    assert [p[1] for p in problems([parallel])] == ([type] if type else [])


def test_a_step_called_end_is_refused() -> None:
    assert "step_reserved" in [p[1] for p in problems([step("end")])]


# --- bounds ------------------------------------------------------------------------------------------------------------


def test_a_hundred_problems_are_told_at_most() -> None:
    assert len(problems([step("a", parameters={f"p{n}": "{{" for n in range(1_000)})])) == 100


def test_long_messages_are_cut() -> None:
    spec = PlaybookSpec.model_validate(
        {
            "name": "p",
            "agents": ["reader"],
            "steps": [step("a")],
            "inputs": {"n": {"type": "string", "default": "x", "choices": ["y" * 5_000]}},
        }
    )
    (problem,) = validate_playbook(spec, agents=AGENTS, tools=TOOLS)
    assert len(problem.msg) < 1_100


def test_text_is_bounded_after_aliases_are_counted() -> None:
    text = "{{ inputs.x }}" * 1_000
    (problem,) = problems([step("a", parameters={"many": [text] * 20})])
    assert problem[1] == "playbook_too_large"
    branches = [{"condition": text, "next": "a"}] * 20
    assert problems([step("a", next_conditions=branches)])[0][1] == "playbook_too_large"


def test_few_names_are_compared_for_suggestions(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    closest = difflib.get_close_matches

    def counted(name: str, known: list[str], n: int) -> list[str]:
        nonlocal compared
        compared += len(known)
        return closest(name, known, n=n)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    names = [f"{n:04}" + "x" * 60 for n in range(2_500)]
    known = {name: agent(name, []) for name in names}
    spec = PlaybookSpec.model_validate(
        {"name": "p", "agents": [name[1:] for name in names], "steps": [step("a", agent="y" * 200)]}
    )
    found = validate_playbook(spec, agents=known, tools=TOOLS)
    assert len(found) == 100
    assert found[0].suggestion is not None
    assert compared <= 1_000


def test_the_work_of_judging_a_playbook_grows_with_its_size_and_no_faster() -> None:
    """It took a minute when the names of all steps were collected for each reference. Calls are counted, not seconds."""

    def calls(size: int) -> int:
        steps = [
            step(
                f"s{n}",
                # Each its own, so that nothing is found in a cache.
                parameters={"x": f"{{{{ steps.s0.output }}}}{{{{ steps.s1.output }}}} {size} {n}"},
                next_conditions=[{"condition": "output", "next": f"s{n + 1}"}],
            )
            for n in range(2, size)
        ]
        profile = cProfile.Profile()
        profile.enable()
        found = problems([step("s0"), step("s1"), *steps, step(f"s{size}")])
        profile.disable()
        assert found == []
        return sum(entry.callcount for entry in profile.getstats())

    calls(10)
    assert calls(200) < 5 * calls(50)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.sets(st.integers(0, n - 1)), min_size=n, max_size=n).map(
            lambda rows: {str(i): [str(t) for t in sorted(row) if t > i] for i, row in enumerate(rows)}
        )
    )
)
def test_what_may_have_run_before_is_what_leads_there(graph: dict[str, list[str]]) -> None:
    before = ancestors(graph)
    for earlier in graph:
        reached = reached_from(earlier, graph)
        for later in graph:
            assert before(earlier, later) is (later in reached and later != earlier)
