"""Tasks: one operation for one agent, of a run or of one's own."""

from __future__ import annotations

import difflib
from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import AgentId, FieldProblem, Page, Task, TaskId, TaskPatch, TaskSpec, TaskStatus
from playcall.models.topic import TASKS, agent_topic, task_topic
from playcall.server.answers import model_response, require_match, state_response
from playcall.server.auth.caller import Caller
from playcall.server.dependencies import CallerDep, CommandDep, DatabaseDep, SettingsDep
from playcall.server.engine.announce import announce_task
from playcall.server.engine.prompts import ModelEndpoint, is_prompt
from playcall.server.engine.records import task_of
from playcall.server.log import read_topic
from playcall.server.paging import OrderedPageDep, PageRequest, read_page
from playcall.server.problems import ApiError, invalid, not_found
from playcall.server.store.database import Database
from playcall.server.store.tables import AgentRow, TaskRow, ToolRow
from playcall.server.tools import why_missing

from .changes import apply_changes, sent_fields
from .engine_access import EngineDep, require_parameters
from .own_rows import own_row
from .routing import CHANGED, DELETED, LISTED, MADE, STATE, api_router, problems

__all__ = ["router"]

router = api_router("tasks")


@router.get(
    "/tasks",
    response_model=Page[Task],
    summary="One's tasks",
    responses=LISTED,
)
async def tasks_list(
    caller: CallerDep,
    database: DatabaseDep,
    page: OrderedPageDep,
    status: str | None = None,
    agent: Annotated[str | None, Query(description="An agent's id.")] = None,
    run: Annotated[str | None, Query(description="A run's id.")] = None,
) -> Response:
    statement = select(TaskRow).where(TaskRow.owner_id == caller.user_id)
    if status is not None:
        statement = statement.where(TaskRow.status == status)
    if agent is not None:
        statement = statement.where(TaskRow.agent_id == agent)
    if run is not None:
        statement = statement.where(TaskRow.run_id == run)
    filters: dict[str, object] = {"of": TASKS, "status": status, "agent": agent, "run": run}
    return await _page(database, caller, statement, page, filters, TASKS)


@router.get(
    "/agents/{agent_id}/tasks",
    response_model=Page[Task],
    summary="An agent's tasks",
    responses=LISTED | problems("agent_not_found"),
)
async def agents_tasks(
    agent_id: AgentId, caller: CallerDep, database: DatabaseDep, page: OrderedPageDep, status: str | None = None
) -> Response:
    async with database.read() as session:
        await own_row(session, AgentRow, caller, agent_id, "agent")
    statement = select(TaskRow).where(TaskRow.agent_id == agent_id, TaskRow.owner_id == caller.user_id)
    if status is not None:
        statement = statement.where(TaskRow.status == status)
    filters: dict[str, object] = {"of": agent_topic(agent_id), "status": status}
    return await _page(database, caller, statement, page, filters, agent_topic(agent_id))


@router.post(
    "/tasks",
    response_model=Task,
    status_code=201,
    summary="Give an agent something to do",
    responses=MADE | problems("agent_not_found"),
)
async def tasks_create(
    spec: TaskSpec, caller: CallerDep, command: CommandDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    async with command.begin() as tx:
        agent = await _agent(tx.session, caller, spec.agent)
        tool = await _operation(tx.session, caller, agent, spec.operation, ModelEndpoint.of(settings))
        if tool is not None:
            require_parameters(tool, spec.parameters)
        task = await engine.commands.create_task(tx, agent, spec)
        headers = {"Location": f"/api/v1/tasks/{task.id}"}
        return command.answer(task_of(task), status=201, version=task.version, headers=headers)


@router.get(
    "/tasks/{task_id}",
    response_model=Task,
    summary="One task",
    responses=STATE | problems("task_not_found"),
)
async def tasks_get(task_id: TaskId, request: Request, caller: CallerDep, database: DatabaseDep) -> Response:
    async with database.read() as session:
        row = await own_row(session, TaskRow, caller, task_id, "task")
        topic = await read_topic(session, caller.user_id, task_topic(task_id))
    return state_response(request, task_of(row), version=row.version, cursor=topic.at_head if topic else None)


@router.patch(
    "/tasks/{task_id}",
    response_model=Task,
    summary="Change a task",
    responses=CHANGED | problems("task_not_found", "task_not_editable", "version_mismatch"),
)
async def tasks_update(
    task_id: TaskId, patch: TaskPatch, request: Request, caller: CallerDep, command: CommandDep
) -> Response:
    """Its parameters only while it is queued, and only one's own: a run's follow from its playbook."""
    changes = sent_fields(patch)
    async with command.begin() as tx:
        row = await own_row(tx.session, TaskRow, caller, task_id, "task", lock=True)
        require_match(request, row.version)
        if "parameters" in changes:
            if row.status != TaskStatus.QUEUED or row.run_id is not None:
                raise ApiError(409, "task_not_editable", "its parameters can be changed only while it is queued")
            tool = await _tool(tx.session, caller, row.operation)
            if tool is not None:
                require_parameters(tool, changes["parameters"])
        if apply_changes(row, changes):
            announce_task(tx, row, "changed")
        return command.answer(task_of(row), version=row.version)


@router.post(
    "/tasks/{task_id}/cancel",
    response_model=Task,
    summary="Stop a task",
    responses=CHANGED | problems("task_not_found", "task_not_cancellable", "version_mismatch"),
)
async def tasks_cancel(
    task_id: TaskId, request: Request, caller: CallerDep, command: CommandDep, engine: EngineDep
) -> Response:
    """It is `cancelled` once its tool has really stopped."""
    async with command.begin() as tx:
        row = await own_row(tx.session, TaskRow, caller, task_id, "task", lock=True)
        require_match(request, row.version)
        await engine.commands.cancel_task(tx, row)
        answer = command.answer(task_of(row), version=row.version)
    engine.stop_work(task_id)
    return answer


@router.delete(
    "/tasks/{task_id}",
    status_code=204,
    summary="Delete a task that has ended",
    responses=DELETED | problems("task_not_found", "task_not_ended", "task_of_run", "version_mismatch"),
)
async def tasks_delete(
    task_id: TaskId, request: Request, caller: CallerDep, command: CommandDep, engine: EngineDep
) -> Response:
    async with command.begin() as tx:
        row = await own_row(tx.session, TaskRow, caller, task_id, "task", lock=True)
        require_match(request, row.version)
        await engine.commands.delete_task(tx, row)
        answer = command.answer(None, status=204)
    await engine.remove_workspace(task_id)
    return answer


async def _page(
    database: Database,
    caller: Caller,
    statement: Select[TaskRow],
    page: PageRequest,
    filters: dict[str, object],
    topic_name: str,
) -> Response:
    async with database.read() as session:
        rows, following = await read_page(session, statement, TaskRow, page, filters=filters)
        topic = await read_topic(session, caller.user_id, topic_name)
    answer = Page[Task](items=[task_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


async def _agent(session: AsyncSession, caller: Caller, name_or_id: str) -> AgentRow:
    """An id wins over a name that looks like one. It is held: it is not deleted before the task that comes is seen."""
    statement = select(AgentRow).where(
        AgentRow.owner_id == caller.user_id, or_(AgentRow.id == name_or_id, AgentRow.name == name_or_id)
    )
    statement = statement.order_by((AgentRow.id == name_or_id).desc()).limit(1)
    row = (await session.execute(statement.with_for_update(read=True, key_share=True))).scalar_one_or_none()
    if row is None:
        raise not_found("agent")
    return row


async def _operation(
    session: AsyncSession, caller: Caller, agent: AgentRow, operation: str, endpoint: ModelEndpoint
) -> ToolRow | None:
    """The tool that the operation names; None for a prompt.

    Raises:
        ApiError: 422: it is neither, or no model can be asked.
    """
    tool = await _tool(session, caller, operation)
    known = () if tool is None else (operation,)
    close: list[str] = []
    if is_prompt(operation, agent_model=agent.model, agent_tools=agent.tools, known=known):
        why = endpoint.refusal(agent.model or "")
        if why is None:
            return None
        reason, kind = f"{operation!r} is a prompt for the model of {agent.name!r}, and {why}", "model_unavailable"
    elif operation in agent.tools:
        if tool is not None:
            return tool
        reason, kind = (
            f"the agent {agent.name!r} names a tool that is not registered: {why_missing(operation)}",
            "tool_unknown",
        )
    else:
        close = difflib.get_close_matches(operation, agent.tools, n=1)
        reason, kind = f"the agent {agent.name!r} has no tool {operation!r}", "operation_unknown"
    problem = FieldProblem(loc=["body", "operation"], msg=reason, type=kind, suggestion=close[0] if close else None)
    raise invalid(problem.msg, [problem])


async def _tool(session: AsyncSession, caller: Caller, name: str) -> ToolRow | None:
    statement = select(ToolRow).where(
        ToolRow.name == name, or_(ToolRow.owner_id == caller.user_id, ToolRow.owner_id.is_(None))
    )
    return (await session.execute(statement.order_by(ToolRow.owner_id.is_(None)).limit(1))).scalar_one_or_none()
