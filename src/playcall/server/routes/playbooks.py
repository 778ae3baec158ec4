"""Playbooks: what is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from pydantic import ValidationError
from sqlalchemy import delete, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import (
    FieldProblem,
    Page,
    Playbook,
    PlaybookId,
    PlaybookPatch,
    PlaybookSpec,
    PlaybookValidation,
)
from playcall.models.event import PlaybookData, PlaybookDeletedData
from playcall.models.names import NAME_CHARACTERS
from playcall.models.topic import PLAYBOOKS
from playcall.server.answers import model_response, require_match, state_response
from playcall.server.auth.caller import Caller
from playcall.server.clock import utc_now
from playcall.server.context import Deadline, context_of, deadline_exceeded
from playcall.server.dependencies import CallerDep, CommandDep, DatabaseDep, SettingsDep
from playcall.server.documents import JSON_TYPES, YAML_TYPES, Document, DocumentError, read_document
from playcall.server.engine.prompts import ModelEndpoint
from playcall.server.engine.validate import validate_playbook
from playcall.server.ids import new_id
from playcall.server.locations import field_problems
from playcall.server.log import MAX_DATA_BYTES, NewEvent, TopicEntry, read_topic
from playcall.server.paging import OrderedPageDep, read_page
from playcall.server.problems import ApiError
from playcall.server.settings import Settings
from playcall.server.store.database import Database, Transaction
from playcall.server.store.resources import agent_of, playbook_of, tool_of
from playcall.server.store.tables import AgentRow, PlaybookLabelRow, PlaybookRow, ToolRow

from .changes import apply_changes, flush_named, sent_fields
from .own_rows import find_own_row, own_row
from .routing import CHANGED, DELETED, LISTED, MADE, STATE, api_router, problems

__all__ = ["router"]

router = api_router("playbooks")

_ATTEMPTS = 5
"""At a change of a playbook that others change at the same time."""

_SCHEMA = {"schema": {"$ref": "#/components/schemas/PlaybookSpec"}}
_BODY = {"requestBody": {"required": True, "content": {JSON_TYPES[0]: _SCHEMA, YAML_TYPES[0]: _SCHEMA}}}
"""The body is read by hand, because it may be YAML; so the document must be told of it by hand."""
_ANY = {"schema": {"description": "A playbook, or what should become one: whatever is wrong with it is the answer."}}
_ANY_BODY = {"requestBody": {"required": True, "content": {JSON_TYPES[0]: _ANY, YAML_TYPES[0]: _ANY}}}


@router.get(
    "/playbooks",
    response_model=Page[Playbook],
    summary="One's playbooks",
    responses=LISTED,
)
async def playbooks_list(
    caller: CallerDep,
    database: DatabaseDep,
    page: OrderedPageDep,
    q: Annotated[
        str | None, Query(max_length=NAME_CHARACTERS, description="A text within name or description.")
    ] = None,
    tag: Annotated[str | None, Query(max_length=64)] = None,
    agent: Annotated[
        str | None, Query(max_length=NAME_CHARACTERS, description="The name of an agent that it uses.")
    ] = None,
) -> Response:
    statement = select(PlaybookRow).where(PlaybookRow.owner_id == caller.user_id)
    if q:
        statement = statement.where(
            or_(PlaybookRow.name.icontains(q, autoescape=True), PlaybookRow.description.icontains(q, autoescape=True))
        )
    for kind, value in (("tag", tag), ("agent", agent)):
        if value is not None:
            statement = statement.where(
                exists().where(
                    PlaybookLabelRow.playbook_id == PlaybookRow.id,
                    PlaybookLabelRow.kind == kind,
                    PlaybookLabelRow.value == value,
                )
            )
    filters = {"of": PLAYBOOKS, "q": q, "tag": tag, "agent": agent}
    async with database.read() as session:
        rows, following = await read_page(session, statement, PlaybookRow, page, filters=filters)
        topic = await read_topic(session, caller.user_id, PLAYBOOKS)
    answer = Page[Playbook](items=[playbook_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


@router.post(
    "/playbooks",
    response_model=Playbook,
    status_code=201,
    openapi_extra=_BODY,
    summary="A new playbook, from JSON or YAML",
    responses=MADE | problems("name_taken", "playbook_invalid", "body_too_large", "unsupported_media_type"),
)
async def playbooks_create(
    request: Request, caller: CallerDep, command: CommandDep, database: DatabaseDep, settings: SettingsDep
) -> Response:
    judgement = await _judge(database, settings, caller, await _read(request), context_of(request).deadline)
    async with command.begin() as tx:
        spec = judgement.accepted()
        now = utc_now()
        row = PlaybookRow(
            id=new_id("pbk"), owner_id=caller.user_id, version=1, created_at=now, updated_at=now, **_columns(spec)
        )
        tx.session.add(row)
        await flush_named(tx.session, "playbook", row.name)
        _label(tx.session, row)
        playbook = _emit(tx, row, "playbook.created")
        return command.answer(playbook, status=201, version=1, headers={"Location": f"/api/v1/playbooks/{row.id}"})


@router.post(
    "/playbooks/validate",
    response_model=PlaybookValidation,
    openapi_extra=_ANY_BODY,
    summary="What is wrong with a playbook; nothing is stored",
    responses=problems("body_too_large", "unsupported_media_type"),
)
async def playbooks_validate(
    request: Request, caller: CallerDep, database: DatabaseDep, settings: SettingsDep
) -> PlaybookValidation:
    try:
        document = await read_document(await request.body(), request.headers.get("content-type"))
    except DocumentError as error:
        return _verdict([error.problem])
    judgement = await _judge(database, settings, caller, document, context_of(request).deadline)
    return _verdict(judgement.errors)


@router.get(
    "/playbooks/{playbook_id}",
    response_model=Playbook,
    summary="One playbook",
    responses=STATE | problems("playbook_not_found"),
)
async def playbooks_get(
    playbook_id: PlaybookId, request: Request, caller: CallerDep, database: DatabaseDep
) -> Response:
    async with database.read() as session:
        row = await own_row(session, PlaybookRow, caller, playbook_id, "playbook")
        topic = await read_topic(session, caller.user_id, PLAYBOOKS)
    return state_response(request, playbook_of(row), version=row.version, cursor=topic.at_head if topic else None)


@router.put(
    "/playbooks/{playbook_id}",
    response_model=Playbook,
    openapi_extra=_BODY,
    summary="Replace a playbook, from JSON or YAML",
    responses=CHANGED
    | problems("playbook_not_found", "name_taken", "version_mismatch", "playbook_invalid", "unsupported_media_type"),
)
async def playbooks_replace(
    playbook_id: PlaybookId,
    request: Request,
    caller: CallerDep,
    command: CommandDep,
    database: DatabaseDep,
    settings: SettingsDep,
) -> Response:
    judgement = await _judge(database, settings, caller, await _read(request), context_of(request).deadline)
    async with command.begin() as tx:
        row = await own_row(tx.session, PlaybookRow, caller, playbook_id, "playbook", lock=True)
        require_match(request, row.version)
        playbook = await _store(tx, row, _columns(judgement.accepted()))
        return command.answer(playbook, version=row.version)


@router.patch(
    "/playbooks/{playbook_id}",
    response_model=Playbook,
    summary="Change fields of a playbook",
    responses=CHANGED | problems("playbook_not_found", "name_taken", "version_mismatch", "playbook_invalid", "busy"),
)
async def playbooks_update(
    playbook_id: PlaybookId,
    patch: PlaybookPatch,
    request: Request,
    caller: CallerDep,
    command: CommandDep,
    database: DatabaseDep,
    settings: SettingsDep,
) -> Response:
    """What comes of it is validated as a whole."""
    sent = sent_fields(patch)
    for _ in range(_ATTEMPTS):
        judged = await _judge_patched(database, settings, caller, playbook_id, sent, context_of(request).deadline)
        try:
            async with command.begin() as tx:
                row = await own_row(tx.session, PlaybookRow, caller, playbook_id, "playbook", lock=True)
                require_match(request, row.version)
                if judged is None or judged[0] != row.version:
                    raise _ChangedMeanwhileError
                columns = _columns(judged[1].accepted())
                playbook = await _store(tx, row, {name: value for name, value in columns.items() if name in sent})
                return command.answer(playbook, version=row.version)
        except _ChangedMeanwhileError:
            pass  # judged was another playbook than would be stored
    raise ApiError(503, "busy", "this playbook is changed all the time; try again", headers={"Retry-After": "1"})


@router.delete(
    "/playbooks/{playbook_id}",
    status_code=204,
    summary="Delete a playbook",
    responses=DELETED | problems("playbook_not_found", "version_mismatch"),
)
async def playbooks_delete(
    playbook_id: PlaybookId, request: Request, caller: CallerDep, command: CommandDep
) -> Response:
    """Its runs stay, and those under way go on: a run keeps the playbook that it was started with."""
    async with command.begin() as tx:
        row = await own_row(tx.session, PlaybookRow, caller, playbook_id, "playbook", lock=True)
        require_match(request, row.version)
        await tx.session.execute(delete(PlaybookLabelRow).where(PlaybookLabelRow.playbook_id == playbook_id))
        await tx.session.delete(row)
        tx.emit(
            NewEvent(
                owner_id=caller.user_id,
                type="playbook.deleted",
                data=PlaybookDeletedData(playbook_id=playbook_id),
                topics=(TopicEntry(PLAYBOOKS),),
            )
        )
        return command.answer(None, status=204)


# --- reading and checking what was sent --------------------------------------------------------------------------------


class _ChangedMeanwhileError(Exception):
    """Somebody else changed the playbook between judging and storing it."""


@dataclass(frozen=True, slots=True)
class _Judgement:
    """`spec` is None where the document is none; `errors` have their places."""

    spec: PlaybookSpec | None
    errors: list[FieldProblem]

    def accepted(self) -> PlaybookSpec:
        """Ask inside the transaction: a call that was answered before gets that answer, whatever is wrong now.

        Raises:
            ApiError: 422 `playbook_invalid`.
        """
        if self.spec is None or self.errors:
            raise _refused(self.errors)
        return self.spec


async def _read(request: Request) -> Document:
    try:
        return await read_document(await request.body(), request.headers.get("content-type"))
    except DocumentError as error:
        raise _refused([error.problem]) from None


_JUDGES: Final = ThreadPoolExecutor(2, "playcall-judge")
"""Of their own: a document may take seconds, and many of them at once would take all the threads that the rest waits for."""


async def _judge(
    database: Database, settings: Settings, caller: Caller, document: Document, deadline: Deadline
) -> _Judgement:
    """Beside the agents and tools that are stored now.

    Before the transaction and in a thread: it takes a while, in which neither writers nor this process should wait.

    Raises:
        ApiError: 504 `deadline_exceeded`.
    """
    async with database.read() as session:
        agents = (await session.execute(select(AgentRow).where(AgentRow.owner_id == caller.user_id))).scalars().all()
        tools = (
            (
                await session.execute(
                    select(ToolRow)
                    .where(or_(ToolRow.owner_id == caller.user_id, ToolRow.owner_id.is_(None)))
                    # A tool of one's own comes last, and so wins over a built-in one that got its name later.
                    .order_by(ToolRow.owner_id.is_not(None))
                )
            )
            .scalars()
            .all()
        )
    endpoint = ModelEndpoint.of(settings)
    judging = asyncio.get_running_loop().run_in_executor(_JUDGES, _judge_beside, document, agents, tools, endpoint)
    try:
        async with asyncio.timeout(deadline.remaining_seconds()):
            return await judging
    except TimeoutError:
        raise deadline_exceeded() from None


def _judge_beside(
    document: Document, agents: Sequence[AgentRow], tools: Sequence[ToolRow], endpoint: ModelEndpoint
) -> _Judgement:
    try:
        spec = PlaybookSpec.model_validate(document.value)
    except ValidationError as error:
        return _Judgement(None, document.place(field_problems(error, document.value)))
    errors = validate_playbook(
        spec,
        agents={row.name: agent_of(row) for row in agents},
        tools={row.name: tool_of(row) for row in tools},
        why_no_model=endpoint.refusal,
    )
    return _Judgement(spec, document.place(errors))


async def _judge_patched(
    database: Database,
    settings: Settings,
    caller: Caller,
    playbook_id: str,
    sent: dict[str, Any],
    deadline: Deadline,
) -> tuple[int, _Judgement] | None:
    """The version that the change was tried on, and what comes of it; None if there is no such playbook (now)."""
    async with database.read() as session:
        row = await find_own_row(session, PlaybookRow, caller, playbook_id)
    if row is None:
        return None
    merged = {name: getattr(row, name) for name in PlaybookSpec.model_fields} | sent
    return row.version, await _judge(database, settings, caller, Document(merged), deadline)


def _refused(errors: Sequence[FieldProblem]) -> ApiError:
    first = errors[0]
    where = f" (line {first.line}, column {first.column})" if first.line else ""
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return ApiError(422, "playbook_invalid", f"{_path(first.loc)}{first.msg}{where}{more}", errors=_in_body(errors))


def _verdict(errors: Sequence[FieldProblem]) -> PlaybookValidation:
    return PlaybookValidation(valid=not errors, errors=_in_body(errors))


def _in_body(errors: Sequence[FieldProblem]) -> list[FieldProblem]:
    return [error.model_copy(update={"loc": ["body", *error.loc]}) for error in errors]


def _path(loc: Sequence[str | int]) -> str:
    """`steps[0].agent: `, or nothing for the document itself."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return f"{text.lstrip('.')}: " if text else ""


# --- storing -----------------------------------------------------------------------------------------------------------


def _columns(spec: PlaybookSpec) -> dict[str, Any]:
    """What the author wrote, defaults left out. `Any` because each column has a type of its own."""
    written = spec.model_dump(mode="json", exclude_unset=True)
    return {
        "name": spec.name,
        "description": spec.description,
        "tags": list(dict.fromkeys(spec.tags)),
        "inputs": written.get("inputs", {}),
        "agents": list(dict.fromkeys(spec.agents)),
        "steps": written["steps"],
    }


async def _store(tx: Transaction, row: PlaybookRow, changes: dict[str, Any]) -> Playbook:
    if not apply_changes(row, changes):
        return playbook_of(row)
    await flush_named(tx.session, "playbook", row.name)
    await tx.session.execute(delete(PlaybookLabelRow).where(PlaybookLabelRow.playbook_id == row.id))
    _label(tx.session, row)
    return _emit(tx, row, "playbook.changed")


def _label(session: AsyncSession, row: PlaybookRow) -> None:
    session.add_all(PlaybookLabelRow(playbook_id=row.id, kind="tag", value=tag) for tag in row.tags)
    session.add_all(PlaybookLabelRow(playbook_id=row.id, kind="agent", value=name) for name in row.agents)


def _emit(tx: Transaction, row: PlaybookRow, type: str) -> Playbook:
    playbook = playbook_of(row)
    data = PlaybookData(playbook=playbook)
    if len(data.model_dump_json().encode()) > MAX_DATA_BYTES:
        data = PlaybookData(playbook=playbook.model_copy(update={"steps": []}), steps_left_out=True)
    tx.emit(NewEvent(owner_id=row.owner_id, type=type, data=data, topics=(TopicEntry(PLAYBOOKS),)))
    return playbook
