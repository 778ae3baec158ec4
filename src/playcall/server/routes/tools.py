"""Tools: what an agent can do. Built-in ones are everybody's; their own are registered here."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request, Response
from pydantic import SecretStr
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import FieldProblem, Page, Tool, ToolId, ToolKind, ToolPatch, ToolSpec
from playcall.models.event import ToolData, ToolDeletedData
from playcall.models.topic import TOOLS
from playcall.server.answers import model_response, require_match, state_response
from playcall.server.auth.caller import Caller
from playcall.server.clock import utc_now
from playcall.server.dependencies import CallerDep, CommandDep, DatabaseDep
from playcall.server.ids import new_id
from playcall.server.log import NewEvent, TopicEntry, read_topic
from playcall.server.paging import OrderedPageDep, read_page
from playcall.server.problems import ApiError, invalid, not_found
from playcall.server.store.database import Transaction
from playcall.server.store.resources import tool_of
from playcall.server.store.tables import AgentRow, ToolRow
from playcall.server.tools import installed_names, installed_parameters, why_no_schema
from playcall.server.tools.http_request import check_url

from .changes import apply_changes, flush_named, name_taken, sent_fields
from .routing import CHANGED, DELETED, LISTED, MADE, STATE, api_router, problems

__all__ = ["router"]

router = api_router("tools")

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@router.get(
    "/tools",
    response_model=Page[Tool],
    summary="The tools one may use, built-in ones included",
    responses=LISTED,
)
async def tools_list(
    caller: CallerDep, database: DatabaseDep, page: OrderedPageDep, kind: str | None = None
) -> Response:
    statement = select(ToolRow).where(_visible(caller))
    if kind is not None:
        statement = statement.where(ToolRow.kind == kind)
    async with database.read() as session:
        rows, following = await read_page(session, statement, ToolRow, page, filters={"of": TOOLS, "kind": kind})
        topic = await read_topic(session, caller.user_id, TOOLS)
    answer = Page[Tool](items=[tool_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


@router.post(
    "/tools",
    response_model=Tool,
    status_code=201,
    summary="Register a tool",
    responses=MADE | problems("name_taken"),
)
async def tools_create(spec: ToolSpec, caller: CallerDep, command: CommandDep) -> Response:
    async with command.begin() as tx:
        now = utc_now()
        row = ToolRow(
            id=new_id("tol"),
            owner_id=caller.user_id,
            version=1,
            created_at=now,
            updated_at=now,
            name=spec.name,
            kind=spec.kind.value,
            description=spec.description,
            parameters=_parameters_of(spec),
            defaults=spec.defaults,
            implementation=spec.implementation,
            url=spec.url,
            method=spec.method.upper() if spec.kind is ToolKind.HTTP else None,
            secret_headers=_plain(spec.secret_headers),
            timeout_seconds=spec.timeout_seconds,
        )
        _require_sense(row)
        builtin = select(ToolRow.id).where(ToolRow.owner_id.is_(None), ToolRow.name == spec.name)
        if (await tx.session.execute(builtin)).first() is not None:
            raise name_taken("tool", spec.name)
        tx.session.add(row)
        await flush_named(tx.session, "tool", row.name)
        tool = _emit(tx, caller, row, "tool.created")
        return command.answer(tool, status=201, version=1, headers={"Location": f"/api/v1/tools/{row.id}"})


@router.get(
    "/tools/{tool_id}",
    response_model=Tool,
    summary="One tool",
    responses=STATE | problems("tool_not_found"),
)
async def tools_get(tool_id: ToolId, request: Request, caller: CallerDep, database: DatabaseDep) -> Response:
    async with database.read() as session:
        row = await _visible_one(session, caller, tool_id)
        topic = await read_topic(session, caller.user_id, TOOLS)
    return state_response(request, tool_of(row), version=row.version, cursor=topic.at_head if topic else None)


@router.patch(
    "/tools/{tool_id}",
    response_model=Tool,
    summary="Change a tool",
    responses=CHANGED | problems("tool_not_found", "tool_builtin", "version_mismatch"),
)
async def tools_update(
    tool_id: ToolId, patch: ToolPatch, request: Request, caller: CallerDep, command: CommandDep
) -> Response:
    changes = sent_fields(patch, nullable={"timeout_seconds"})
    if patch.secret_headers is not None:
        changes["secret_headers"] = _plain(patch.secret_headers)
    if patch.method is not None:
        changes["method"] = patch.method.upper()
    async with command.begin() as tx:
        row = await _own(tx.session, caller, tool_id)
        require_match(request, row.version)
        _require_kind_takes(row, changes)
        if apply_changes(row, changes):
            _require_sense(row)
            _emit(tx, caller, row, "tool.changed")
        return command.answer(tool_of(row), version=row.version)


@router.delete(
    "/tools/{tool_id}",
    status_code=204,
    summary="Delete a tool",
    responses=DELETED | problems("tool_not_found", "tool_builtin", "tool_in_use", "version_mismatch"),
)
async def tools_delete(tool_id: ToolId, request: Request, caller: CallerDep, command: CommandDep) -> Response:
    """Not while an agent names it: the agent has to let go of it first."""
    async with command.begin() as tx:
        row = await _own(tx.session, caller, tool_id)
        require_match(request, row.version)
        agents = await tx.session.execute(
            select(AgentRow.name, AgentRow.tools).where(AgentRow.owner_id == caller.user_id)
        )
        users = sorted(name for name, tools in agents if row.name in tools)
        if users:
            raise ApiError(409, "tool_in_use", f"agent {users[0]} uses this tool", agents=users)
        await tx.session.delete(row)
        tx.emit(
            NewEvent(
                owner_id=caller.user_id,
                type="tool.deleted",
                data=ToolDeletedData(tool_id=tool_id),
                topics=(TopicEntry(TOOLS),),
            )
        )
        return command.answer(None, status=204)


def _emit(tx: Transaction, caller: Caller, row: ToolRow, type: str) -> Tool:
    tool = tool_of(row)
    tx.emit(NewEvent(owner_id=caller.user_id, type=type, data=ToolData(tool=tool), topics=(TopicEntry(TOOLS),)))
    return tool


def _visible(caller: Caller) -> Any:
    """`Any`: SQLAlchemy's own type of a condition is generic over more than matters here."""
    return or_(ToolRow.owner_id == caller.user_id, ToolRow.owner_id.is_(None))


async def _visible_one(session: AsyncSession, caller: Caller, tool_id: str, *, lock: bool = False) -> ToolRow:
    statement = select(ToolRow).where(ToolRow.id == tool_id, _visible(caller))
    row = (await session.execute(statement.with_for_update() if lock else statement)).scalar_one_or_none()
    if row is None:
        raise not_found("tool")
    return row


async def _own(session: AsyncSession, caller: Caller, tool_id: str) -> ToolRow:
    """Locked: nobody else changes it before the transaction ends, so its version is not raised twice from the same."""
    row = await _visible_one(session, caller, tool_id, lock=True)
    if row.owner_id is None:
        raise ApiError(409, "tool_builtin", f"{row.name} is built in: it is everybody's, and stays as it is")
    return row


def _plain(secrets: dict[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in secrets.items()}


def _parameters_of(spec: ToolSpec) -> dict[str, Any]:
    """What the tool takes, as its owner or its implementation says. `Any`: a JSON schema."""
    if spec.parameters is not None:
        return spec.parameters
    if spec.kind is ToolKind.INSTALLED and spec.implementation:
        return installed_parameters(spec.implementation) or {"type": "object"}
    return {"type": "object"}


def _require_kind_takes(row: ToolRow, changes: dict[str, Any]) -> None:
    if row.kind == ToolKind.HTTP:
        return
    errors = [
        FieldProblem(loc=["body", name], msg=f"only an http tool has {name}", type="not_for_this_kind")
        for name in ("url", "method", "secret_headers")
        if name in changes
    ]
    if errors:
        raise invalid(errors[0].msg, errors)


def _require_sense(row: ToolRow) -> None:
    """What a model alone cannot check: that fields go with the kind, and that there is something to call.

    Raises:
        ApiError: 422, every problem at once.
    """
    errors: list[FieldProblem] = []

    def wrong(field: str, msg: str, type: str, suggestion: str | None = None) -> None:
        errors.append(FieldProblem(loc=["body", field], msg=msg, type=type, suggestion=suggestion))

    if row.kind == ToolKind.BUILTIN:
        wrong("kind", "built-in tools come with the server; register an installed or an http one", "builtin")
    if row.kind == ToolKind.INSTALLED:
        names = installed_names()
        if row.implementation is None:
            wrong("implementation", "an installed tool needs implementation, the name of an entry point", "missing")
        elif row.implementation not in names:
            offered = f"installed are: {', '.join(names)}" if names else "no installed package offers one"
            wrong("implementation", f"there is no entry point named {row.implementation}; {offered}", "unknown")
    elif row.implementation is not None:
        wrong("implementation", "only an installed tool has implementation", "not_for_this_kind")
    if row.kind == ToolKind.HTTP:
        if row.url is None:
            wrong("url", "an http tool needs url", "missing")
        elif why := check_url(row.url):
            wrong("url", why, "url")
        if row.method not in _METHODS:
            wrong("method", f"method is one of {', '.join(_METHODS)}", "method")
    else:
        if row.url is not None:
            wrong("url", "only an http tool has url", "not_for_this_kind")
        if row.secret_headers:
            wrong("secret_headers", "only an http tool has secret_headers", "not_for_this_kind")
    if row.kind == ToolKind.HTTP and (why := why_no_schema(row.parameters)):
        wrong("parameters", why, "schema")
    for name, value in row.secret_headers.items():
        # Never the value in the message: it is a secret.
        if not _HEADER_NAME.fullmatch(name) or not str(value).isprintable() or not str(value).isascii():
            wrong("secret_headers", "a header has a plain name, and a value of printable ASCII", "header")
    if errors:
        raise invalid(errors[0].msg, errors)
