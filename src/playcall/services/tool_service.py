"""Tools: what an agent can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..checks import check_number
from ..faces import Awaiting, FaceT, call, stream
from ..models.tool import Tool, ToolHealth, ToolKind, ToolPatch, ToolResult, ToolSpec
from .api_client import APIClient
from .options import as_mapping
from .paging import order_of, pages
from .resource import Resource

__all__ = ["ToolService"]


class ToolService(Resource[Tool, FaceT]):
    """`client.tools`. Beside the general errors: ToolNotFoundError, NameTakenError, BuiltinToolError, ToolFailedError."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(api, "/tools", Tool)

    @stream
    async def list(
        self: ToolService[Awaiting],
        *,
        kind: ToolKind | str | None = None,
        newest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[Tool]:
        """The built-in tools and yours, oldest first unless told; of one kind."""
        filters = {"kind": kind, "order": order_of(newest_first)}
        async for tool in pages(self._api, self._path, Tool, page_size, max_items, filters):
            yield tool

    @call
    async def register(
        self: ToolService[Awaiting], spec: ToolSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Tool:
        """Makes an installed function, or an HTTP endpoint of yours, a tool.

        Raises:
            NameTakenError: a built-in tool, or another of yours, has this name.
            InvalidRequestError: no such function is installed at the backend, or the URL is refused.
        """
        return await self._create(spec, idempotency_key)

    @call
    async def update(
        self: ToolService[Awaiting],
        id: str,
        changes: ToolPatch | Mapping[str, Any],
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> Tool:
        """The tool with these fields changed.

        Raises:
            BuiltinToolError: it belongs to the backend.
        """
        return await self._update(id, changes, if_match, idempotency_key)

    @call
    async def health(self: ToolService[Awaiting], id: str) -> ToolHealth:
        """Whether the tool could be called just now."""
        return await self._api.get(self._item(id, "/health"), into=ToolHealth)

    @call
    async def execute(
        self: ToolService[Awaiting],
        id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        wait_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> ToolResult:
        """Calls the tool. If it takes longer than `wait_seconds` (5), the result names the task that goes on.

        Raises:
            ToolFailedError: the tool failed; the message is its own.
            InvalidArgumentError: the parameters are no JSON, or `wait_seconds` is not from 0 to 30.
            InvalidRequestError: the parameters do not fit its schema.
        """
        fields: dict[str, Any] = {"parameters": as_mapping(parameters, "parameters")}
        if wait_seconds is not None:
            check_number(wait_seconds, "wait_seconds", least=0, most=30, what="0 to 30 seconds")
            fields["wait_seconds"] = wait_seconds
        return await self._act(id, "execute", ToolResult, idempotency_key, fields)
