"""Tasks: one operation for one agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..faces import Awaiting, FaceT, call, stream
from ..models.task import Task, TaskPatch, TaskSpec, TaskStatus
from .api_client import APIClient
from .paging import order_of, pages
from .resource import Resource

__all__ = ["TaskService"]


class TaskService(Resource[Task, FaceT]):
    """`client.tasks`. Beside the general errors: TaskNotFoundError, TaskNotCancellableError, TaskNotEditableError."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(api, "/tasks", Task)

    @stream
    async def list(
        self: TaskService[Awaiting],
        *,
        status: TaskStatus | str | None = None,
        agent: str | None = None,
        run: str | None = None,
        newest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[Task]:
        """Your tasks, oldest first unless told: with a status, of an agent (its id), of a run (its id)."""
        filters = {"status": status, "agent": agent, "run": run, "order": order_of(newest_first)}
        async for task in pages(self._api, self._path, Task, page_size, max_items, filters):
            yield task

    @call
    async def create(
        self: TaskService[Awaiting], spec: TaskSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Task:
        """Gives an agent something to do, and returns without waiting for it.

        Raises:
            AgentNotFoundError: there is no such agent.
            InvalidRequestError: the operation is none of its tools, or the parameters do not fit it.
        """
        return await self._create(spec, idempotency_key)

    @call
    async def update(
        self: TaskService[Awaiting],
        id: str,
        changes: TaskPatch | Mapping[str, Any],
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """The task with these fields changed.

        Raises:
            TaskNotEditableError: its parameters were to change, and it is no longer queued.
        """
        return await self._update(id, changes, if_match, idempotency_key)

    @call
    async def cancel(self: TaskService[Awaiting], id: str, *, idempotency_key: str | None = None) -> Task:
        """Asks for the task to be stopped; it is `cancelled` once its tool has really stopped.

        Raises:
            TaskNotCancellableError: it has ended.
        """
        return await self._act(id, "cancel", Task, idempotency_key)
