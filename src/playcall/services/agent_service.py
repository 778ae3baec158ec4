"""Agents: who does the work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..faces import Awaiting, FaceT, call, stream
from ..models.agent import Agent, AgentPatch, AgentSpec
from ..models.task import Task
from .api_client import APIClient
from .paging import order_of, pages
from .resource import Resource

__all__ = ["AgentService"]


class AgentService(Resource[Agent, FaceT]):
    """`client.agents`. Beside the general errors: AgentNotFoundError, NameTakenError, AgentBusyError (on delete)."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(api, "/agents", Agent)

    @stream
    async def list(
        self: AgentService[Awaiting],
        *,
        newest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[Agent]:
        """Your agents, oldest first unless told."""
        filters = {"order": order_of(newest_first)}
        async for agent in pages(self._api, self._path, Agent, page_size, max_items, filters):
            yield agent

    @call
    async def create(
        self: AgentService[Awaiting], spec: AgentSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Agent:
        """Registers an agent.

        Raises:
            NameTakenError: another agent of yours has this name.
            InvalidRequestError: it names a tool that does not exist.
        """
        return await self._create(spec, idempotency_key)

    @call
    async def update(
        self: AgentService[Awaiting],
        id: str,
        changes: AgentPatch | Mapping[str, Any],
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> Agent:
        """The agent with these fields changed; with `if_match`, only while it has this version."""
        return await self._update(id, changes, if_match, idempotency_key)

    @call
    async def start(self: AgentService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Agent:
        """Lets a stopped agent work again; what waited for it goes on. One in error is ready again."""
        return await self._act(id, "start", Agent, idempotency_key)

    @call
    async def stop(self: AgentService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Agent:
        """Gives the agent no new work; what it is doing it finishes, what is queued for it waits."""
        return await self._act(id, "stop", Agent, idempotency_key)

    @stream
    async def tasks(
        self: AgentService[Awaiting],
        id: str,
        *,
        newest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[Task]:
        """The agent's tasks, oldest first unless told."""
        filters = {"order": order_of(newest_first)}
        async for task in pages(self._api, self._item(id, "/tasks"), Task, page_size, max_items, filters):
            yield task
