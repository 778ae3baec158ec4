"""Processes, with real tools on real files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from playcall.models import JsonObject
from playcall.server.engine import calls
from playcall.server.store.tables import RunRow
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool
from playcall.server.tools.failure import ToolFailure
from tests.server.engine.conftest import House
from tests.server.engine.test_run_flow import retry, step

pytestmark = pytest.mark.asyncio(loop_scope="package")


def does(operation: str, parameters: JsonObject | None = None, **more: Any) -> JsonObject:
    return {"agent": "a", "operation": operation, "parameters": parameters or {}, **more}


def process(*operations: JsonObject, **more: Any) -> JsonObject:
    return {"id": "p", "type": "process", "operations": [*operations], **more}


def spec(*steps: JsonObject) -> JsonObject:
    return {"agents": ["a"], "inputs": {"path": {"type": "string", "default": "none.txt"}}, "steps": [*steps]}


TOOLS = ["files.write", "files.read", "text.stats"]


async def test_operations_follow_one_another_and_each_sees_what_became_of_those_before(house: House) -> None:
    await house.agent("a", TOOLS)
    steps = process(
        does("files.write", {"path": "a.txt", "content": "one two"}),
        does("files.read", {"path": "{{ previous.artifact }}"}),
        does("files.read", {"path": "never.txt"}, condition="previous.size_bytes > 7"),
        does("text.stats", {"text": "{{ previous.text }} {{ results[2].status }}"}),
    )
    run = await house.ended(await house.start(spec(steps)))
    assert run.error is None
    assert [(r["agent"], r["operation"], r["status"], r["error"]) for r in run.output] == [
        ("a", "files.write", "completed", None),
        ("a", "files.read", "completed", None),
        ("a", "files.read", "skipped", None),
        ("a", "text.stats", "completed", None),
    ]
    assert run.output[2]["output"] is None
    assert run.output[3]["output"]["words"] == 3
    tasks = await house.tasks(run.id)
    assert [t.description for t in tasks] == ["operation 1 of 4", "operation 2 of 4", "operation 4 of 4"]
    assert [t.effect for t in tasks] == ["0", "1", "3"]


async def test_a_failure_stops_the_process_unless_it_is_to_continue(house: House) -> None:
    await house.agent("a", TOOLS)
    go_on = does("files.read", {"path": "{{ inputs.path }}"}, failure_action="continue")
    missing = does("text.stats", {"text": "{{ previous.text }}"}, failure_action="continue")
    stop = does("files.read", {"path": "{{ inputs.path }}"})
    last = does("text.stats", {"text": "last"})
    run = await house.ended(await house.start(spec(process(go_on, missing, last))))
    assert run.error is None
    assert [r["status"] for r in run.output] == ["failed", "failed", "completed"]
    assert [r["error"]["code"] for r in run.output[:2]] == ["not_found", "template_failed"]
    run = await house.ended(await house.start(spec(process(go_on, stop, last))))
    assert run.error is not None
    assert run.error["code"] == "not_found"
    failed = (await house.steps(run.id))["p"]
    assert [r["status"] for r in failed.output] == ["failed", "failed"], "what it has to show all the same"


async def test_an_operation_is_tried_again_as_often_as_the_steps_retry_says_and_keeps_its_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    @tool("flaky", Parameters)
    async def flaky(parameters: Parameters, context: ToolContext) -> dict[str, int]:
        """Works the third time."""
        keys.append(context.idempotency_key)
        if len(keys) < 3:
            raise ToolFailure("not_yet", "not yet")
        return {"n": len(keys)}

    def only_flaky(implementation: str) -> AnyTool:
        return flaky

    monkeypatch.setattr(calls, "installed_tool", only_flaky)
    await house.agent("a", ["flaky", "text.stats"])
    await house.tool("flaky", implementation="flaky")
    flaked = does("flaky", failure_action="retry")
    before, after = does("text.stats", {"text": "x"}), does("text.stats", {"text": "tries: {{ previous.n }}"})
    retries = {"attempts": 3, "delay_seconds": 0}
    run = await house.ended(await house.start(spec(process(before, flaked, after, retry=retries))))
    assert run.error is None
    assert [r["status"] for r in run.output] == ["completed"] * 3
    assert keys == [f"{run.id}:p:1"] * 3, "three tries of one effect"
    tasks = await house.tasks(run.id)
    assert [t.place for t in tasks] == [0, 1, 2, 3, 4]
    assert tasks[3].description == "operation 2 of 3, try 3 of 3"
    keys.clear()
    run = await house.ended(await house.start(spec(process(before, flaked, retry={"attempts": 2, "delay_seconds": 0}))))
    assert run.error is not None
    assert (run.error["code"], len(keys), (await house.steps(run.id))["p"].attempt) == ("not_yet", 2, 1)


async def test_a_failure_leads_to_the_step_that_the_operation_names(house: House) -> None:
    await house.agent("a", TOOLS)
    failing = does("files.read", {"path": "{{ inputs.path }}"}, failure_action={"go_to": "mend"})
    steps = [
        step("first", "a", "files.write", {"path": "first.txt", "content": "x"}),
        process(does("text.stats", {"text": "x"}), failing),
        step("ordinary", "a", "text.stats", {"text": "ordinary"}, next="after"),
        step(
            "mend", "a", "files.write", {"path": "why.txt", "content": "{{ steps.p.error.code }} {{ steps.p.status }}"}
        ),
        step("after", "a", "text.stats", {"text": "{{ steps.p.output[0].output.words }} after all"}),
    ]
    run_id = await house.start(spec(*steps), {"path": str(house.files / "late.txt")})
    run = await house.ended(run_id)
    assert (run.status, run.error) == ("completed", None)
    rows = await house.steps(run_id)
    assert {i: r.status for i, r in rows.items()} == {
        "first": "completed", "p": "failed", "ordinary": "skipped", "mend": "completed", "after": "completed",
    }  # fmt: skip
    assert rows["p"].goes_to == "mend"
    (line,) = [json.loads(e.data)["message"] for e in await house.events(f"run:{run_id}") if e.type == "run.log"]
    assert line.startswith("step 'p' failed (not_found: ")
    assert line.endswith("the run goes on at 'mend'")
    assert (house.settings.workspaces_dir / run_id / "why.txt").read_text() == "not_found failed"
    assert run.steps_finished == 4

    (house.files / "late.txt").write_text("here now")
    again = await house.ended(await retry(house, run_id))
    rows = await house.steps(again.id)
    assert {i: r.status for i, r in rows.items()} == {
        "first": "reused", "p": "completed", "ordinary": "completed", "mend": "skipped", "after": "completed",
    }, "it goes on from the step that failed"  # fmt: skip
    assert not (house.settings.workspaces_dir / again.id / "why.txt").exists()
    assert (house.settings.workspaces_dir / again.id / "first.txt").read_text() == "x"


async def test_a_run_that_was_paused_after_a_failure_goes_on_where_the_failure_leads(house: House) -> None:
    await house.agent("a", [*TOOLS, "wait"])
    failing = does("files.read", {"path": "none"}, failure_action={"go_to": "mend"})
    steps = [
        process(does("wait", {"seconds": 0.5}), failing, next="end"),
        step("mend", "a", "text.stats", {"text": "{{ steps.p.error.code }}"}),
    ]
    run_id = await house.start(spec(*steps))
    await house.until_event(f"run:{run_id}", "task.started")
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id, with_for_update=True)
        assert row is not None
        await house.engine.commands.pause_run(tx, row)
    await house.until_event(f"run:{run_id}", "run.paused")
    assert (await house.steps(run_id))["p"].status == "failed"
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id, with_for_update=True)
        assert row is not None
        await house.engine.commands.resume_run(tx, row)
    run = await house.ended(run_id)
    assert (run.status, run.output["words"], run.segment) == ("completed", 2, 2)


async def test_a_failure_may_lead_to_the_end(house: House) -> None:
    await house.agent("a", TOOLS)
    failing = does("files.read", {"path": "none"}, failure_action={"go_to": "end"})
    run = await house.ended(await house.start(spec(process(failing), step("s", "a", "text.stats", {"text": "x"}))))
    assert (run.status, [r["status"] for r in run.output]) == ("completed", ["failed"])
    assert (await house.steps(run.id))["s"].status == "skipped"


async def test_the_time_of_a_step_is_for_all_its_operations_together(house: House) -> None:
    await house.agent("a", ["wait"])
    waits = [does("wait", {"seconds": 0.4}, failure_action="continue") for _ in range(5)]
    run = await house.ended(await house.start(spec(process(*waits, timeout_seconds=0.6))))
    assert run.error is not None
    assert run.error["code"] == "timeout"
    results = (await house.steps(run.id))["p"].output
    assert [r["status"] for r in results] == ["completed", "failed"], "no `continue` goes beyond the step's time"


async def test_a_pause_that_would_outlast_the_steps_time_is_not_begun(house: House) -> None:
    await house.agent("a", TOOLS)
    reads = does("files.read", {"path": "none"}, failure_action="retry")
    retries = {"attempts": 3, "delay_seconds": 3_600}
    run = await house.ended(await house.start(spec(process(reads, retry=retries, timeout_seconds=30))))
    assert run.error is not None
    assert run.error["code"] == "timeout"
    assert len(await house.tasks(run.id)) == 1


async def test_of_a_failed_step_too_much_output_is_left_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playcall.server.engine.step_work.MAX_STEP_OUTPUT_BYTES", 2_000)
    await house.agent("a", TOOLS)
    (house.files / "large.txt").write_text("x" * 3_000)
    large = does("files.read", {"path": str(house.files / "large.txt")})
    run = await house.ended(await house.start(spec(process(large, does("files.read", {"path": "none"})))))
    assert run.error is not None
    assert run.error["code"] == "not_found"
    assert (await house.steps(run.id))["p"].output is None
    run = await house.ended(await house.start(spec(process(large))))
    assert run.error is not None
    assert run.error["code"] == "output_too_large"
