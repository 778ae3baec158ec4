"""Every error answer is a problem (RFC 9457, `application/problem+json`) with a stable `code` for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from playcall.models import FieldProblem

__all__ = ["MEDIA_TYPE", "ApiError", "invalid", "not_found", "problem_response", "unauthenticated"]

MEDIA_TYPE = "application/problem+json"


class ApiError(HTTPException):
    """An error that the caller is told of. What it says goes to the caller as it is: no secret, no internals.

    A subclass of Starlette's, because FastAPI lets those through from wherever they are raised.

    Args:
        code: Stable, for programs; the contract lists them.
        detail: A sentence for people: what happened, to what, and what to try.
        members: Further members of the problem (RFC 9457 section 3.2), such as `current_version`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldProblem] | None = None,
        **members: object,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = errors
        self.members = members


def not_found(noun: str) -> ApiError:
    """404 for an id that does not exist or belongs to somebody else: the two are told apart by nobody."""
    return ApiError(404, f"{noun}_not_found", f"no {noun.replace('_', ' ')} has this id")


def invalid(detail: str, errors: Sequence[FieldProblem]) -> ApiError:
    """422 with the fields that are wrong."""
    return ApiError(422, "invalid_request", detail, errors=errors)


def unauthenticated(detail: str, *, token_error: str | None = None) -> ApiError:
    """401; `token_error` is RFC 6750's word for what is wrong with a token that was sent."""
    challenge = 'Bearer realm="playcall"' + (f', error="{token_error}"' if token_error else "")
    return ApiError(401, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def problem_response(
    status: int,
    code: str,
    detail: str | None,
    *,
    request_id: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldProblem] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "request_id": request_id,
    }
    if detail:
        body["detail"] = detail
    if errors is not None:
        body["errors"] = [error.model_dump(exclude_none=True) for error in errors]
    body.update(members or {})
    return Response(json.dumps(body), status, dict(headers or {}), MEDIA_TYPE)
