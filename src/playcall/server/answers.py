"""Answers about resources: versions as ETags, and the cursor that goes on where the state was read."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from playcall.models import Cursor

from .problems import ApiError

__all__ = [
    "CURSOR_HEADER",
    "etag_of",
    "matches",
    "model_response",
    "require_content_match",
    "require_match",
    "state_response",
]

CURSOR_HEADER = "X-Event-Cursor"


def etag_of(version: int) -> str:
    """Strong: the version counts every change."""
    return f'"{version}"'


def model_response(
    model: BaseModel | None,
    *,
    status: int = 200,
    version: int | None = None,
    cursor: Cursor | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A model as JSON; None is an empty body."""
    sent = dict(headers or {})
    if version is not None:
        sent["ETag"] = etag_of(version)
    if cursor is not None:
        sent[CURSOR_HEADER] = str(cursor)
    if model is None:
        return Response(None, status, sent)
    return Response(model.model_dump_json().encode(), status, sent, "application/json")


def state_response(
    request: Request, model: BaseModel, *, version: int | None = None, cursor: Cursor | None = None
) -> Response:
    """The answer to a GET. State and cursor come from one snapshot; with the caller's version still true, it is 304.

    The cursor is on the 304 too: the caller's copy is right up to there (RFC 9110 section 15.4.5 lets it through).
    """
    if version is not None and matches(request.headers.get("if-none-match"), etag_of(version), weak=True):
        return model_response(None, status=304, version=version, cursor=cursor)
    return model_response(model, version=version, cursor=cursor)


def require_match(request: Request, version: int) -> None:
    """`If-Match` against what is stored, inside the transaction that is about to change it.

    Raises:
        ApiError: 412 `version_mismatch`, with the stored version: somebody changed it meanwhile.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and not matches(wanted, etag_of(version), weak=False):
        raise ApiError(
            412,
            "version_mismatch",
            f"it has been changed meanwhile: version {version} is stored; read it again, then decide",
            headers={"ETag": etag_of(version)},
            current_version=version,
        )


def require_content_match(request: Request, etag: str | None) -> None:
    """`If-Match` and `If-None-Match` of a change whose ETag is its content's; `etag` is None where nothing is stored.

    Raises:
        ApiError: 412 `version_mismatch`: something else is stored than the caller thinks.
    """
    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    if (wanted is not None and not matches(wanted, etag, weak=False)) or matches(unwanted, etag, weak=True):
        raise ApiError(
            412,
            "version_mismatch",
            "something else is stored than the request expects; read it again, then decide",
            headers=None if etag is None else {"ETag": etag},
        )


def matches(header: str | None, etag: str | None, *, weak: bool) -> bool:
    """RFC 9110 section 13.1: If-None-Match compares weakly, If-Match strongly; `*` is anything that there is."""
    if header is None or etag is None:
        return False
    if header.strip() == "*":
        return True
    tags = (tag.strip() for tag in header.split(","))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)
