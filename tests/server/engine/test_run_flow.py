"""Runs, in process, with the real tools."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select

from playcall.models import JsonObject
from playcall.server.problems import ApiError
from playcall.server.store.tables import AgentRow, ArtifactRow, RunRow

from .conftest import House, move_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


def step(id: str, agent: str, operation: str, parameters: JsonObject | None = None, **more: Any) -> JsonObject:
    return {
        "id": id,
        "type": "standard",
        "agent": agent,
        "operation": operation,
        "parameters": parameters or {},
        **more,
    }


def write(id: str, content: Any, path: str = "out.txt", **more: Any) -> JsonObject:
    return step(id, "a", "files.write", {"path": path, "content": content}, **more)


async def test_a_standard_step_reads_a_file_and_the_next_renders_its_output(house: House) -> None:
    (house.files / "note.txt").write_text("one two\nthree")
    await house.agent("reader", ["text.stats"], state="created")
    await house.agent("writer", ["template.render"])
    template = "{% raw %}words: {{ count.words }}{% endraw %}"
    render = {"template": template, "data": {"count": "{{ steps.count.output }}"}, "path": "report.md"}
    run_id = await house.start(
        {
            "inputs": {"path": {"type": "string"}},
            "agents": ["reader", "writer"],
            "steps": [
                step("count", "reader", "text.stats", {"path": "{{ inputs.path }}"}),
                step("report", "writer", "template.render", render),
            ],
        },
        {"path": str(house.files / "note.txt")},
    )
    run = await house.ended(run_id)
    assert run.error is None
    assert run.status == "completed"
    assert run.output["artifact"] == "report.md"
    assert run.steps_finished == run.steps_total == 2
    assert (house.settings.workspaces_dir / run_id / "report.md").read_text() == "words: 3"
    events = await house.events(f"run:{run_id}")
    types = [event.type for event in events]
    assert types[:5] == ["run.created", "run.started", "run.step.started", "task.created", "task.started"]
    assert types[-1] == "run.completed"
    assert [event.terminal for event in events] == [False] * (len(events) - 1) + [True]
    assert types.count("task.completed") == 2
    assert "run.artifact.created" in types
    assert [e.type for e in await house.events("runs") if run_id in e.data][-1] == "run.completed"
    task = (await house.tasks(run_id))[0]
    mine = {e.id for e in await house.events(f"task:{task.id}")}
    assert mine <= {e.id for e in events}, "one event has one id, wherever it stands"
    assert json.loads(events[-1].data)["run"]["status"] == "completed"
    async with house.database.read() as session:
        agent = await session.get(AgentRow, task.agent_id)
    assert agent is not None
    assert agent.state == "ready", "an agent that has done its work is ready again"
    states = [json.loads(e.data)["agent"]["state"] for e in await house.events("agents")]
    assert "running" in states


async def test_parallel_operations_share_the_input_and_their_outputs_become_one(house: House) -> None:
    for name in "abcde":
        (house.files / f"{name}.csv").write_text("n\n1\n")
    await house.agent("a", ["files.write", "text.stats"])
    run_id = await house.start(
        {
            "agents": ["a"],
            "steps": [
                {
                    "id": "split", "type": "work_in_parallel", "agents": ["a:files.write", "a:files.write"],
                    "parameters": {"path": "x.json", "content": [1, 2, 3]},
                    "input_distribution": {"mode": "split", "field": "content"},
                },
                {
                    "id": "merge", "type": "work_in_parallel", "agents": ["a:text.stats", "a:text.stats"],
                    "parameters": {"text": "b a b"}, "output_aggregation": "merge",
                },
                {
                    "id": "filter", "type": "work_in_parallel", "agents": ["a:text.stats", "a:text.stats"],
                    "parameters": {"text": "b a b"},
                    "output_aggregation": {"mode": "filter", "condition": "index == 1 and output.words == 3"},
                },
            ],
        }
    )  # fmt: skip
    run = await house.ended(run_id)
    assert run.error is None
    tasks = await house.tasks(run_id)
    shares = sorted((t.parameters["content"] for t in tasks if t.step_id == "split"), key=len)
    assert shares == [[1], [2, 3]]
    steps = await house.steps(run_id)
    assert len(steps["split"].output) == 2
    assert steps["merge"].output["top_words"][0] == {"word": "b", "count": 2}
    assert len(steps["merge"].output["top_words"]) == 4, "lists are joined"
    assert len(run.output) == 1


async def test_conditions_choose_the_way_and_what_is_not_reached_is_skipped(house: House) -> None:
    await house.agent("a", ["files.write"])
    run_id = await house.start(
        {
            "inputs": {"n": {"type": "integer"}},
            "agents": ["a"],
            "steps": [
                write("first", "x", next_conditions=[{"condition": "inputs.n > 1 and output.size_bytes == 1", "next": "big"}]),
                write("small", "small", next="end"),
                write("big", "{{ steps.small.output }}", path="big.txt"),
            ],
        },
        {"n": 2},
    )  # fmt: skip
    run = await house.ended(run_id)
    steps = await house.steps(run_id)
    assert run.status == "completed"
    assert {i: row.status for i, row in steps.items()} == {
        "first": "completed",
        "small": "skipped",
        "big": "completed",
    }
    assert (house.settings.workspaces_dir / run_id / "big.txt").read_text() == "null\n"


async def test_a_failing_tool_fails_its_step_and_the_run_and_retry_reuses_what_was_done(house: House) -> None:
    await house.agent("a", ["files.write", "files.read"])
    missing = house.files / "late.txt"
    run_id = await house.start(
        {
            "agents": ["a"],
            "steps": [
                write("made", "kept", path="deep/made.txt"),
                step("read", "a", "files.read", {"path": str(missing)}),
                step("again", "a", "files.read", {"path": "deep/made.txt"}),
            ],
        }
    )
    run = await house.ended(run_id)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == "not_found"
    assert (await house.steps(run_id))["again"].status == "skipped"
    missing.write_text("here now")
    async with house.database.write() as tx:
        failed = await tx.session.get(RunRow, run_id)
        assert failed is not None
        again = (await house.engine.commands.retry_run(tx, failed)).id
    retried = await house.ended(again)
    assert retried.status == "completed"
    assert retried.retry_of == run_id
    assert retried.steps_finished == 3
    steps = await house.steps(again)
    assert [steps[s].status for s in ("made", "read", "again")] == ["reused", "completed", "completed"]
    assert retried.output["text"] == "kept", "the files of reused steps are there too"
    assert {task.step_id for task in await house.tasks(again)} == {"read", "again"}


async def test_a_step_is_tried_again_as_often_as_its_retry_says(house: House) -> None:
    await house.agent("a", ["files.read"])
    retry = {"attempts": 3, "delay_seconds": 0.01}
    run_id = await house.start({"agents": ["a"], "steps": [step("s", "a", "files.read", {"path": "no"}, retry=retry)]})
    run = await house.ended(run_id)
    assert run.status == "failed"
    assert (await house.steps(run_id))["s"].attempt == 3
    assert [task.status for task in await house.tasks(run_id)] == ["failed"] * 3
    lines = [json.loads(e.data) for e in await house.events(f"run:{run_id}") if e.type == "run.log"]
    assert ["attempt 1 failed" in line["message"] for line in lines] == [True, False]


async def test_a_step_that_takes_too_long_is_stopped(house: House) -> None:
    await house.agent("a", ["wait"])
    run_id = await house.start(
        {"agents": ["a"], "steps": [step("s", "a", "wait", {"seconds": 600}, timeout_seconds=0.2)]}
    )
    run = await house.ended(run_id)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == "timeout"


async def test_the_first_failure_stops_the_other_operations_of_its_step(house: House) -> None:
    await house.agent("a", ["wait", "files.read"])
    await house.tool("nap", implementation="x")
    run_id = await house.start(
        {
            "agents": ["a"],
            "steps": [
                {"id": "p", "type": "work_in_parallel", "agents": ["a:wait", "a:files.read"], "parameters": {"seconds": 600}}
            ],
        }
    )  # fmt: skip
    run = await house.ended(run_id)
    assert run.error is not None
    assert run.error["code"] == "parameters_invalid"
    assert sorted(task.status for task in await house.tasks(run_id)) == ["cancelled", "failed"]


async def test_cancelling_stops_the_running_tool_and_then_the_run(house: House) -> None:
    await house.agent("a", ["wait"])
    run_id = await house.start({"agents": ["a"], "steps": [step("s", "a", "wait", {"seconds": 600})]})
    await house.until_event(f"run:{run_id}", "task.progress")
    async with house.database.write() as tx:
        run = await tx.session.get(RunRow, run_id)
        assert run is not None
        await house.engine.commands.cancel_run(tx, run)
        assert run.status == "running", "the state changes when the step has really ended"
        assert run.wish == "cancel"
    house.engine.stop_work(run_id)
    ended = await house.ended(run_id)
    assert ended.status == "cancelled"
    assert ended.wish is None
    assert [t.status for t in await house.tasks(run_id)] == ["cancelled"]
    assert [e.type for e in await house.events(f"run:{run_id}")][-4:] == [
        "task.cancelled",
        "run.step.finished",
        "run.changed",
        "run.cancelled",
    ]
    async with house.database.write() as tx:
        run = await tx.session.get(RunRow, run_id)
        assert run is not None
        for act in (
            house.engine.commands.cancel_run,
            house.engine.commands.pause_run,
            house.engine.commands.resume_run,
        ):
            with pytest.raises(ApiError) as refused:
                await act(tx, run)
            assert refused.value.code == "run_ended"


async def test_a_paused_run_goes_on_where_it_was_when_it_is_resumed(house: House) -> None:
    await house.agent("a", ["wait", "files.write"])
    run_id = await house.start(
        {"agents": ["a"], "steps": [step("s", "a", "wait", {"seconds": 0.5}), write("t", "{{ steps.s.output.seconds }}")]}
    )  # fmt: skip
    await house.until_event(f"run:{run_id}", "task.started")
    async with house.database.write() as tx:
        run = await tx.session.get(RunRow, run_id)
        assert run is not None
        await house.engine.commands.pause_run(tx, run)
    await house.until_event(f"run:{run_id}", "run.paused")
    assert (await house.run(run_id)).status == "paused"
    assert {i: r.status for i, r in (await house.steps(run_id)).items()} == {"s": "completed", "t": "pending"}
    async with house.database.write() as tx:
        run = await tx.session.get(RunRow, run_id)
        assert run is not None
        await house.engine.commands.resume_run(tx, run)
        with pytest.raises(ApiError, match="not paused"):
            await house.engine.commands.resume_run(tx, run)
        with pytest.raises(ApiError, match="cancel it first"):
            await house.engine.commands.delete_run(tx, run)
    ended = await house.ended(run_id)
    assert ended.status == "completed"
    assert ended.segment == 2
    assert len(await house.tasks(run_id)) == 2, "no step was done twice"
    types = [e.type for e in await house.events(f"run:{run_id}")]
    assert types.count("run.started") == types.count("run.paused") == types.count("run.resumed") == 1


async def test_a_pause_that_was_not_obeyed_yet_can_be_taken_back(house: House) -> None:
    await house.agent("a", ["wait"])
    run_id = await house.start(
        {"agents": ["a"], "steps": [step("s", "a", "wait", {"seconds": 0.3}), step("t", "a", "wait", {"seconds": 0})]}
    )
    await house.until_event(f"run:{run_id}", "task.started")
    async with house.database.write() as tx:
        run = await tx.session.get(RunRow, run_id)
        assert run is not None
        await house.engine.commands.pause_run(tx, run)
        await house.engine.commands.resume_run(tx, run)
    assert (await house.ended(run_id)).status == "completed"
    assert "run.paused" not in [e.type for e in await house.events(f"run:{run_id}")]


async def test_a_run_that_has_not_begun_is_paused_and_cancelled_at_once(house: House) -> None:
    await house.agent("a", ["wait"])
    playbook = await house.playbook({"agents": ["a"], "steps": [step("s", "a", "wait", {"seconds": 0})], "name": "p"})
    async with house.database.write() as tx:
        run = await house.engine.commands.create_run(tx, playbook, {}, "key")
        await house.engine.commands.pause_run(tx, run)
        assert run.status == "paused"
        await house.engine.commands.resume_run(tx, run)
        assert run.status == "queued"
        await house.engine.commands.cancel_run(tx, run)
        assert run.status == "cancelled"
        same = await house.engine.commands.create_run(tx, playbook, {}, "key")
        assert same.id == run.id, "a run's key is its own for ever"
        with pytest.raises(ApiError) as refused:
            await house.engine.commands.create_run(tx, playbook, {"x": 1}, "key")
        assert refused.value.code == "idempotency_key_reused"
        await house.engine.commands.delete_run(tx, run)
    assert [e.type for e in await house.events(f"run:{run.id}")] == [
        "run.created",
        "run.paused",
        "run.resumed",
        "run.cancelled",
    ]
    assert [e.type for e in await house.events("runs")][-1] == "run.deleted"


async def test_work_for_a_stopped_agent_waits_until_it_is_started(house: House) -> None:
    agent = await house.agent("a", ["files.write"], state="stopped")
    run_id = await house.start({"agents": ["a"], "steps": [write("s", "x")]})
    await house.until_event(f"run:{run_id}", "task.created")
    await asyncio.sleep(0.3)
    assert [task.status for task in await house.tasks(run_id)] == ["queued"]
    async with house.database.write() as tx:
        row = await tx.session.get(AgentRow, agent.id)
        assert row is not None
        row.state = "ready"
    house.engine.agent_changed(agent.id)
    assert (await house.ended(run_id)).status == "completed"


async def test_what_is_gone_by_the_time_of_the_run_fails_its_step(house: House) -> None:
    await house.agent("a", ["nothing", "broken", "files.write"])
    await house.tool("broken", implementation="no.such.entry.point")
    for operation, code in (
        ("nothing", "tool_not_found"),
        ("broken", "tool_unavailable"),
        ("wait", "operation_unknown"),
    ):
        run_id = await house.start({"agents": ["a"], "steps": [step("s", "a", operation)]})
        run = await house.ended(run_id)
        assert run.error is not None
        assert run.error["code"] == code
    for parameters, code in (
        ({"path": "{{ inputs.no }}"}, "template_failed"),
        ({"path": "{{ inputs['\\ud800'] }}"}, "template_failed"),
        ({"path": "x", "content": "{{ '\\ud800' }}"}, "template_failed"),
        ({"path": "x"}, "parameters_invalid"),
    ):
        run_id = await house.start({"agents": ["a"], "steps": [step("s", "a", "files.write", parameters)]})
        run = await house.ended(run_id)
        assert run.error is not None
        assert run.error["code"] == code
    run_id = await house.start({"agents": ["gone"], "steps": [step("s", "gone", "wait")]})
    run = await house.ended(run_id)
    assert run.error is not None
    assert run.error["code"] == "agent_not_found"
    run_id = await house.start(
        {"agents": ["a"], "steps": [write("s", "x", next_conditions=[{"condition": "output.no > 1", "next": "s2"}]), write("s2", "x")]}
    )  # fmt: skip
    run = await house.ended(run_id)
    assert run.error is not None
    assert run.error["code"] == "condition_failed"


async def test_a_large_output_is_whole_in_the_step_and_cut_in_the_event(house: House) -> None:
    (house.files / "big.txt").write_text("ä" * 100_000)
    await house.agent("a", ["files.read"])
    run_id = await house.start(
        {"agents": ["a"], "steps": [step("s", "a", "files.read", {"path": str(house.files / "big.txt")})]}
    )
    run = await house.ended(run_id)
    assert run.status == "completed"
    assert len(run.output["text"]) == 100_000
    for event in await house.events(f"run:{run_id}"):
        assert len(event.data.encode()) <= 65_536
    last = json.loads((await house.events(f"run:{run_id}"))[-1].data)["run"]["output"]
    assert last["truncated"] is True
    assert last["size_bytes"] > 200_000


BURNS = "{% for i in range(600) %}{% for j in range(800) %}{% set x = (i * j) ** 2 %}{% endfor %}{% endfor %}"


async def test_rendering_ends_with_its_steps_time_and_with_a_cancellation(house: House) -> None:
    await house.agent("a", ["files.write"])
    run_id = await house.start({"agents": ["a"], "steps": [write("s", BURNS, timeout_seconds=0.3)]})
    run = await house.ended(run_id)
    assert run.error is not None
    assert (run.status, run.error["code"]) == ("failed", "template_failed")
    assert "0.3 s" in run.error["message"]
    run_id = await house.start({"agents": ["a"], "steps": [write("s", BURNS)]})
    await house.until_event(f"run:{run_id}", "run.step.started")
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id)
        assert row is not None
        await house.engine.commands.cancel_run(tx, row)
    house.engine.stop_work(run_id)
    assert (await house.ended(run_id)).status == "cancelled"


async def test_waiting_takes_no_place_from_others(house: House, opened: House) -> None:
    other = await move_in(opened)
    await other.agent("a", ["text.stats"])
    await house.agent("a", ["wait"])
    parallel = {"id": "p", "type": "work_in_parallel", "agents": ["a:wait"] * 20, "parameters": {"seconds": 600}}
    waits = await house.start({"agents": ["a"], "steps": [parallel]})
    await house.until_event(f"run:{waits}", "task.started", count=20)
    quick = await other.start({"agents": ["a"], "steps": [step("s", "a", "text.stats", {"text": "a"})]})
    assert (await other.ended(quick)).status == "completed"
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, waits)
        assert row is not None
        await house.engine.commands.cancel_run(tx, row)
    house.engine.stop_work(waits)
    await house.ended(waits)


async def artifacts(house: House, run_id: str) -> set[str]:
    async with house.database.read() as session:
        return set((await session.execute(select(ArtifactRow.name).where(ArtifactRow.run_id == run_id))).scalars())


async def retry(house: House, run_id: str, *, pause: bool = False) -> str:
    """Paused, it has not begun."""
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id)
        assert row is not None
        again = await house.engine.commands.retry_run(tx, row)
        if pause:
            await house.engine.commands.pause_run(tx, again)
        return again.id


async def test_a_retry_has_the_files_of_what_it_reuses_also_if_that_is_everything(house: House) -> None:
    await house.agent("a", ["files.write"])
    first = await house.start({"agents": ["a"], "steps": [write("s", "x"), write("t", "y", path="gone.txt")]})
    await house.ended(first)
    (house.settings.workspaces_dir / first / "gone.txt").unlink()
    again = await retry(house, first)
    run = await house.ended(again)
    assert (run.status, run.steps_finished) == ("completed", 2)
    assert (house.settings.workspaces_dir / again / "out.txt").read_text() == "x"
    assert await artifacts(house, again) == {"out.txt"}, "what is not there is not listed"


async def test_a_run_whose_files_a_retry_still_needs_is_not_deleted(house: House) -> None:
    await house.agent("a", ["files.write"])
    first = await house.start({"agents": ["a"], "steps": [write("s", "x")]})
    await house.ended(first)
    again = await retry(house, first, pause=True)

    async def delete_first() -> None:
        async with house.database.write() as tx:
            row = await tx.session.get(RunRow, first)
            assert row is not None
            await house.engine.commands.delete_run(tx, row)

    with pytest.raises(ApiError) as refused:
        await delete_first()
    assert (refused.value.status_code, refused.value.code) == (409, "run_needed")
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, again)
        assert row is not None
        await house.engine.commands.resume_run(tx, row)
    assert (await house.ended(again)).status == "completed"
    await delete_first()
    assert await artifacts(house, again) == {"out.txt"}
    third = await retry(house, again, pause=True)
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, third)
        assert row is not None
        await house.engine.commands.cancel_run(tx, row)
    assert await artifacts(house, third) == set(), "it was cancelled before it had any"
