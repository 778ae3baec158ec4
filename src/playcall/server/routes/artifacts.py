"""The files of a run: what its steps made, and what the caller has put beside it."""

from __future__ import annotations

import asyncio
import re
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi import Request, Response
from sqlalchemy import select

from playcall.models import Artifact, Page, RunId
from playcall.models.topic import run_topic
from playcall.server.answers import matches, model_response, require_content_match
from playcall.server.auth.caller import Caller
from playcall.server.command import Command
from playcall.server.dependencies import CallerDep, DatabaseDep, DeadlineDep, KeyDep, SettingsDep
from playcall.server.engine.artifacts import enter_artifact, require_open, require_room
from playcall.server.engine.records import artifact_of
from playcall.server.files.byte_range import asked_part
from playcall.server.files.file_response import FileResponse, open_file
from playcall.server.files.incoming_files import incoming_file, new_file, require_whole
from playcall.server.log import read_topic
from playcall.server.paging import PageRequestDep
from playcall.server.problems import not_found
from playcall.server.store.tables import ArtifactRow, RunRow
from playcall.server.tools import NewFile, ToolLimits
from playcall.server.tools.unbroken import unbroken

from .engine_access import decode_place, encode_place
from .own_rows import own_row
from .routing import LISTED, api_router, problems, reading, success

__all__ = ["router", "takes_large_body"]

router = api_router("runs")

_UPLOADED = re.compile(r"/api/v1/runs/[^/]+/artifacts/.+")

_ANY_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_FILE = ("ETag", "Content-Disposition", "Last-Modified", "X-Content-Type-Options", "Accept-Ranges")
_WHOLE = success(200, "The file.", *_FILE, content=_ANY_BYTES)
_PART = success(206, "A part of it (`Range`).", *_FILE, "Content-Range", content=_ANY_BYTES)
_SAME = success(304, "The caller's copy is still true (`If-None-Match`).", "ETag", "X-Content-Type-Options")


@router.get(
    "/runs/{run_id}/artifacts",
    response_model=Page[Artifact],
    summary="The files of a run",
    responses=LISTED | problems("run_not_found"),
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
    response_class=Response,
    responses=_WHOLE
    | _PART
    | _SAME
    | problems("run_not_found", "artifact_not_found", "not_found", "range_not_satisfiable"),
    openapi_extra=reading("Range", "If-Range"),
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
    opened = await asyncio.to_thread(open_file, settings.workspaces_dir / run_id / row.name)
    if opened is None:
        raise not_found("artifact")
    file, found = opened
    try:
        # A step that still runs, or another upload, may have written it anew: then this entry does not tell of this
        # content, and the ETag is one of the file itself, so that nobody puts a part of this to a part of that.
        is_entered = found.st_mtime <= row.created_at.timestamp()
        etag = _etag(row) if is_entered else f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'
        headers = {"X-Content-Type-Options": "nosniff", "ETag": etag}
        if matches(request.headers.get("if-none-match"), etag, weak=True):
            file.close()
            return Response(None, 304, headers)
        part = asked_part(request.headers, found.st_size, etag)
        name = PurePosixPath(row.name).name
        return FileResponse(file, found, part=part, name=name, media_type=row.media_type, headers=headers)
    except BaseException:
        file.close()
        raise


@router.put(
    "/runs/{run_id}/artifacts/{name:path}",
    response_model=Artifact,
    responses=success(200, "It has replaced one.", "ETag")
    | success(201, "It is new.", "ETag", "Location", model=Artifact)
    | problems(
        "bad_request",
        "run_not_found",
        "not_found",
        "run_ended",
        "name_taken",
        "length_required",
        "version_mismatch",
        "run_full",
        "unsupported_media_type",
        "storage_full",
    ),
    openapi_extra={"requestBody": {"required": True, "content": _ANY_BYTES}, **reading("If-None-Match")},
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
    require_whole(request)
    async with database.read() as session:
        if key is None or not await key.has_answer(session):
            # Before the body, which may be large. Whoever has an answer gets it, though the run has ended by now.
            require_open(await own_row(session, RunRow, caller, run_id, "run"))
    max_bytes = ToolLimits().max_file_bytes
    new = new_file(request, settings.workspaces_dir / run_id, name, max_bytes)
    async with incoming_file(request, new, max_bytes) as file:
        command = Command(database, deadline, key.with_body(file.sha256) if key is not None else None)
        # Whoever is cancelled meanwhile: the file stays exactly if its entry does.
        return await unbroken(_put(command, request, caller, run_id, file, settings.max_run_bytes))


def takes_large_body(method: str, path: str) -> bool:
    """Whether a request is an upload, whose body has a bound of its own once it is read."""
    return method == "PUT" and _UPLOADED.fullmatch(path) is not None


async def _put(
    command: Command, request: Request, caller: Caller, run_id: str, file: NewFile, max_run_bytes: int
) -> Response:
    async with command.begin() as tx:
        run = await own_row(tx.session, RunRow, caller, run_id, "run", lock=True)
        require_open(run)
        old = await tx.session.get(ArtifactRow, (run_id, file.name))
        require_content_match(request, None if old is None else _etag(old))
        await require_room(tx.session, run, file.name, file.size_bytes, max_bytes=max_run_bytes)
        tx.if_it_fails(lambda: asyncio.to_thread(file.close))
        row = await enter_artifact(tx, run, await asyncio.to_thread(file.place), step_id=None)
        headers = {"ETag": _etag(row)}
        if old is None:
            headers["Location"] = f"/api/v1/runs/{run_id}/artifacts/{quote(file.name)}"
        answer = command.answer(artifact_of(row), status=201 if old is None else 200, headers=headers)
    await asyncio.to_thread(file.keep)
    return answer


def _etag(row: ArtifactRow) -> str:
    return f'"{row.sha256}"'
