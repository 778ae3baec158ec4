"""One operation: a task from its start to its end, its tool called or its agent's model asked between."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import AgentState, JsonObject, TaskStatus
from ..clock import utc_now
from ..settings import Settings
from ..store.database import Database, Transaction
from ..store.dialect import is_lost
from ..store.tables import AgentRow, RunRow, TaskRow
from ..tools import ToolContext, ToolFailure, ToolLimits, why_missing
from ..tools.definition import check_output
from ..tools.unbroken import unbroken
from .agent_state import locked_agent, settle_agent
from .agent_waits import AgentWaits
from .announce import Emits, announce_agent, announce_task
from .artifacts import enter_artifact
from .calls import PROMPT, RegisteredTool, find_tool, guarded, invoke
from .failure import StepFailed, Superseded, failure_of
from .prompts import ModelEndpoint, ModelTool, Prompt, user_text
from .records import ENDED_TASK
from .reporter import Reporter
from .run_rows import touch
from .slots import Slots
from .step_time import StepTime
from .work import Work

__all__ = ["Operations", "end_task"]

AT_ONCE = 16
"""Operations that one process works on at the same time; the others wait as queued."""
_AWAY_SECONDS = (0.1, 1.0)
"""Before a task's end is written again; doubled each time, up to the second."""
_SLOTLESS = frozenset({"wait"})
"""They only let time pass. The names of built-in tools are nobody else's."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt, as its agent was when the operation began."""

    model: str
    instructions: str
    tools: Sequence[RegisteredTool]


class Operations:
    """Carries out operations for runs and tasks alike."""

    def __init__(self, database: Database, settings: Settings, *, is_alive: Callable[[], bool] = lambda: True) -> None:
        """`is_alive`: whether nobody can have taken this process for dead, and gone on with its work."""
        self._database = database
        self._settings = settings
        self._is_alive = is_alive
        self._slots = Slots(AT_ONCE)
        self._endpoint = ModelEndpoint.of(settings)
        self._agents = AgentWaits(database)

    def agent_changed(self, agent_id: str) -> None:
        """An agent was started or stopped: whoever waits for it looks again."""
        self._agents.changed(agent_id)

    def slot(self, owner_id: str) -> AbstractAsyncContextManager[None]:
        """One of the places for work, shared fairly among owners."""
        return self._slots.held_by(owner_id)

    def workspace(self, id: str) -> Path:
        """The folder of a run, or of a task without one."""
        return self._settings.workspaces_dir / id

    async def carry_out(self, task: TaskRow, work: Work, reporter: Reporter, time: StepTime) -> Any:
        """The task's output, of whatever type JSON holds. `time` is what its step may take, or the task alone.

        A task that has ended already, before a crash, gives what it gave then: its tool is not called again.

        Raises:
            StepFailed: the task failed, and is stored as failed.
            Superseded: the segment has lost the run; nothing is stored.
            asyncio.CancelledError: stored as cancelled, unless the server is shutting down, or has a fault of its own.
        """
        if task.status in ENDED_TASK:
            if task.status == TaskStatus.COMPLETED:
                return task.output
            error = task.error or {}
            raise StepFailed(
                str(error.get("code", task.status)), str(error.get("message", f"the task was {task.status}"))
            )
        try:
            if task.agent_id is not None:
                await self._agents.until_works(task.agent_id)
            async with contextlib.nullcontext() if task.operation in _SLOTLESS else self.slot(task.owner_id):
                what = await unbroken(self._start(task, reporter))
                context = self._context(task, reporter)
                with time.working():
                    output = await self._do(what, task, context, reporter, time.left)
            await unbroken(self._end(task, work, reporter, TaskStatus.COMPLETED, output=output, context=context))
        except asyncio.CancelledError:
            if not work.keeps_state:
                reason = "it was cancelled" if work.stopped_by == "cancel" else "another operation of its step failed"
                with contextlib.suppress(Superseded):  # it had just ended of itself
                    await unbroken(self._end(task, work, reporter, TaskStatus.CANCELLED, error=("cancelled", reason)))
            raise
        except StepFailed as failure:
            error_pair = (failure.code, failure.message)
            await unbroken(self._end(task, work, reporter, TaskStatus.FAILED, error=error_pair))
            raise
        return output

    async def _start(self, task: TaskRow, reporter: Reporter) -> RegisteredTool | _Asked:
        """The task is running, and so is its agent.

        Raises:
            StepFailed: the agent or a tool is gone, the agent does not have the tool any more, or no model can be asked.
        """
        async with reporter.transaction() as tx:
            row = await _own_row(tx.session, task)
            agent = await locked_agent(tx.session, row.agent_id)
            task.parameters = row.parameters  # they may have been changed while it was queued
            row.status = TaskStatus.RUNNING
            row.started_at = row.started_at or utc_now()
            touch(row)
            if agent is not None and agent.state in (AgentState.CREATED, AgentState.READY):
                agent.state = AgentState.RUNNING
                touch(agent)
                announce_agent(tx, agent)
            announce_task(tx, row, "started")
            what = await _what_to_do(tx.session, row, agent)
        if isinstance(what, StepFailed):
            raise what
        if isinstance(what, _Asked) and (why := self._endpoint.refusal(what.model)):
            raise StepFailed("model_unavailable", why)
        return what

    def _context(self, task: TaskRow, reporter: Reporter) -> ToolContext:
        key = f"{task.run_id}:{task.step_id}:{task.effect}" if task.run_id is not None else task.id
        return ToolContext(
            workspace=self.workspace(task.run_id or task.id),
            read_roots=self._settings.read_roots,
            private_folders=(self._settings.data_dir,),
            idempotency_key=key,
            still_ours=self._is_alive,
            limits=ToolLimits(allow_private_addresses=self._settings.allow_private_addresses),
            progress_sink=lambda done, total, message: reporter.progress(task, done, total, message),
            log_sink=lambda level, message: reporter.line(task, level, message),
        )

    async def _do(
        self, what: RegisteredTool | _Asked, task: TaskRow, context: ToolContext, reporter: Reporter, left: float | None
    ) -> Any:
        """Raises StepFailed for whatever goes wrong."""
        await asyncio.to_thread(context.workspace.mkdir, parents=True, exist_ok=True)
        try:
            if isinstance(what, _Asked):
                asking = self._ask(what, task, context, reporter)
                return await guarded(PROMPT, asking, seconds=left, task_id=task.id)
            limits = [s for s in (left, what.timeout_seconds) if s is not None]
            calling = invoke(what, task.parameters, context, with_shell=self._settings.enable_shell)
            return await guarded(what.name, calling, seconds=min(limits, default=None), task_id=task.id)
        except ToolFailure as failure:
            raise StepFailed(failure.code, failure.message) from None

    async def _ask(self, asked: _Asked, task: TaskRow, context: ToolContext, reporter: Reporter) -> JsonObject:
        asking = await asyncio.to_thread(importlib.import_module, f"{__package__}.asking")  # it takes a second
        tools = [self._for_model(tool, task, context) for tool in asked.tools]
        prompt = Prompt(
            asked.model,
            asked.instructions,
            user_text(task.operation, task.parameters),
            tools,
            said=functools.partial(reporter.said, task),
        )
        output: JsonObject = await asking.ask(self._endpoint, prompt, key=context.idempotency_key)
        check_output("the model", output, context.limits.max_output_bytes)
        return output

    def _for_model(self, tool: RegisteredTool, task: TaskRow, context: ToolContext) -> ModelTool:
        """Calls go the way of any operation, and write the same task's artifacts; each may be stopped by itself."""

        async def call(parameters: JsonObject, key: str) -> Any:
            own = replace(context, idempotency_key=key, stop=threading.Event())
            calling = invoke(tool, parameters, own, with_shell=self._settings.enable_shell)
            return await guarded(tool.name, calling, seconds=tool.timeout_seconds, task_id=task.id)

        return ModelTool(tool.name, tool.description, {"type": "object", **tool.parameters}, call)

    async def _end(
        self,
        task: TaskRow,
        work: Work,
        reporter: Reporter,
        status: TaskStatus,
        *,
        output: Any = None,
        error: tuple[str, str] | None = None,
        context: ToolContext | None = None,
    ) -> None:
        """A database that is gone is waited for: its tool has done its work, and is not to do it again for that."""
        reporter.end(task)
        pause, longest = _AWAY_SECONDS
        while True:
            try:
                async with reporter.transaction() as tx:
                    row = await _own_row(tx.session, task)
                    if context is not None and row.run_id is not None:
                        await _keep_artifacts(tx, row.run_id, row.step_id, context)
                    await end_task(tx, tx.session, row, status, output=output, error=error)
                return
            except DBAPIError as lost:
                if work.keeps_state or not is_lost(lost):
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


async def end_task(
    to: Emits,
    session: AsyncSession,
    row: TaskRow,
    status: TaskStatus,
    *,
    output: Any = None,
    error: tuple[str, str] | None = None,
) -> None:
    """The task has ended, and its agent's state is what its tasks make it now."""
    row.status = status
    row.output = output
    row.error = None if error is None else failure_of(*error).model_dump(mode="json")
    row.ended_at = utc_now()
    row.wish = None
    touch(row)
    announce_task(to, row, status.value)
    await session.flush()
    await settle_agent(to, session, row)


async def _what_to_do(
    session: AsyncSession, row: TaskRow, agent: AgentRow | None
) -> RegisteredTool | _Asked | StepFailed:
    """As agent and tools are now: the playbook, or the task, was checked when it was stored."""
    if row.agent_id is not None and agent is None:
        return StepFailed("agent_not_found", f"the agent {row.agent!r} is not there any more")
    if agent is None or row.operation in agent.tools:
        return await find_tool(session, row.owner_id, row.operation) or _no_tool(row.operation)
    if agent.model is None:
        return StepFailed("operation_unknown", f"the agent {agent.name!r} has no tool {row.operation!r}")
    tools: list[RegisteredTool] = []
    for name in agent.tools:
        tool = await find_tool(session, row.owner_id, name)
        if tool is None:
            return _no_tool(name)
        tools.append(tool)
    return _Asked(agent.model, agent.instructions, tools)


def _no_tool(name: str) -> StepFailed:
    return StepFailed("tool_not_found", why_missing(name))


async def _own_row(session: AsyncSession, task: TaskRow) -> TaskRow:
    row = await session.get(TaskRow, task.id)
    if row is None or row.status in ENDED_TASK:
        raise Superseded
    return row


async def _keep_artifacts(tx: Transaction, run_id: str, step_id: str | None, context: ToolContext) -> None:
    """What somebody else has written over since has an entry of theirs."""
    run = await tx.session.get(RunRow, run_id)
    if run is None or not context.written:
        return
    for file in await asyncio.to_thread(context.standing):
        await enter_artifact(tx, run, file, step_id)
