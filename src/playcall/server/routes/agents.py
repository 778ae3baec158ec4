"""Agents: who does the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Request, Response
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import Agent, AgentId, AgentPatch, AgentSpec, AgentState, FieldProblem, Page, TaskStatus
from playcall.models.event import AgentData, AgentDeletedData
from playcall.models.topic import AGENTS, agent_topic
from playcall.server.answers import model_response, require_match, state_response
from playcall.server.auth.caller import Caller
from playcall.server.clock import utc_now
from playcall.server.dependencies import CallerDep, CommandDep, CoreDep, DatabaseDep
from playcall.server.ids import new_id
from playcall.server.log import NewEvent, TopicEntry, read_topic
from playcall.server.paging import OrderedPageDep, read_page
from playcall.server.problems import ApiError, invalid
from playcall.server.store.database import Transaction
from playcall.server.store.resources import agent_of
from playcall.server.store.tables import AgentRow, TaskRow, ToolRow
from playcall.server.tools import why_missing

from .changes import apply_changes, flush_named, sent_fields
from .own_rows import own_row
from .routing import CHANGED, DELETED, LISTED, MADE, STATE, api_router, problems

__all__ = ["router"]

router = api_router("agents")


@router.get(
    "/agents",
    response_model=Page[Agent],
    summary="One's agents",
    responses=LISTED,
)
async def agents_list(
    caller: CallerDep, database: DatabaseDep, page: OrderedPageDep, state: str | None = None
) -> Response:
    statement = select(AgentRow).where(AgentRow.owner_id == caller.user_id)
    if state is not None:
        statement = statement.where(AgentRow.state == state)
    async with database.read() as session:
        rows, following = await read_page(session, statement, AgentRow, page, filters={"of": AGENTS, "state": state})
        topic = await read_topic(session, caller.user_id, AGENTS)
    answer = Page[Agent](items=[agent_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


@router.post(
    "/agents",
    response_model=Agent,
    status_code=201,
    summary="A new agent",
    responses=MADE | problems("name_taken"),
)
async def agents_create(spec: AgentSpec, caller: CallerDep, command: CommandDep) -> Response:
    async with command.begin() as tx:
        await _require_tools(tx.session, caller, spec.tools)
        now = utc_now()
        row = AgentRow(
            id=new_id("agt"),
            owner_id=caller.user_id,
            version=1,
            created_at=now,
            updated_at=now,
            state=AgentState.CREATED.value,
            **spec.model_dump(),
        )
        tx.session.add(row)
        await flush_named(tx.session, "agent", row.name)
        agent = _emit(tx, row, "agent.created")
        return command.answer(agent, status=201, version=row.version, headers={"Location": f"/api/v1/agents/{row.id}"})


@router.get(
    "/agents/{agent_id}",
    response_model=Agent,
    summary="One agent",
    responses=STATE | problems("agent_not_found"),
)
async def agents_get(agent_id: AgentId, request: Request, caller: CallerDep, database: DatabaseDep) -> Response:
    async with database.read() as session:
        row = await own_row(session, AgentRow, caller, agent_id, "agent")
        topic = await read_topic(session, caller.user_id, agent_topic(agent_id))
    return state_response(request, agent_of(row), version=row.version, cursor=topic.at_head if topic else None)


@router.put(
    "/agents/{agent_id}",
    response_model=Agent,
    summary="Replace an agent",
    responses=CHANGED | problems("agent_not_found", "name_taken", "version_mismatch"),
)
async def agents_replace(
    agent_id: AgentId, spec: AgentSpec, request: Request, caller: CallerDep, command: CommandDep, core: CoreDep
) -> Response:
    return await _change(agent_id, spec.model_dump(), request, caller, command, core)


@router.patch(
    "/agents/{agent_id}",
    response_model=Agent,
    summary="Change an agent",
    responses=CHANGED | problems("agent_not_found", "name_taken", "version_mismatch"),
)
async def agents_update(
    agent_id: AgentId, patch: AgentPatch, request: Request, caller: CallerDep, command: CommandDep, core: CoreDep
) -> Response:
    return await _change(agent_id, sent_fields(patch, nullable={"model"}), request, caller, command, core)


@router.post(
    "/agents/{agent_id}/start",
    response_model=Agent,
    summary="Let it take work",
    responses=CHANGED | problems("agent_not_found", "version_mismatch"),
)
async def agents_start(
    agent_id: AgentId, request: Request, caller: CallerDep, command: CommandDep, core: CoreDep
) -> Response:
    """An agent that is ready or at work stays as it is."""
    return await _change(agent_id, _started, request, caller, command, core)


@router.post(
    "/agents/{agent_id}/stop",
    response_model=Agent,
    summary="Let it take no more",
    responses=CHANGED | problems("agent_not_found", "version_mismatch"),
)
async def agents_stop(
    agent_id: AgentId, request: Request, caller: CallerDep, command: CommandDep, core: CoreDep
) -> Response:
    """What it does now ends in peace; what is queued for it waits until it is started."""
    return await _change(agent_id, {"state": AgentState.STOPPED.value}, request, caller, command, core)


@router.delete(
    "/agents/{agent_id}",
    status_code=204,
    summary="Delete an agent",
    responses=DELETED | problems("agent_not_found", "agent_busy", "version_mismatch"),
)
async def agents_delete(agent_id: AgentId, request: Request, caller: CallerDep, command: CommandDep) -> Response:
    async with command.begin() as tx:
        row = await own_row(tx.session, AgentRow, caller, agent_id, "agent", lock=True)
        require_match(request, row.version)
        await _require_idle(tx.session, agent_id)
        await tx.session.delete(row)
        tx.emit(
            NewEvent(
                owner_id=caller.user_id,
                type="agent.deleted",
                data=AgentDeletedData(agent_id=agent_id),
                topics=(TopicEntry(AGENTS), TopicEntry(agent_topic(agent_id), ends="deleted")),
            )
        )
        return command.answer(None, status=204)


async def _change(
    agent_id: AgentId,
    wanted: dict[str, Any] | Callable[[AsyncSession, AgentRow], Awaitable[dict[str, Any]]],
    request: Request,
    caller: Caller,
    command: CommandDep,
    core: CoreDep,
) -> Response:
    """`wanted` may depend on what is stored. `Any` because each column has a type of its own; the models have checked
    them.
    """
    async with command.begin() as tx:
        row = await own_row(tx.session, AgentRow, caller, agent_id, "agent", lock=True)
        require_match(request, row.version)
        changes = await wanted(tx.session, row) if callable(wanted) else wanted
        if "tools" in changes:
            await _require_tools(tx.session, caller, changes["tools"])
        if apply_changes(row, changes):
            await flush_named(tx.session, "agent", row.name)
            _emit(tx, row, "agent.changed")
        answer = command.answer(agent_of(row), version=row.version)
    if core.engine is not None:
        core.engine.agent_changed(agent_id)
    return answer


async def _started(session: AsyncSession, row: AgentRow) -> dict[str, Any]:
    """One that was stopped in the middle of its work is at work again, and not free."""
    if row.state in (AgentState.READY, AgentState.RUNNING):
        return {}
    at_work = await session.execute(
        select(TaskRow.id).where(TaskRow.agent_id == row.id, TaskRow.status == TaskStatus.RUNNING.value).limit(1)
    )
    return {"state": (AgentState.READY if at_work.first() is None else AgentState.RUNNING).value}


def _emit(tx: Transaction, row: AgentRow, type: str) -> Agent:
    agent = agent_of(row)
    tx.emit(
        NewEvent(
            owner_id=row.owner_id,
            type=type,
            data=AgentData(agent=agent),
            topics=(TopicEntry(AGENTS), TopicEntry(agent_topic(row.id))),
        )
    )
    return agent


async def _require_tools(session: AsyncSession, caller: Caller, names: Sequence[str]) -> None:
    """An agent's tools exist: a run is no place to find out that they do not.

    They are held, in the order in which they are locked elsewhere: none is deleted before it is seen who uses it.
    """
    named = select(ToolRow.name).where(
        ToolRow.name.in_(names), or_(ToolRow.owner_id == caller.user_id, ToolRow.owner_id.is_(None))
    )
    held = named.order_by(ToolRow.name).with_for_update(read=True, key_share=True)
    known = set((await session.execute(held)).scalars())
    errors = [
        FieldProblem(loc=["body", "tools", index], msg=why_missing(name), type="unknown_tool")
        for index, name in enumerate(names)
        if name not in known
    ]
    if errors:
        raise invalid(errors[0].msg, errors)


async def _require_idle(session: AsyncSession, agent_id: str) -> None:
    """
    Raises:
        ApiError: 409 `agent_busy`: it has tasks that have not ended.
    """
    open_task = select(TaskRow.id).where(
        TaskRow.agent_id == agent_id, TaskRow.status.in_((TaskStatus.QUEUED.value, TaskStatus.RUNNING.value))
    )
    if (await session.execute(open_task.limit(1))).first() is not None:
        raise ApiError(409, "agent_busy", "this agent has tasks that have not ended; cancel them first")
