"""What all routers share: strict JSON, and the problems that any route may answer with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import from_json

from playcall import models
from playcall.models import Problem
from playcall.server.nesting import MAX_LEVELS, is_deeper, items_of
from playcall.server.problems import ApiError

__all__ = ["api_router", "parse_json", "problems"]


def _build_models() -> None:
    """Build our models now. They are built late for the sake of the client's start, and a field that FastAPI makes of
    such a model is built late too: outside the place where FastAPI silences pydantic's remarks on it.
    """
    for name in models.__all__:
        model = getattr(models, name)
        if isinstance(model, type) and issubclass(model, BaseModel):
            model.model_config["defer_build"] = False
            model.model_rebuild()


_build_models()

_MEANINGS = {
    400: "What was sent cannot be read at all.",
    401: "No valid credentials.",
    403: "The credentials may not do this.",
    404: "No such resource, or it belongs to somebody else.",
    409: "It does not go with what is stored.",
    411: "There is no body, and no word of its length.",
    412: "It has been changed meanwhile (If-Match).",
    413: "Too large.",
    415: "A media type that this route does not read.",
    416: "It has no such part (Range).",
    422: "What was sent can be read, but fields of it cannot be taken.",
    429: "Too many requests.",
    503: "Cannot be done now; try again.",
    504: "The caller's deadline was over first; nothing has been changed.",
    507: "The server has no room for it.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of a route, for its documentation. `Any` is FastAPI's own type for this."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in statuses}


def parse_json(body: bytes) -> Any:
    """Strict JSON: no NaN, no number beyond all bounds, no lone surrogate, no bottomless nesting. `Any` because a body may
    be anything.

    Raises:
        ApiError: 400 `invalid_json`, saying where.
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from None
    # Both looks cost more than the parsing, so only what could be bad is looked at.
    if body.count(b"[") + body.count(b"{") > MAX_LEVELS and is_deeper(value, MAX_LEVELS):
        raise ApiError(400, "invalid_json", f"the body is nested more than {MAX_LEVELS} levels deep")
    if _MAY_OVERFLOW.search(body) and not _is_finite(value):
        raise ApiError(400, "invalid_json", "the body has a number that is too large for a double (RFC 8259 section 6)")
    return value


_MAY_OVERFLOW = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{300}")


def _is_finite(value: Any) -> bool:
    """Whether no number in it has become infinite: the parser refuses `Infinity`, and takes `1e999`."""
    left: list[Any] = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict | list):
            left.extend(items_of(item))
        elif isinstance(item, float) and math.isinf(item):
            return False
    return True


class _StrictRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def api_router(tag: str) -> APIRouter:
    """The router of one noun. A route's function name is its operation id: `playbooks_list`."""
    return APIRouter(
        tags=[tag],
        route_class=_StrictRoute,
        responses=problems(401, 403, 422, 503, 504),
        generate_unique_id_function=lambda route: route.name,
    )
