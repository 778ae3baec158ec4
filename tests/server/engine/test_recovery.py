"""What a crash leaves is gone on with, and nothing that was done is done again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import update

from playcall.models import StepStatus, TaskSpec
from playcall.server.clock import utc_now
from playcall.server.engine import Engine, calls
from playcall.server.engine import engine as engine_module
from playcall.server.engine.failure import Superseded
from playcall.server.engine.operation import Operations
from playcall.server.engine.reporter import Reporter
from playcall.server.engine.run_flow import RunFlow, _StepEnd
from playcall.server.engine.segments import MAX_FAULTS
from playcall.server.store.database import Database
from playcall.server.store.tables import AgentRow, ProcessRow, RunRow, RunStepRow, TaskRow
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool

from .conftest import House, close_house, move_in, open_house
from .crash_child import STEPS

ROOT = Path(__file__).parents[3]


async def child(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.server.engine.crash_child",
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def until_lines(path: Path, count: int) -> None:
    async with asyncio.timeout(60):
        while not path.exists() or len(path.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)


async def test_a_run_whose_server_is_killed_again_and_again_goes_on_from_its_last_finished_step(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    kills = 0
    for lines in (1, 4, 9):  # in the first step, between two, in the middle of a later one
        process = await child(tmp_path)
        await until_lines(marks, lines)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        kills += 1
    process = await child(tmp_path)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().split() == ["completed"]
    assert process.returncode == 0

    owner, run_id = (tmp_path / "run").read_text().split()
    opened = await open_house(tmp_path)
    try:
        house = House(opened.database, opened.engine, opened.settings, owner)
        events = await house.events(f"run:{run_id}")
        tasks = await house.tasks(run_id)
    finally:
        await close_house(opened)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    finished = Counter(json.loads(e.data)["step"]["id"] for e in events if e.type == "run.step.finished")
    assert finished == Counter(f"s{n}" for n in range(STEPS)), "each step was completed once"
    assert Counter(e.type for e in events)["task.completed"] == STEPS
    assert len(tasks) == STEPS, "an interrupted task goes on as itself"
    begun = Counter(line.split()[1] for line in marks.read_text().splitlines() if line.startswith("begin"))
    assert set(begun) == set(finished)
    assert sum(begun.values()) - STEPS <= kills, "only steps that were interrupted ran again"
    keys = {tuple(line.split()[1:]) for line in marks.read_text().splitlines()}
    assert len(keys) == STEPS, "the key for the outside is the same each time"


async def test_a_step_that_a_shutdown_interrupts_is_left_as_it_is_and_goes_on_at_the_next_launch(
    tmp_path: Path,
) -> None:
    first = await move_in(await open_house(tmp_path))
    try:
        await first.agent("a", ["wait"])
        step = {"id": "s", "type": "standard", "agent": "a", "operation": "wait", "parameters": {"seconds": 0.8}}
        run_id = await first.start({"agents": ["a"], "steps": [step]})
        await first.until_event(f"run:{run_id}", "task.progress")
    finally:
        await close_house(first)
    opened = await open_house(tmp_path)
    try:
        second = House(opened.database, opened.engine, opened.settings, first.owner)
        assert (await second.ended(run_id)).status == "completed"
        assert len(await second.tasks(run_id)) == 1
        lines = [json.loads(e.data)["message"] for e in await second.events(f"run:{run_id}") if e.type == "run.log"]
        assert lines == ["step 's' was interrupted, and goes on"]
    finally:
        await close_house(opened)


async def test_a_run_without_a_workflow_gets_one_at_the_launch(tmp_path: Path) -> None:
    first = await move_in(await open_house(tmp_path))
    try:
        await first.agent("a", ["wait"], state="stopped")
        step = {"id": "s", "type": "standard", "agent": "a", "operation": "wait", "parameters": {"seconds": 0}}
        run_id = await first.start({"agents": ["a"], "steps": [step]})
        await first.until_event(f"run:{run_id}", "task.created")
        async with first.database.write() as tx:
            # As a database would look that was restored from before the workflow was written.
            await tx.session.execute(update(RunRow).where(RunRow.id == run_id).values(segment=7))
    finally:
        await close_house(first)
    opened = await open_house(tmp_path)
    try:
        second = House(opened.database, opened.engine, opened.settings, first.owner)
        task = (await second.tasks(run_id))[0]
        await second.set_agent_state(task.agent_id or "", "ready")
        run = await second.ended(run_id)
        assert (run.status, run.segment) == ("completed", 8)
    finally:
        await close_house(opened)


async def test_a_fault_of_the_servers_own_costs_a_segment_and_too_many_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FAULT_PAUSE_SECONDS", (0.01, 0.02))
    faults = [OSError("the disk is full")]
    perform = RunFlow._perform

    async def faulty(self: RunFlow, run_id: str, segment: int, step_id: str, work: object) -> object:
        if faults:
            raise faults.pop()
        return await perform(self, run_id, segment, step_id, work)  # type: ignore[arg-type]

    monkeypatch.setattr(RunFlow, "_perform", faulty)
    house = await move_in(await open_house(tmp_path))
    try:
        await house.agent("a", ["wait"])
        step = {"id": "s", "type": "standard", "agent": "a", "operation": "wait", "parameters": {"seconds": 0}}
        run_id = await house.start({"agents": ["a"], "steps": [step]})
        run = await house.ended(run_id)
        assert (run.status, run.segment, run.faults) == ("completed", 2, 0), "what it got over does not count"
        faults.extend([OSError("the disk is full")] * 100)
        run_id = await house.start({"agents": ["a"], "steps": [step]})
        run = await house.ended(run_id)
        assert run.error is not None
        assert (run.status, run.error["code"]) == ("failed", "engine_fault")
    finally:
        await close_house(house)


async def test_a_superseded_segment_writes_nothing_more(tmp_path: Path) -> None:
    house = await move_in(await open_house(tmp_path))
    try:
        await house.agent("a", ["wait"])
        step = {"id": "s", "type": "standard", "agent": "a", "operation": "wait", "parameters": {"seconds": 0.6}}
        run_id = await house.start({"agents": ["a"], "steps": [step]})
        await house.until_event(f"run:{run_id}", "task.progress")
        async with house.database.write() as tx:
            await tx.session.execute(update(RunRow).where(RunRow.id == run_id).values(segment=2))
        before = len(await house.events(f"run:{run_id}"))
        await house.idle()
        assert len(await house.events(f"run:{run_id}")) == before
        async with house.database.read() as session:
            row = await session.get(RunStepRow, (run_id, "s"))
        assert row is not None
        assert row.status == "running"
    finally:
        await close_house(house)


async def test_a_second_engine_in_one_process_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    first = await move_in(await open_house(tmp_path))
    try:
        second = Engine(database=first.database, settings=first.settings)
        with pytest.raises(RuntimeError, match="an engine already"):
            await second.launch()
        await second.shutdown()
        await first.agent("a", ["wait"])
        step = {"id": "s", "type": "standard", "agent": "a", "operation": "wait", "parameters": {"seconds": 0}}
        run_id = await first.start({"agents": ["a"], "steps": [{**step, "description": "d" * 62_000}]})
        run = await first.ended(run_id)
        assert run.status == "completed", "also with a description that fills an event"
    finally:
        await close_house(first)


async def test_a_fault_in_one_operation_leaves_the_others_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FAULT_PAUSE_SECONDS", (0.01, 0.02))
    faults = [OSError("the disk is full")]
    start = Operations._start

    async def faulty(self: Operations, task: TaskRow, reporter: Reporter) -> object:
        if task.place == 1 and faults:
            raise faults.pop()
        return await start(self, task, reporter)

    monkeypatch.setattr(Operations, "_start", faulty)
    house = await move_in(await open_house(tmp_path))
    try:
        await house.agent("a", ["wait"])
        parallel = {
            "id": "p",
            "type": "work_in_parallel",
            "agents": ["a:wait", "a:wait"],
            "parameters": {"seconds": 0.2},
        }
        run_id = await house.start({"agents": ["a"], "steps": [parallel]})
        run = await house.ended(run_id)
        assert (run.status, run.segment, run.error) == ("completed", 2, None)
        assert [task.status for task in await house.tasks(run_id)] == ["completed"] * 2
    finally:
        await close_house(house)


async def test_an_operation_that_finds_itself_superseded_cancels_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server on the same data may have written first: the run is still this segment's, and goes on."""
    late = [Superseded()]
    start = Operations._start

    async def superseded(self: Operations, task: TaskRow, reporter: Reporter) -> object:
        if task.place == 1 and late:
            raise late.pop()
        return await start(self, task, reporter)

    monkeypatch.setattr(Operations, "_start", superseded)
    house = await move_in(await open_house(tmp_path))
    try:
        await house.agent("a", ["wait"])
        parallel = {
            "id": "p",
            "type": "work_in_parallel",
            "agents": ["a:wait", "a:wait"],
            "parameters": {"seconds": 0.1},
        }
        run_id = await house.start({"agents": ["a"], "steps": [parallel]})
        run = await house.ended(run_id)
        assert not late
        assert (run.status, run.segment, run.error) == ("completed", 1, None)
        assert (await house.steps(run_id))["p"].status == "completed"
        assert [task.status for task in await house.tasks(run_id)] == ["completed"] * 2
    finally:
        await close_house(house)


async def test_a_run_never_completes_over_a_cancelled_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(self: RunFlow, run_id: str, segment: int, step_id: str, work: object) -> object:
        return _StepEnd(step_id, StepStatus.CANCELLED, error=("cancelled", "by somebody"))

    monkeypatch.setattr(RunFlow, "_perform", cancelled)
    house = await move_in(await open_house(tmp_path))
    try:
        await house.agent("a", ["wait"])
        steps = [
            {"id": i, "type": "standard", "agent": "a", "operation": "wait", "parameters": {"seconds": 0}} for i in "st"
        ]
        run = await house.ended(await house.start({"agents": ["a"], "steps": steps}))
        assert run.status == "cancelled"
        assert {i: row.status for i, row in (await house.steps(run.id)).items()} == {"s": "cancelled", "t": "skipped"}
    finally:
        await close_house(house)


async def test_a_tool_that_is_cancelled_from_within_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @tool("own", Parameters)
    async def own(parameters: Parameters, context: ToolContext) -> None:
        """Waits for something of its own that is cancelled."""
        raise asyncio.CancelledError

    def only_own(implementation: str) -> AnyTool:
        return own

    monkeypatch.setattr(calls, "installed_tool", only_own)
    house = await move_in(await open_house(tmp_path))
    try:
        await house.agent("a", ["own"])
        await house.tool("own", implementation="own")
        step = {"id": "s", "type": "standard", "agent": "a", "operation": "own"}
        run = await house.ended(await house.start({"agents": ["a"], "steps": [step]}))
        assert run.error is not None
        assert (run.status, run.error["code"]) == ("failed", "tool_error")
    finally:
        await close_house(house)


async def test_a_task_alone_survives_a_fault_too_and_fails_after_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FAULT_PAUSE_SECONDS", (0.01, 0.02))
    faults: list[Exception] = [OSError("the disk is full")]
    start = Operations._start

    async def faulty(self: Operations, task: TaskRow, reporter: Reporter) -> object:
        if faults:
            raise faults.pop()
        return await start(self, task, reporter)

    monkeypatch.setattr(Operations, "_start", faulty)
    house = await move_in(await open_house(tmp_path))
    try:
        agent = await house.agent("a", ["wait"])
        spec = TaskSpec(agent="a", operation="wait", parameters={"seconds": 0})
        for expected in ("completed", "failed"):
            async with house.database.write() as tx:
                task_id = (await house.engine.commands.create_task(tx, agent, spec)).id
            task = await house.task_ended(task_id)
            assert task.status == expected
            faults.extend([OSError("the disk is full")] * 100)
        assert task.error is not None
        assert task.error["code"] == "engine_fault"
        faults.clear()
    finally:
        await close_house(house)


async def test_a_task_that_a_shutdown_interrupts_goes_on_and_one_wished_cancelled_meanwhile_is(tmp_path: Path) -> None:
    first = await move_in(await open_house(tmp_path))
    ids = []
    try:
        agent = await first.agent("a", ["wait"])
        for _ in range(2):
            spec = TaskSpec(agent="a", operation="wait", parameters={"seconds": 0.8})
            async with first.database.write() as tx:
                ids.append((await first.engine.commands.create_task(tx, agent, spec)).id)
        for task_id in ids:
            await first.until_event(f"task:{task_id}", "task.progress")
        async with first.database.write() as tx:
            row = await tx.session.get(TaskRow, ids[1])
            assert row is not None
            await first.engine.commands.cancel_task(tx, row)
    finally:
        await close_house(first)  # before this process was told of the wish
    opened = await open_house(tmp_path)
    try:
        second = House(opened.database, opened.engine, opened.settings, first.owner)
        assert (await second.task_ended(ids[0])).status == "completed"
        assert (await second.task_ended(ids[1])).status == "cancelled"
        async with second.database.read() as session:
            stored = await session.get(AgentRow, agent.id)
        assert stored is not None
        assert stored.state == "ready"
    finally:
        await close_house(opened)


async def test_what_is_running_at_every_crash_fails_in_the_end_and_a_shutdown_is_no_crash(tmp_path: Path) -> None:
    """A step that brings the server down must not do so for ever."""
    owner = run_id = task_id = ""
    for launch in range(8):
        opened = await open_house(tmp_path)
        try:
            if launch == 0:
                first = await move_in(opened)
                owner = first.owner
                agent = await first.agent("a", ["wait"])
                step = {
                    "id": "s",
                    "type": "standard",
                    "agent": "a",
                    "operation": "wait",
                    "parameters": {"seconds": 600},
                }
                run_id = await first.start({"agents": ["a"], "steps": [step]})
                spec = TaskSpec(agent="a", operation="wait", parameters={"seconds": 600})
                async with first.database.write() as tx:
                    task_id = (await first.engine.commands.create_task(tx, agent, spec)).id
                await first.until_event(f"run:{run_id}", "task.progress")
                await first.until_event(f"task:{task_id}", "task.progress")
            house = House(opened.database, opened.engine, opened.settings, owner)
            run, task = await house.run(run_id), await house.task(task_id)
            crashes = max(0, launch - 2)  # after the first two it was shut down in order
            assert (run.faults, task.faults) == (crashes, crashes)
            over = crashes >= MAX_FAULTS
            assert (run.status, task.status) == (("failed", "failed") if over else ("running", "running"))
            if not over:
                await _until_worked_on(house, {run_id, task_id})
        finally:
            await close_house(opened)
        if launch >= 2:
            await _seem_to_have_crashed(opened)
    assert run.error is not None
    assert run.error["code"] == "engine_fault"
    assert [row.status for row in await _tasks_after(tmp_path, owner, run_id)] == ["failed"]


async def _until_worked_on(house: House, ids: set[str]) -> None:
    async with asyncio.timeout(30):
        while house.engine._works.segments().keys() != ids:
            await asyncio.sleep(0.01)


async def _seem_to_have_crashed(house: House) -> None:
    """Only who ends in good order takes its name out of the database."""
    database = await Database.create(house.database.url)
    async with database.write() as tx:
        tx.session.add(ProcessRow(id=house.engine._processes.id, place="", started_at=utc_now(), beats=1))
    await database.close()


async def _tasks_after(folder: Path, owner: str, run_id: str) -> list[TaskRow]:
    opened = await open_house(folder)
    try:
        return await House(opened.database, opened.engine, opened.settings, owner).tasks(run_id)
    finally:
        await close_house(opened)
