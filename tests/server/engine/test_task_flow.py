"""Tasks without a run."""

from __future__ import annotations

import pytest

from playcall.models import TaskSpec
from playcall.server.problems import ApiError
from playcall.server.store.tables import AgentRow, TaskRow, ToolRow

from .conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def create(house: House, agent: AgentRow, spec: TaskSpec) -> str:
    async with house.database.write() as tx:
        return (await house.engine.commands.create_task(tx, agent, spec)).id


async def test_a_task_of_ones_own_runs_and_keeps_its_output(house: House) -> None:
    agent = await house.agent("a", ["text.stats"])
    task_id = await create(house, agent, TaskSpec(agent="a", operation="text.stats", parameters={"text": "x y"}))
    task = await house.task_ended(task_id)
    assert (task.status, task.output["words"]) == ("completed", 2)
    assert [e.type for e in await house.events(f"task:{task_id}")] == ["task.created", "task.started", "task.completed"]
    assert (await house.events(f"task:{task_id}"))[-1].terminal
    async with house.database.write() as tx:
        row = await tx.session.get(TaskRow, task_id)
        assert row is not None
        with pytest.raises(ApiError) as refused:
            await house.engine.commands.cancel_task(tx, row)
        assert refused.value.code == "task_not_cancellable"
        await house.engine.commands.delete_task(tx, row)
    assert [e.type for e in await house.events("tasks")][-1] == "task.deleted"


async def test_a_running_task_is_cancelled_once_its_tool_has_stopped(house: House) -> None:
    agent = await house.agent("a", ["wait"])
    task_id = await create(house, agent, TaskSpec(agent="a", operation="wait", parameters={"seconds": 600}))
    await house.until_event(f"task:{task_id}", "task.progress")
    async with house.database.write() as tx:
        row = await tx.session.get(TaskRow, task_id)
        assert row is not None
        await house.engine.commands.cancel_task(tx, row)
        await house.engine.commands.cancel_task(tx, row)  # wishing twice is wishing once
        assert row.status == "running"
        with pytest.raises(ApiError, match="cancel it first"):
            await house.engine.commands.delete_task(tx, row)
    house.engine.stop_work(task_id)
    task = await house.task_ended(task_id)
    assert task.status == "cancelled"
    assert [e.type for e in await house.events(f"task:{task_id}")].count("task.changed") == 1


async def test_a_queued_task_is_cancelled_at_once(house: House) -> None:
    agent = await house.agent("a", ["wait"], state="stopped")
    task_id = await create(house, agent, TaskSpec(agent="a", operation="wait", parameters={"seconds": 0}))
    async with house.database.write() as tx:
        row = await tx.session.get(TaskRow, task_id)
        assert row is not None
        await house.engine.commands.cancel_task(tx, row)
        assert row.status == "cancelled"
    house.engine.agent_changed(agent.id)
    assert [e.type for e in await house.events(f"task:{task_id}")] == ["task.created", "task.cancelled"]


async def test_a_tool_that_fails_fails_its_task(house: House) -> None:
    agent = await house.agent("a", ["files.read"])
    spec = TaskSpec(agent="a", operation="files.read", parameters={"path": "../../etc/passwd"}, timeout_seconds=5)
    task = await house.task_ended(await create(house, agent, spec))
    assert task.status == "failed"
    assert task.error is not None
    assert task.error["code"] == "path_refused"


async def test_an_installed_tool_is_called_with_its_defaults(house: House) -> None:
    (house.files / "m.py").write_text("def f():\n    pass\n")
    tool: ToolRow = await house.tool("mine", implementation="source.functions", defaults={"path": str(house.files)})
    async with house.database.write() as tx:
        task_id = (await house.engine.commands.call_tool(tx, house.owner, tool, {"top": 1})).id
    task = await house.task_ended(task_id)
    assert task.error is None
    assert task.output["functions"] == 1
    assert task.agent is None
