"""Calling a tool directly, and asking whether it could be called."""

from __future__ import annotations

import asyncio
import json
import time

from fastapi import Response
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import TaskId, TaskStatus, ToolCall, ToolHealth, ToolId, ToolResult
from playcall.models.topic import task_topic
from playcall.server.answers import model_response
from playcall.server.auth.caller import Caller
from playcall.server.clock import utc_now
from playcall.server.command import Replayed
from playcall.server.context import Deadline
from playcall.server.dependencies import CallerDep, CommandDep, DatabaseDep, DeadlineDep, SettingsDep
from playcall.server.problems import ApiError, not_found
from playcall.server.store.database import Database
from playcall.server.store.tables import TaskRow, ToolRow
from playcall.server.tools import ToolFailure, ToolLimits, builtin_tools, installed_tool
from playcall.server.tools.http_request import send

from .engine_access import EngineDep, require_parameters
from .routing import api_router, problems

__all__ = ["router"]

router = api_router("tools")

_HEALTH_SECONDS = 5.0
_ANSWER_SECONDS = 0.5
"""What is left of the caller's time for the answer itself."""


@router.post(
    "/tools/{tool_id}/execute",
    response_model=ToolResult,
    summary="Call a tool",
    responses=problems("tool_not_found", "tool_failed", "task_not_found"),
)
async def tools_execute(
    tool_id: ToolId,
    call: ToolCall,
    caller: CallerDep,
    command: CommandDep,
    database: DatabaseDep,
    deadline: DeadlineDep,
    engine: EngineDep,
) -> Response:
    """The call is a task; if it has not ended after `wait_seconds`, the answer names it and it goes on.

    The same call made again with its idempotency key is not another call: it waits for the first one's task.
    """
    try:
        async with command.begin() as tx:
            tool = await _tool(tx.session, caller, tool_id)
            require_parameters(tool, call.parameters)
            task = await engine.commands.call_tool(tx, caller.user_id, tool, call.parameters)
            task_id = task.id
            command.answer(ToolResult(finished=False, task_id=TaskId(task_id)))
    except Replayed as replayed:
        task_id = str(json.loads(bytes(replayed.response.body))["task_id"])
    ended = await _wait(database, caller, task_id, call.wait_seconds, deadline)
    if ended is None:
        return model_response(ToolResult(finished=False, task_id=TaskId(task_id)))
    if ended.status == TaskStatus.COMPLETED:
        return model_response(ToolResult(finished=True, output=ended.output, task_id=TaskId(task_id)))
    error = ended.error or {}
    raise ApiError(
        422,
        "tool_failed",
        str(error.get("message", f"the call was {ended.status}")),
        task_id=task_id,
        failure=error,
    )


@router.get(
    "/tools/{tool_id}/health",
    response_model=ToolHealth,
    summary="Could it be called?",
    responses=problems("tool_not_found"),
)
async def tools_health(tool_id: ToolId, caller: CallerDep, database: DatabaseDep, settings: SettingsDep) -> ToolHealth:
    """An installed tool loads; an HTTP endpoint's server answers HEAD with less than 500 (its secret headers are not
    sent: this is a look, not a call)."""
    async with database.read() as session:
        tool = await _tool(session, caller, tool_id)
    begun = time.monotonic()
    try:
        limits = ToolLimits(allow_private_addresses=settings.allow_private_addresses)
        message = await _look(tool, limits, with_shell=settings.enable_shell)
        healthy = True
    except ToolFailure as failure:
        healthy, message = False, failure.message
    except Exception as error:  # whatever somebody else's package raises when it is loaded: that is the answer
        healthy, message = False, f"it could not be asked: {type(error).__name__}"
    latency_ms = round(1_000 * (time.monotonic() - begun), 3)
    return ToolHealth(healthy=healthy, message=message, checked_at=utc_now(), latency_ms=latency_ms)


async def _look(tool: ToolRow, limits: ToolLimits, *, with_shell: bool) -> str:
    if tool.kind == "builtin":
        if tool.name not in builtin_tools(with_shell=with_shell):
            raise ToolFailure("tool_unavailable", f"this server has no built-in tool {tool.name!r}")
        return "built in"
    if tool.kind == "installed":
        await asyncio.to_thread(installed_tool, tool.implementation or "")
        return f"{tool.implementation} is installed"
    answer = await send(
        "HEAD", tool.url or "", headers={}, timeout_seconds=_HEALTH_SECONDS, fail_on_error=False, limits=limits
    )
    if answer["status"] >= 500:
        raise ToolFailure("http_status", f"its server answers {answer['status']}")
    return f"its server answers {answer['status']}"


async def _wait(
    database: Database, caller: Caller, task_id: str, wait_seconds: float, deadline: Deadline
) -> TaskRow | None:
    """The task once it has ended, or None if it takes longer."""
    until = time.monotonic() + min(wait_seconds, deadline.remaining_seconds() - _ANSWER_SECONDS)
    with database.wakes.waiting(caller.user_id, task_topic(task_id)) as waiter:
        while True:
            waiter.clear()
            async with database.read() as session:
                row = await session.get(TaskRow, task_id)
            if row is None:
                raise not_found("task")
            if row.ended_at is not None:
                return row
            try:
                # Only the wait is broken off, never a statement.
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    await waiter.wait()
            except TimeoutError:
                return None


async def _tool(session: AsyncSession, caller: Caller, tool_id: str) -> ToolRow:
    """One's own, or everybody's."""
    statement = select(ToolRow).where(
        ToolRow.id == tool_id, or_(ToolRow.owner_id == caller.user_id, ToolRow.owner_id.is_(None))
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise not_found("tool")
    return row
