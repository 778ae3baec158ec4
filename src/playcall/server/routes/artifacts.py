"""The files of a run: what its steps made, and what the caller has put beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

from fastapi import Request, Response
from sqlalchemy import select
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from playcall.models import Artifact, Page, RunId
from playcall.models.topic import run_topic
from playcall.server.answers import matches, model_response, require_content_match
from playcall.server.auth.caller import Caller
from playcall.server.command import Command
from playcall.server.context import context_of
from playcall.server.dependencies import CallerDep, DatabaseDep, DeadlineDep, KeyDep, SettingsDep
from playcall.server.engine.artifacts import enter_artifact, require_open
from playcall.server.engine.records import artifact_of
from playcall.server.incoming_files import incoming_file, refusal
from playcall.server.log import read_topic
from playcall.server.paging import PageRequestDep
from playcall.server.problems import ApiError, not_found, problem_response
from playcall.server.store.tables import ArtifactRow, RunRow
from playcall.server.tools import NewFile, ToolFailure, ToolLimits
from playcall.server.tools.unbroken import unbroken

from .engine_access import decode_place, encode_place, own_row
from .routing import api_router, problems

__all__ = ["router"]

router = api_router("runs")

_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/runs/{run_id}/artifacts",
    response_model=Page[Artifact],
    responses=problems(404),
    summary="The files of a run",
)
async def runs_artifacts(run_id: RunId, caller: CallerDep, database: DatabaseDep, page: PageRequestDep) -> Response:
    """In the order of their names."""
    after = decode_place(page.cursor) if page.cursor is not None else ""
    async with database.read() as session:
        await own_row(session, RunRow, caller, run_id, "run")
        statement = select(ArtifactRow).where(ArtifactRow.run_id == run_id, ArtifactRow.name > after)
        found = (await session.execute(statement.order_by(ArtifactRow.name).limit(page.limit + 1))).scalars().all()
        topic = await read_topic(session, caller.user_id, run_topic(run_id))
    rows = found[: page.limit]
    following = encode_place(rows[-1].name) if len(found) > page.limit else None
    answer = Page[Artifact](items=[artifact_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


@router.get(
    "/runs/{run_id}/artifacts/{name:path}",
    response_class=FileResponse,
    responses={
        200: {"content": _BYTES, "description": "The file."},
        206: {"content": _BYTES, "description": "A part of it (Range)."},
        **problems(400, 404, 416),
    },
    summary="Download one of a run's files",
)
async def runs_artifact(
    run_id: RunId, name: str, request: Request, caller: CallerDep, database: DatabaseDep, settings: SettingsDep
) -> Response:
    """Its ETag is the content's SHA-256. Always an attachment: a run's file is nobody's web page."""
    async with database.read() as session:
        await own_row(session, RunRow, caller, run_id, "run")
        row = await session.get(ArtifactRow, (run_id, name))
    if row is None:
        raise not_found("artifact")
    # The name is one that was checked when it was written; a file that was removed by hand is not there.
    path = settings.workspaces_dir / run_id / row.name
    written_at = await asyncio.to_thread(_written_at, path)
    if written_at is None:
        raise not_found("artifact")
    headers = {"X-Content-Type-Options": "nosniff"}
    # A step that still runs may have written it anew: then its entry does not tell of this content yet, and the ETag is
    # one of the file's time and size, so that nobody puts a part of this to a part of that.
    if written_at <= row.created_at.timestamp():
        headers["ETag"] = _etag(row)
        if matches(request.headers.get("if-none-match"), headers["ETag"], weak=True):
            return Response(None, 304, headers)
    return _Attachment(path, media_type=row.media_type, filename=path.name, headers=headers)


@router.put(
    "/runs/{run_id}/artifacts/{name:path}",
    response_model=Artifact,
    responses={
        201: {"model": Artifact, "description": "It is new."},
        **problems(400, 404, 409, 412, 413, 415, 507),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
    summary="Put a file into a run's workspace",
)
async def runs_upload_artifact(
    run_id: RunId,
    name: str,
    request: Request,
    caller: CallerDep,
    key: KeyDep,
    deadline: DeadlineDep,
    database: DatabaseDep,
    settings: SettingsDep,
) -> Response:
    """The body is the file, whatever its media type; its steps find it by its name. Until the run has ended."""
    if "content-range" in request.headers:
        # RFC 9110 section 14.5: a part would be taken for the whole.
        raise ApiError(400, "invalid_header", "a file is sent whole: Content-Range is not taken here")
    async with database.read() as session:
        if key is None or not await key.has_answer(session):
            # Before the body, which may be large. Whoever has an answer gets it, though the run has ended by now.
            require_open(await own_row(session, RunRow, caller, run_id, "run"))
    max_bytes = ToolLimits().max_file_bytes
    try:
        new = NewFile(
            settings.workspaces_dir / run_id,
            name,
            max_bytes=max_bytes,
            media_type=request.headers.get("content-type"),
        )
    except ToolFailure as failure:
        raise refusal(failure) from None
    async with incoming_file(request, new, max_bytes) as file:
        command = Command(database, deadline, key.with_body(file.sha256) if key is not None else None)
        # Whoever is cancelled meanwhile: the file stays exactly if its entry does.
        return await unbroken(_put(command, request, caller, run_id, file))


async def _put(command: Command, request: Request, caller: Caller, run_id: str, file: NewFile) -> Response:
    async with command.begin() as tx:
        run = await own_row(tx.session, RunRow, caller, run_id, "run", lock=True)
        require_open(run)
        old = await tx.session.get(ArtifactRow, (run_id, file.name))
        require_content_match(request, None if old is None else _etag(old))
        row = await enter_artifact(tx, run, await asyncio.to_thread(file.place), step_id=None)
        headers = {"ETag": _etag(row)}
        if old is None:
            headers["Location"] = f"/api/v1/runs/{run_id}/artifacts/{quote(file.name)}"
        answer = command.answer(artifact_of(row), status=201 if old is None else 200, headers=headers)
    await asyncio.to_thread(file.keep)
    return answer


def _etag(row: ArtifactRow) -> str:
    return f'"{row.sha256}"'


def _written_at(path: Path) -> float | None:
    """When its content was last changed, in seconds since the epoch; None if there is no such file."""
    try:
        return path.stat().st_mtime if path.is_file() else None
    except OSError:
        return None


class _Attachment(FileResponse):
    """Starlette's, with problems where it refuses a Range in plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: Message | None = None

        async def send_unless_refused(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_unless_refused)
        if refused is None:
            return
        request_id = context_of(Request(scope)).request_id
        if refused["status"] == 416:
            # RFC 9110 section 15.5.17: how long the file is.
            length = {k.decode(): v.decode() for k, v in refused["headers"] if k.lower() == b"content-range"}
            problem = problem_response(
                416,
                "range_not_satisfiable",
                "the file has no such part; Content-Range says how long it is",
                request_id=request_id,
                headers=length,
            )
        else:
            problem = problem_response(
                400, "invalid_header", "this Range cannot be read; try bytes=FIRST-LAST", request_id=request_id
            )
        await problem(scope, receive, send)
