"""What all routers share: strict JSON, and the problems that any route may answer with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import from_json
from starlette.datastructures import FormData

from playcall import models
from playcall.server.dependencies import SAFE_METHODS
from playcall.server.nesting import MAX_LEVELS, is_deeper, items_of
from playcall.server.nul import has_nul, nul_refused, require_no_nul_in_json, require_no_nul_in_url
from playcall.server.problem_kinds import kind_of
from playcall.server.problems import ApiError
from playcall.server.promises import promises_of

__all__ = [
    "CHANGED",
    "DELETED",
    "LISTED",
    "MADE",
    "PROBLEMS",
    "PROMISES",
    "READS",
    "STATE",
    "api_router",
    "parse_json",
    "problems",
    "reading",
    "success",
]

_LONG_NOUNS: Final = ("api_keys",)
"""Nouns of more than one word."""


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

_PLACES: Final = "#/components/headers/"

PROBLEMS: Final = "x-problems"
"""Where a response of the document holds the codes of its problems, until the document is put right."""
PROMISES: Final = "x-promises"
"""Where an operation holds what its dependencies read and may answer with; until then, too."""
READS: Final = "x-reads"
"""Where an operation holds what headers it reads itself; until then, too."""


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with by itself: the rest is its dependencies' (`promises.may_answer`).

    `Any` is FastAPI's own type for this.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for kind, code in ((kind_of(code), code) for code in codes):
        found.setdefault(kind.status, {PROBLEMS: []})[PROBLEMS].append(code)
    return found


def success(status: int, description: str, *headers: str, **more: Any) -> dict[int | str, dict[str, Any]]:
    """An answer that is no problem, with its headers; their components have the same names. `Any` as above.

    `more` is FastAPI's: `model`, or `content`.
    """
    sent = {name: {"$ref": _PLACES + name} for name in headers}
    return {status: {"description": description, "headers": sent, **more}}


def reading(*headers: str) -> dict[str, Any]:
    """As `openapi_extra`: headers of the request that a route looks at by itself. `Any` as above."""
    return {READS: list(headers)}


LISTED: Final = success(200, "A page of them; the first one with the collection's cursor.", "X-Event-Cursor")
STATE: Final = success(200, "As it stands.", "ETag", "X-Event-Cursor") | success(
    304, "The caller's version is still true (`If-None-Match`).", "ETag", "X-Event-Cursor"
)
MADE: Final = success(201, "It has been made.", "ETag", "Location")
CHANGED: Final = success(200, "As it stands now.", "ETag")
DELETED: Final = success(204, "It is gone.")


def parse_json(body: bytes) -> Any:
    """Strict JSON: no NaN, no number beyond all bounds, no lone surrogate, no bottomless nesting. `Any` because a body may
    be anything.

    Raises:
        ApiError: 400 `invalid_json`, saying where; 422: a text in it has NUL.
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
    require_no_nul_in_json(body, value)
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

    async def _get_form(self, **bounds: Any) -> FormData:
        """What `form` awaits; it is no part of Starlette's surface, so a test sends a form with NUL. `Any`: its bounds are
        its own affair."""
        form = await super()._get_form(**bounds)
        places = [("body", name) for name, value in form.multi_items() if has_nul(name) or has_nul(value)]
        if places:
            raise nul_refused(places)
        return form


class _StrictRoute(APIRoute):
    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """`Any`: FastAPI's own types of these."""
        super().__init__(path, endpoint, **options)
        unsafe = not (self.methods or set()) <= SAFE_METHODS
        codes: dict[str, None] = {}
        reads: dict[str, None] = {}
        sends: dict[str, None] = {}
        for promise in promises_of(self.dependant):
            codes.update(dict.fromkeys(promise.codes + (promise.unsafe_codes if unsafe else ())))
            reads.update(dict.fromkeys(promise.reads))
            sends.update(dict.fromkeys(promise.sends))
        self.openapi_extra = {
            **(self.openapi_extra or {}),
            PROMISES: {"codes": list(codes), "reads": list(reads), "sends": list(sends)},
        }

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            require_no_nul_in_url(request)
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def api_router(tag: str) -> APIRouter:
    """The router of one noun. A route's function is called NOUN_VERB, which makes its operation id NOUN.VERB: that is
    also how a client calls it (`playbooks.list`).
    """
    return APIRouter(tags=[tag], route_class=_StrictRoute, generate_unique_id_function=_operation_id)


def _operation_id(route: APIRoute) -> str:
    noun = next((noun for noun in _LONG_NOUNS if route.name.startswith(f"{noun}_")), route.name.partition("_")[0])
    return f"{noun}.{route.name.removeprefix(f'{noun}_')}"
