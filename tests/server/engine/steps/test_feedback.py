"""The feedback loops, with real tools on real files."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.models import JsonObject
from playcall.server.engine import calls
from playcall.server.engine import engine as engine_module
from playcall.server.engine.operation import Operations
from playcall.server.engine.reporter import Reporter
from playcall.server.engine.segments import MAX_FAULTS
from playcall.server.store.tables import TaskRow
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool
from playcall.server.tools.failure import ToolFailure
from tests.server.engine.conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="package")

GROW: JsonObject = {
    "operation": "template.render",
    "parameters": {"template": "{{ (outputs['template.render'].text if previous else inputs.seed) ~ ' more' }}"},
}
WRITE: JsonObject = {
    "operation": "files.write",
    "parameters": {"path": "draft-{{ iteration }}.txt", "content": "{{ previous.text }}"},
}
COUNT: JsonObject = {"operation": "text.stats", "parameters": {"path": "{{ previous.artifact }}"}}
TOOLS = ["template.render", "files.write", "text.stats"]


def loop(**more: Any) -> JsonObject:
    return {
        "id": "grow",
        "type": "self_feedback_loop",
        "description": "Grows",
        "agent": "a",
        "operations": [GROW, WRITE, COUNT],
        "termination_condition": "output.words >= inputs.words",
        "iterations": 5,
        **more,
    }


def spec(*steps: JsonObject) -> JsonObject:
    return {
        "agents": ["a"],
        "inputs": {"seed": {"type": "string", "default": "one"}, "words": {"type": "integer", "default": 3}},
        "steps": [*steps],
    }


async def test_rounds_go_on_until_the_condition_holds_and_each_operation_sees_what_came_before(house: House) -> None:
    await house.agent("a", TOOLS)
    run = await house.ended(await house.start(spec(loop())))
    assert run.error is None
    output = run.output
    assert (output["iterations"], output["met"], output["output"]["words"]) == (2, True, 3)
    assert output["outputs"]["template.render"]["text"] == "one more more"
    assert output["outputs"]["text.stats"] == output["output"]
    tasks = await house.tasks(run.id)
    assert [(t.operation, t.description, t.place) for t in tasks] == [
        (tool, f"Grows (round {place // 3 + 1} of 5)", place) for place, tool in enumerate(TOOLS * 2)
    ]
    workspace = house.settings.workspaces_dir / run.id
    assert [(workspace / f"draft-{n}.txt").read_text() for n in (1, 2)] == ["one more", "one more more"]


async def test_a_loop_whose_iterations_are_used_up_completes_and_says_so(house: House) -> None:
    await house.agent("a", TOOLS)
    steps = [
        loop(iterations=2, next_conditions=[{"condition": "not output.met", "next": "short"}], next="end"),
        {"id": "short", "type": "standard", "agent": "a", "operation": "text.stats", "parameters": {"text": "x"}},
    ]
    run = await house.ended(await house.start(spec(*steps), {"words": 99}))
    assert run.error is None
    grown = (await house.steps(run.id))["grow"]
    assert (grown.output["iterations"], grown.output["met"], grown.output["output"]["words"]) == (2, False, 3)
    assert run.output["words"] == 1, "`met` chose the way"


async def test_without_a_condition_all_rounds_are_done(house: House) -> None:
    await house.agent("a", ["text.stats"])
    step = loop(operations=["text.stats"], termination_condition=None, iterations=3)
    step["parameters"] = {"text": "{{ ('w ' * iteration) ~ operation }}"}
    run = await house.ended(await house.start(spec(step)))
    assert run.error is None
    assert (run.output["iterations"], run.output["met"]) == (3, True)
    assert run.output["output"]["top_words"][0] == {"word": "w", "count": 3}


async def test_a_failing_operation_fails_the_loop_and_so_does_a_condition_that_cannot_be_decided(house: House) -> None:
    await house.agent("a", ["text.stats"])
    bad = loop(operations=["text.stats"], parameters={"path": "missing-{{ iteration }}.txt"})
    run = await house.ended(await house.start(spec(bad)))
    assert run.error is not None
    assert run.error["code"] == "not_found"
    undecided = loop(operations=["text.stats"], parameters={"text": "x"}, termination_condition="output.score > 1")
    run = await house.ended(await house.start(spec(undecided)))
    assert run.error is not None
    assert (run.error["code"], "score" in run.error["message"]) == ("condition_failed", True)


async def test_a_new_attempt_begins_the_loop_anew_and_what_is_the_same_keeps_its_key(house: House) -> None:
    await house.agent("a", ["text.stats", "files.read"])
    retry = {"attempts": 2, "delay_seconds": 0}
    operations = ["text.stats", {"operation": "files.read", "parameters": {"path": "no.txt"}}]
    step = loop(operations=operations, parameters={"text": "x"}, retry=retry)
    run = await house.ended(await house.start(spec(step)))
    assert run.error is not None
    assert run.error["code"] == "not_found"
    assert [(t.attempt, t.place, t.effect) for t in await house.tasks(run.id)] == [
        (1, 0, "1.0"), (1, 1, "1.1"), (2, 0, "1.0"), (2, 1, "1.1"),
    ]  # fmt: skip


async def test_roles_take_turns_and_the_latest_output_of_each_stands_under_its_name(house: House) -> None:
    await house.agent("writer", ["template.render"])
    await house.agent("critic", ["text.stats"])
    written = "{{ role }} {{ outputs.reviewer.words if outputs.reviewer else 0 }} {{ 'x ' * iteration }}"
    step = {
        "id": "talk",
        "type": "partner_feedback_loop",
        "roles": {"creator": "writer", "reviewer": "critic"},
        "operations": [
            {"operation": "creator:template.render", "parameters": {"template": written}},
            {"operation": "reviewer:text.stats", "parameters": {"text": "{{ outputs.creator.text }}"}},
        ],
        "termination_condition": "outputs.reviewer.words >= 4 and iteration > 1",
        "iterations": 4,
    }
    run = await house.ended(await house.start({"agents": ["writer", "critic"], "steps": [step]}))
    assert run.error is None
    assert run.output["outputs"]["creator"]["text"].split() == ["creator", "3", "x", "x", "x"]
    assert (run.output["iterations"], run.output["met"]) == (3, True), "numbers are no words"
    assert run.output["output"] == run.output["outputs"]["reviewer"]
    assert [(t.agent, t.operation) for t in await house.tasks(run.id)] == [
        ("writer", "template.render"),
        ("critic", "text.stats"),
    ] * 3


async def test_a_run_has_a_bounded_number_of_operations(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playcall.server.engine.step_work.MAX_TASKS_OF_RUN", 3)
    await house.agent("a", ["text.stats"])
    step = loop(operations=["text.stats"], parameters={"text": "x"}, retry={"attempts": 3, "delay_seconds": 0})
    run = await house.ended(await house.start(spec(step), {"words": 9}))
    assert run.error is not None
    assert (run.error["code"], len(await house.tasks(run.id))) == ("too_many_operations", 3)


async def test_what_would_be_done_with_other_parameters_in_a_new_attempt_gets_a_new_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    class DiceParameters(Parameters):
        seen: int | None = None

    @tool("dice", DiceParameters)
    async def dice(parameters: DiceParameters, context: ToolContext) -> int:
        """Gives another number each time, and fails the second time."""
        keys.append(context.idempotency_key.rpartition(":")[2])
        if len(keys) == 2:
            raise ToolFailure("bad_luck", "bad luck")
        return len(keys)

    def only_dice(implementation: str) -> AnyTool:
        return dice

    monkeypatch.setattr(calls, "installed_tool", only_dice)
    await house.agent("a", ["dice"])
    await house.tool("dice", implementation="dice")
    step = loop(
        operations=["dice"], parameters={"seen": "{{ previous }}"}, termination_condition=None, iterations=2,
        retry={"attempts": 2, "delay_seconds": 0},
    )  # fmt: skip
    run = await house.ended(await house.start(spec(step)))
    assert (run.error, run.output["output"]) == (None, 4)
    assert keys == ["1.0", "2.0", "1.0", "2.0@2"], "it saw a 1 first, and a 3 then"


async def test_faults_between_which_a_step_comes_further_do_not_add_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FAULT_PAUSE_SECONDS", (0.01, 0.02))
    broke_off: set[int] = set()
    start = Operations._start

    async def faulty(self: Operations, task: TaskRow, reporter: Reporter) -> object:
        if task.place not in broke_off:
            broke_off.add(task.place)
            raise OSError("the disk is full")
        return await start(self, task, reporter)

    monkeypatch.setattr(Operations, "_start", faulty)
    await house.agent("a", ["text.stats"])
    rounds = MAX_FAULTS + 2
    step = loop(operations=["text.stats"], parameters={"text": "x"}, termination_condition=None, iterations=rounds)
    run = await house.ended(await house.start(spec(step)))
    assert (run.status, run.error, run.output["iterations"]) == ("completed", None, rounds)
    assert (run.segment, len(await house.tasks(run.id))) == (rounds + 1, rounds)
