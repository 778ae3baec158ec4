"""What an agent's tasks make its state: running, ready, or in error."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import AgentState, JsonObject, TaskStatus
from ..store.tables import AgentRow, TaskRow
from .announce import Emits, announce_agent
from .run_rows import touch

__all__ = ["UNUSABLE", "UNUSABLE_IN_A_ROW", "locked_agent", "release_agent", "settle_agent"]

UNUSABLE = frozenset({"model_unavailable", "tool_unavailable", "tool_not_found"})
"""Codes of failures that say of an agent that what it works with is not there, whatever it was asked."""
UNUSABLE_IN_A_ROW = 3
"""After so many operations in a row that failed for such a reason, an agent is in error."""


async def locked_agent(session: AsyncSession, agent_id: str | None) -> AgentRow | None:
    """Locked: what its tasks do at the same time in other transactions makes its state together."""
    return None if agent_id is None else await session.get(AgentRow, agent_id, with_for_update=True)


async def settle_agent(to: Emits, session: AsyncSession, ended: TaskRow) -> None:
    """A task of the agent's has ended: it is in error now, or not any more; else it is ready if it works on nothing else.

    An agent in error works on: it is a sign for people. What completes, or fails for a reason of its own, takes it back.
    """
    agent = await locked_agent(session, ended.agent_id)
    if agent is None:
        return
    state = await _health(session, agent, ended)
    if state is None:
        await _release(to, session, agent)
    elif agent.state != state:
        _set_state(to, agent, state)


async def release_agent(to: Emits, session: AsyncSession, agent_id: str) -> None:
    """A running agent that has no running task is ready again."""
    agent = await locked_agent(session, agent_id)
    if agent is not None:
        await _release(to, session, agent)


async def _health(session: AsyncSession, agent: AgentRow, ended: TaskRow) -> AgentState | None:
    """The state that follows where the task's end puts the agent into error, or takes it out of it."""
    if agent.state == AgentState.STOPPED or ended.status == TaskStatus.CANCELLED:
        return None
    if not _is_unusable(ended.error):
        if agent.state != AgentState.ERROR:
            return None
        return AgentState.RUNNING if await _runs_something(session, agent.id) else AgentState.READY
    last = select(TaskRow.error).where(
        TaskRow.agent_id == agent.id, TaskRow.ended_at.is_not(None), TaskRow.status != TaskStatus.CANCELLED.value
    )
    newest = last.order_by(TaskRow.created_at.desc(), TaskRow.id.desc()).limit(UNUSABLE_IN_A_ROW)
    errors = (await session.execute(newest)).scalars().all()
    if len(errors) < UNUSABLE_IN_A_ROW or not all(_is_unusable(error) for error in errors):
        return None
    return AgentState.ERROR


async def _release(to: Emits, session: AsyncSession, agent: AgentRow) -> None:
    if agent.state == AgentState.RUNNING and not await _runs_something(session, agent.id):
        _set_state(to, agent, AgentState.READY)


async def _runs_something(session: AsyncSession, agent_id: str) -> bool:
    running = select(func.count()).where(TaskRow.agent_id == agent_id, TaskRow.status == TaskStatus.RUNNING.value)
    return bool(await session.scalar(running))


def _set_state(to: Emits, agent: AgentRow, state: AgentState) -> None:
    agent.state = state
    touch(agent)
    announce_agent(to, agent)


def _is_unusable(error: JsonObject | None) -> bool:
    return error is not None and error.get("code") in UNUSABLE
