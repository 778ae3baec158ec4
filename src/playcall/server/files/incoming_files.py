"""A request's body on its way into a workspace: never whole in memory, off the loop, and gone if anything fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from playcall.models import FieldProblem
from playcall.server.context import context_of, deadline_exceeded
from playcall.server.problems import ApiError, invalid
from playcall.server.tools import NewFile, ToolFailure
from playcall.server.tools.unbroken import unbroken

__all__ = ["incoming_file", "new_file", "require_whole"]

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NAME_TAKEN = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST})
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def require_whole(request: Request) -> None:
    """Whether the body is one, and says that it is all of the file.

    Raises:
        ApiError: 400 `invalid_header`; 411 `length_required`: a request without a body would empty a file; 415
            `unsupported_media_type`: it is packed, and would be given back without a word of that.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        # RFC 9110 section 8.4: the coding is part of what the body is.
        raise ApiError(
            415,
            "unsupported_media_type",
            "a file is sent as it is, without a Content-Encoding; a packed file is one whose Content-Type says so",
        )
    if "content-range" in request.headers:
        # RFC 9110 section 14.5: a part would be taken for the whole.
        raise ApiError(400, "invalid_header", "a file is sent whole: Content-Range is not taken here")
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        raise ApiError(411, "length_required", "there is no body; an empty file has Content-Length: 0")


def new_file(request: Request, workspace: Path, name: str, max_bytes: int) -> NewFile:
    """The file that a request is about, of which nothing is there yet.

    Raises:
        ApiError: 415: its media type is none, or a form's; 422: no file can have this name.
    """
    media_type = request.headers.get("content-type")
    if media_type is not None and media_type.partition(";")[0].strip().lower() in _FORMS:
        raise ApiError(
            415, "unsupported_media_type", "the body is the file itself, not a form; send its own Content-Type, or none"
        )
    try:
        file = NewFile(workspace, name, max_bytes=max_bytes, media_type=media_type)
        if file.name != name:
            raise ToolFailure("path_refused", f"{name!r} is refused: the same file is called {file.name!r}")
    except ToolFailure as failure:
        raise _refusal(failure) from None
    return file


@asynccontextmanager
async def incoming_file(request: Request, file: NewFile, max_bytes: int) -> AsyncGenerator[NewFile]:
    """The file with the request's whole body in it, finished and not yet placed; it is closed on leaving.

    Raises:
        ApiError: 413; 422: the file's place is refused; 409 `name_taken`; 507 `storage_full`; 504: the deadline came
            before the body's end. 400 for the log: the client has left.
    """
    context = context_of(request)
    context.max_body_bytes = max_bytes
    try:
        try:
            await unbroken(asyncio.to_thread(file.open))
            try:
                async with asyncio.timeout(context.deadline.remaining_seconds()):
                    async with contextlib.aclosing(request.stream()) as pieces:
                        async for piece in pieces:
                            await unbroken(asyncio.to_thread(file.write, piece))
                    await unbroken(asyncio.to_thread(file.finish))
            except TimeoutError:
                raise deadline_exceeded() from None
            except ClientDisconnect:
                raise ApiError(400, "bad_request", "the body broke off") from None
            yield file
        finally:
            await unbroken(asyncio.to_thread(file.close))
    except ToolFailure as failure:
        raise _refusal(failure) from None
    except OSError as error:
        known = _known(error)
        if known is None:
            raise
        raise known from error


def _refusal(failure: ToolFailure) -> ApiError:
    """What a workspace refuses, as an answer."""
    if failure.code == "too_large":
        return ApiError(413, "body_too_large", failure.message)
    if failure.code == "parameters_invalid":
        return ApiError(415, "unsupported_media_type", failure.message)
    return invalid(failure.message, [FieldProblem(loc=["path", "name"], msg=failure.message, type=failure.code)])


def _known(error: OSError) -> ApiError | None:
    """What a caller can understand; the rest is the server's own trouble."""
    if error.errno in _NO_ROOM:
        return ApiError(507, "storage_full", "the server's disk has no room for it; nothing has been kept")
    if error.errno in _NAME_TAKEN:
        return ApiError(409, "name_taken", "a file stands where this one needs a folder, or a folder where it would be")
    if error.errno == errno.ENAMETOOLONG:
        message = "a part of the name is longer than the server's disk allows"
        return invalid(message, [FieldProblem(loc=["path", "name"], msg=message, type="path_refused")])
    return None
