"""From exceptions to problems: one place for each kind of error that leaves a route."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from playcall.models import FieldProblem

from .command import Replayed
from .context import context_of, deadline_exceeded
from .locations import MAX_PROBLEMS, clean_loc
from .log import EventTooLargeError
from .problems import ApiError, problem_response
from .store.database import NoTurnError

__all__ = ["install", "problem_of"]

logger = logging.getLogger("playcall.server")

_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    426: "upgrade_required",
}


def install(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(Replayed, _on_replay)
    app.add_exception_handler(EventTooLargeError, _on_too_large)
    app.add_exception_handler(NoTurnError, _on_no_turn)


def problem_of(error: Exception, request_id: str) -> Response:
    """The answer for whatever escaped: a refusal before any route is what it says, what the database cannot do now is
    503, everything else our own fault.

    The cause goes to the log under the request id, never to the caller.
    """
    if isinstance(error, ApiError):
        return _problem_of_ours(error, request_id)
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        logger.error("database_unavailable", exc_info=error, extra={"request_id": request_id})
        return problem_response(
            503,
            "database_unavailable",
            "the database cannot be used now; try again",
            request_id=request_id,
            headers={"Retry-After": "1"},
        )
    logger.error("internal_error", exc_info=error, extra={"request_id": request_id})
    return problem_response(
        500, "internal_error", "the server failed; its log tells why, by the request id", request_id=request_id
    )


def _problem_of_ours(error: ApiError, request_id: str) -> Response:
    return problem_response(
        error.status_code,
        error.code,
        error.detail,
        request_id=request_id,
        headers=error.headers,
        errors=error.errors,
        members=error.members,
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        return _problem_of_ours(error, context_of(request).request_id)
    plain = cast("HTTPException", error)
    return problem_response(
        plain.status_code,
        _CODES.get(plain.status_code, "http_error"),
        _detail_of(plain, request),
        request_id=context_of(request).request_id,
        headers=plain.headers,
    )


def _detail_of(error: HTTPException, request: Request) -> str:
    path: str = request.scope["path"]
    if error.status_code == 404:
        return f"there is nothing at {path}"
    if error.status_code == 405:
        return f"{path} does not take {request.method}"
    return error.detail


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    invalid = cast("RequestValidationError", error)
    problems = [_field_problem(item, cast("object", invalid.body)) for item in invalid.errors()[:MAX_PROBLEMS]]
    return problem_response(
        422,
        "invalid_request",
        f"{len(problems)} of the fields sent cannot be taken" if len(problems) > 1 else problems[0].msg,
        request_id=context_of(request).request_id,
        errors=problems,
    )


def _field_problem(item: Mapping[str, object], body: object) -> FieldProblem:
    loc = tuple(cast("Sequence[str | int]", item["loc"]))
    kind = str(item["type"])
    if loc[:1] == ("body",):
        loc = ("body", *clean_loc(loc[1:], body, missing=kind == "missing"))
    return FieldProblem(loc=list(loc), msg=str(item["msg"]), type=kind)


async def _on_replay(request: Request, error: Exception) -> Response:
    return cast("Replayed", error).response


async def _on_too_large(request: Request, error: Exception) -> Response:
    """A change whose event would not fit the log is not made: see «The log» in docs/realtime-protocol.md."""
    return problem_response(
        413,
        "resource_too_large",
        f"this is too large to be kept: {error}",
        request_id=context_of(request).request_id,
    )


async def _on_no_turn(request: Request, error: Exception) -> Response:
    """The caller's deadline was over before others had written: the same as in `Deadline.check`."""
    late = deadline_exceeded()
    return problem_response(late.status_code, late.code, late.detail, request_id=context_of(request).request_id)
