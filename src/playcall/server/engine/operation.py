"""One operation: a task from its start to its end, its tool called between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import AgentState, JsonObject, TaskStatus, ToolKind
from ..clock import utc_now
from ..settings import Settings
from ..store.database import Database, Transaction
from ..store.tables import AgentRow, RunRow, TaskRow, ToolRow
from ..tools import ToolContext, ToolFailure, ToolLimits, ToolStopped, builtin_tools, installed_tool
from ..tools.definition import check_output
from ..tools.http_request import send
from ..tools.unbroken import unbroken
from .announce import Emits, announce_agent, announce_task
from .artifacts import enter_artifact
from .failure import StepFailed, Superseded, failure_of
from .records import ENDED_TASK
from .reporter import Reporter
from .slots import Slots
from .work import Work

__all__ = ["Operations", "end_task", "release_agent"]

_log = logging.getLogger("playcall.server.engine")

AT_ONCE = 16
"""Operations that one process works on at the same time; the others wait as queued."""
_SLOTLESS = frozenset({"wait"})
"""They only let time pass. The names of built-in tools are nobody else's."""
AGENT_POLL_SECONDS = 2.0
"""How long a start of an agent may go unnoticed that another process made."""


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool as it was when the operation began; nothing of the row is needed afterwards."""

    name: str
    kind: str
    implementation: str | None
    url: str | None
    method: str | None
    defaults: JsonObject
    secret_headers: Mapping[str, str]
    timeout_seconds: float | None


class Operations:
    """Carries out operations for runs and tasks alike."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._slots = Slots(AT_ONCE)
        self._agent_changed: dict[str, asyncio.Event] = {}

    def agent_changed(self, agent_id: str) -> None:
        """An agent was started or stopped: whoever waits for it looks again."""
        event = self._agent_changed.get(agent_id)
        if event is not None:
            event.set()

    def slot(self, owner_id: str) -> AbstractAsyncContextManager[None]:
        """One of the places for work, shared fairly among owners."""
        return self._slots.held_by(owner_id)

    def workspace(self, id: str) -> Path:
        """The folder of a run, or of a task without one."""
        return self._settings.workspaces_dir / id

    async def carry_out(self, task: TaskRow, work: Work, reporter: Reporter) -> Any:
        """The task's output, of whatever type JSON holds.

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
            await self._until_agent_works(task)
            async with contextlib.nullcontext() if task.operation in _SLOTLESS else self.slot(task.owner_id):
                tool = await unbroken(self._start(task, reporter))
                context = self._context(task, reporter)
                output = await self._call(tool, task, context)
            await unbroken(self._end(task, reporter, TaskStatus.COMPLETED, output=output, context=context))
        except asyncio.CancelledError:
            if not work.keeps_state:
                reason = "it was cancelled" if work.stopped_by == "cancel" else "another operation of its step failed"
                with contextlib.suppress(Superseded):  # it had just ended of itself
                    await unbroken(self._end(task, reporter, TaskStatus.CANCELLED, error=("cancelled", reason)))
            raise
        except StepFailed as failure:
            error_pair = (failure.code, failure.message)
            await unbroken(self._end(task, reporter, TaskStatus.FAILED, error=error_pair))
            raise
        return output

    async def _until_agent_works(self, task: TaskRow) -> None:
        agent_id = task.agent_id
        if agent_id is None:
            return
        event = self._agent_changed.setdefault(agent_id, asyncio.Event())
        while True:
            event.clear()
            state = await unbroken(self._state_of(agent_id))
            if state != AgentState.STOPPED:
                return
            try:
                async with asyncio.timeout(AGENT_POLL_SECONDS):
                    await event.wait()
            except TimeoutError:
                pass  # nobody here told us: another process may have started it

    async def _state_of(self, agent_id: str) -> str | None:
        async with self._database.read() as session:
            return await session.scalar(select(AgentRow.state).where(AgentRow.id == agent_id))

    async def _start(self, task: TaskRow, reporter: Reporter) -> _Tool:
        """The task is running, and so is its agent.

        Raises:
            StepFailed: the agent or the tool is gone, or the agent does not have the tool any more.
        """
        async with reporter.transaction() as tx:
            row = await _own_row(tx.session, task)
            agent = await _agent_of(tx.session, row)
            task.parameters = row.parameters  # they may have been changed while it was queued
            row.status = TaskStatus.RUNNING
            row.started_at = row.started_at or utc_now()
            _touch(row)
            if agent is not None and agent.state in (AgentState.CREATED, AgentState.READY):
                agent.state = AgentState.RUNNING
                _touch(agent)
                announce_agent(tx, agent)
            announce_task(tx, row, "started")
            if agent is not None and row.operation not in agent.tools:
                problem = StepFailed("operation_unknown", f"the agent {agent.name!r} has no tool {row.operation!r}")
            elif row.agent_id is not None and agent is None:
                problem = StepFailed("agent_not_found", f"the agent {row.agent!r} is not there any more")
            else:
                problem = None
            tool = await _tool_of(tx.session, row.owner_id, row.operation)
        if problem is not None:
            raise problem
        if tool is None:
            raise StepFailed("tool_not_found", f"no tool is called {task.operation!r}")
        return tool

    def _context(self, task: TaskRow, reporter: Reporter) -> ToolContext:
        key = f"{task.run_id}:{task.step_id}:{task.place}" if task.run_id is not None else task.id
        return ToolContext(
            workspace=self.workspace(task.run_id or task.id),
            read_roots=self._settings.read_roots,
            private_folders=(self._settings.data_dir,),
            idempotency_key=key,
            limits=ToolLimits(allow_private_addresses=self._settings.allow_private_addresses),
            progress_sink=lambda done, total, message: reporter.progress(task, done, total, message),
            log_sink=lambda level, message: reporter.line(task, level, message),
        )

    async def _call(self, tool: _Tool, task: TaskRow, context: ToolContext) -> Any:
        """Raises StepFailed for whatever goes wrong."""
        limits = [s for s in (task.timeout_seconds, tool.timeout_seconds) if s is not None]
        seconds = min(limits, default=None)
        timer = asyncio.timeout(seconds)
        try:
            await asyncio.to_thread(context.workspace.mkdir, parents=True, exist_ok=True)
            async with timer:
                return await _invoke(tool, {**tool.defaults, **task.parameters}, context)
        except TimeoutError:
            if timer.expired():
                raise StepFailed("timeout", f"{tool.name} was stopped after {seconds:g} s") from None
            raise StepFailed("tool_error", f"{tool.name} ran out of time of its own") from None
        except ToolFailure as failure:
            raise StepFailed(failure.code, failure.message) from None
        except ToolStopped:
            raise StepFailed("tool_error", f"{tool.name} stopped of itself") from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            # Nobody cancelled this call: the tool waited for something of its own that was.
            raise StepFailed("tool_error", f"{tool.name} was cancelled from within") from None
        except Exception as error:  # a tool of somebody else's package: whatever it raises is its failure, not ours
            _log.warning("tool_raised", exc_info=error, extra={"tool": tool.name, "task_id": task.id})
            raise StepFailed("tool_error", f"{tool.name} raised {type(error).__name__}: {str(error)[:500]}") from error

    async def _end(
        self,
        task: TaskRow,
        reporter: Reporter,
        status: TaskStatus,
        *,
        output: Any = None,
        error: tuple[str, str] | None = None,
        context: ToolContext | None = None,
    ) -> None:
        reporter.end(task)
        async with reporter.transaction() as tx:
            row = await _own_row(tx.session, task)
            if context is not None and row.run_id is not None:
                await _keep_artifacts(tx, row.run_id, row.step_id, context)
            await end_task(tx, tx.session, row, status, output=output, error=error)


async def end_task(
    to: Emits,
    session: AsyncSession,
    row: TaskRow,
    status: TaskStatus,
    *,
    output: Any = None,
    error: tuple[str, str] | None = None,
) -> None:
    """The task has ended; its agent is free unless it works on something else."""
    row.status = status
    row.output = output
    row.error = None if error is None else failure_of(*error).model_dump(mode="json")
    row.ended_at = utc_now()
    row.wish = None
    _touch(row)
    announce_task(to, row, status.value)
    await session.flush()
    await release_agent(to, session, row.agent_id)


async def release_agent(to: Emits, session: AsyncSession, agent_id: str | None) -> None:
    """A running agent that has no running task is ready again."""
    agent = None if agent_id is None else await session.get(AgentRow, agent_id)
    if agent is None or agent.state != AgentState.RUNNING:
        return
    running = select(func.count()).where(TaskRow.agent_id == agent.id, TaskRow.status == TaskStatus.RUNNING.value)
    if not await session.scalar(running):
        agent.state = AgentState.READY
        _touch(agent)
        announce_agent(to, agent)


async def _invoke(tool: _Tool, parameters: JsonObject, context: ToolContext) -> Any:
    if tool.kind == ToolKind.BUILTIN:
        builtin = builtin_tools().get(tool.name)
        if builtin is None:
            raise ToolFailure("tool_unavailable", f"this server has no built-in tool {tool.name!r}")
        return await builtin.call(parameters, context)
    if tool.kind == ToolKind.INSTALLED:
        return await installed_tool(tool.implementation or "").call(parameters, context)
    if tool.kind != ToolKind.HTTP or tool.url is None:
        raise ToolFailure("tool_unavailable", f"this server cannot call tools of the kind {tool.kind!r}")
    method = tool.method or "POST"
    in_query = method == "GET"
    headers = {"Idempotency-Key": context.idempotency_key, **tool.secret_headers}
    answer = await send(
        method,
        tool.url,
        headers=headers if in_query else {"Content-Type": "application/json", **headers},
        query={k: v if isinstance(v, str) else json.dumps(v) for k, v in parameters.items()} if in_query else None,
        body=None if in_query else json.dumps(parameters, ensure_ascii=False).encode(),
        timeout_seconds=tool.timeout_seconds or 60.0,
        limits=context.limits,
    )
    output = answer["json"] if "json" in answer else {"text": answer["text"]}
    check_output(tool.name, output, context.limits.max_output_bytes)
    return output


async def _own_row(session: AsyncSession, task: TaskRow) -> TaskRow:
    row = await session.get(TaskRow, task.id)
    if row is None or row.status in ENDED_TASK:
        raise Superseded
    return row


async def _agent_of(session: AsyncSession, row: TaskRow) -> AgentRow | None:
    return None if row.agent_id is None else await session.get(AgentRow, row.agent_id)


async def _tool_of(session: AsyncSession, owner_id: str, name: str) -> _Tool | None:
    """The owner's own, or everybody's."""
    found = (
        await session.execute(
            select(ToolRow)
            .where(ToolRow.name == name, or_(ToolRow.owner_id == owner_id, ToolRow.owner_id.is_(None)))
            .order_by(ToolRow.owner_id.is_(None))
            .limit(1)
        )
    ).scalar_one_or_none()
    if found is None:
        return None
    return _Tool(
        name=found.name,
        kind=found.kind,
        implementation=found.implementation,
        url=found.url,
        method=found.method,
        defaults=found.defaults,
        secret_headers={k: str(v) for k, v in found.secret_headers.items()},
        timeout_seconds=found.timeout_seconds,
    )


async def _keep_artifacts(tx: Transaction, run_id: str, step_id: str | None, context: ToolContext) -> None:
    """What somebody else has written over since has an entry of theirs."""
    run = await tx.session.get(RunRow, run_id)
    if run is None or not context.written:
        return
    for file in await asyncio.to_thread(context.standing):
        await enter_artifact(tx, run, file, step_id)


def _touch(row: TaskRow | AgentRow) -> None:
    row.version += 1
    row.updated_at = utc_now()
