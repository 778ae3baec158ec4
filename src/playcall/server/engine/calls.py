"""Calling one tool: as it was registered when the call began, and with whatever goes wrong as a `ToolFailure`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.server.telemetry import metrics

from ...models import JsonObject, ToolKind
from ..store.tables import ToolRow
from ..tools import ToolContext, ToolFailure, ToolStopped, builtin_tools, check_by_schema, installed_tool
from ..tools.definition import check_output
from ..tools.http_request import send

__all__ = ["PROMPT", "RegisteredTool", "find_tool", "guarded", "invoke"]

_log = logging.getLogger("playcall.server.engine")

PROMPT = "the prompt"
"""What a prompt is called where a tool has its name."""
_HTTP_SECONDS = 60.0
"""For an HTTP tool that says nothing of its own."""


@dataclass(frozen=True, slots=True)
class RegisteredTool:
    """Nothing of the row is needed afterwards."""

    name: str
    kind: str
    description: str
    parameters: JsonObject
    implementation: str | None
    url: str | None
    method: str | None
    defaults: JsonObject
    secret_headers: Mapping[str, str] = field(repr=False)
    timeout_seconds: float | None


async def find_tool(session: AsyncSession, owner_id: str, name: str) -> RegisteredTool | None:
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
    return RegisteredTool(
        name=found.name,
        kind=found.kind,
        description=found.description,
        parameters=found.parameters,
        implementation=found.implementation,
        url=found.url,
        method=found.method,
        defaults=found.defaults,
        secret_headers={k: str(v) for k, v in found.secret_headers.items()},
        timeout_seconds=found.timeout_seconds,
    )


async def invoke(tool: RegisteredTool, parameters: JsonObject, context: ToolContext, *, with_shell: bool) -> Any:
    """The output, whatever JSON holds. `with_shell`: whether this server has the tool `shell`.

    Raises:
        ToolFailure: and, of an installed tool, whatever its package raises.
    """
    parameters = {**tool.defaults, **parameters}
    if tool.kind == ToolKind.BUILTIN:
        builtin = builtin_tools(with_shell=with_shell).get(tool.name)
        if builtin is None:
            raise ToolFailure("tool_unavailable", f"this server has no built-in tool {tool.name!r}")
        return await builtin.call(parameters, context)
    if tool.kind == ToolKind.INSTALLED:
        return await installed_tool(tool.implementation or "").call(parameters, context)
    if tool.kind != ToolKind.HTTP or tool.url is None:
        raise ToolFailure("tool_unavailable", f"this server cannot call tools of the kind {tool.kind!r}")
    await check_by_schema(tool.name, tool.parameters, parameters)
    method = tool.method or "POST"
    in_query = method == "GET"
    headers = {"Idempotency-Key": context.idempotency_key, **tool.secret_headers}
    answer = await send(
        method,
        tool.url,
        headers=headers if in_query else {"Content-Type": "application/json", **headers},
        query={k: v if isinstance(v, str) else json.dumps(v) for k, v in parameters.items()} if in_query else None,
        body=None if in_query else json.dumps(parameters, ensure_ascii=False).encode(),
        timeout_seconds=tool.timeout_seconds or _HTTP_SECONDS,
        limits=context.limits,
    )
    output = answer["json"] if "json" in answer else {"text": answer["text"]}
    check_output(tool.name, output, context.limits.max_output_bytes)
    return output


async def guarded(name: str, work: Awaitable[Any], *, seconds: float | None, task_id: str) -> Any:
    """What `work` gives, within `seconds`, None for as long as it takes.

    Raises:
        ToolFailure: for whatever goes wrong in it.
        asyncio.CancelledError: only if the caller was cancelled.
    """
    timer = asyncio.timeout(seconds)
    try:
        with metrics.TOOL_SECONDS.timed(_label(name)):
            async with timer:
                return await work
    except TimeoutError:
        if timer.expired():
            raise ToolFailure("timeout", f"{name} was stopped after {seconds:g} s") from None
        raise ToolFailure("tool_error", f"{name} ran out of time of its own") from None
    except ToolFailure:
        raise
    except ToolStopped:
        raise ToolFailure("tool_error", f"{name} stopped of itself") from None
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise
        # Nobody cancelled this call: the tool waited for something of its own that was.
        raise ToolFailure("tool_error", f"{name} was cancelled from within") from None
    except Exception as error:  # a tool of somebody else's package: whatever it raises is its failure, not ours
        _log.warning("tool_raised", exc_info=error, extra={"tool": name, "task_id": task_id})
        raise ToolFailure("tool_error", f"{name} raised {type(error).__name__}: {str(error)[:500]}") from error


def _label(name: str) -> str:
    """Of the metric: names that users choose would be as many as they like."""
    if name == PROMPT:
        return "prompt"
    return name if name in builtin_tools(with_shell=True) else "other"
