"""The OpenAPI document: FastAPI's, with all that an operation may be sent and may answer.

Nothing here knows a route. What an operation may answer is what its route says (`routing.problems`), what its
dependencies say (`promises`), and what every request can meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from playcall.models import PlaybookSpec, Problem

from .openapi_components import (
    HEADERS,
    ORDINARY_HEADERS,
    PARAMETERS,
    PROBLEM_HEADERS,
    READ_WITH_CODE,
    SECURITY_SCHEMES,
    TAGS,
)
from .problem_kinds import ProblemKind, kind_of
from .problems import MEDIA_TYPE
from .routes.routing import PROBLEMS, PROMISES, READS

__all__ = ["describe"]

_EVERYWHERE: Final = ("invalid_header", "body_too_large", "internal_error")
"""What comes of the layer around all routes."""
_READ_EVERYWHERE: Final = ("X-Request-ID", "X-Request-Timeout-Ms")
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_DESCRIPTION: Final = (
    "Every error is a problem (RFC 9457) with a stable `code`; each response lists the codes that it may have. A path that "
    "is none is answered 404 `not_found`, a method that a path does not take 405 `method_not_allowed`."
)


def describe(app: FastAPI) -> None:
    """Make `app.openapi` give the document."""
    # FastAPI documents this assignment as the way to change the document.
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    """`Any`, here and below: it is a JSON document of another specification."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=_DESCRIPTION,
            routes=app.routes,
            servers=[{"url": "/", "description": "The server that gave this document."}],
            tags=[dict(tag) for tag in TAGS],
        )
        components = cast("dict[str, Any]", document["components"])
        components["headers"], components["parameters"] = HEADERS, PARAMETERS
        components["securitySchemes"] = SECURITY_SCHEMES
        schemas = cast("dict[str, Any]", components["schemas"])
        for model in (PlaybookSpec, Problem):
            schema = model.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
            for name, inner in {**schema.pop("$defs", {}), model.__name__: schema}.items():
                schemas.setdefault(name, inner)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        operations = [operation for path in document["paths"].values() for operation in path.values()]
        for operation in operations:
            _complete(operation)
        components["responses"] = _share(operations)
        app.openapi_schema = document
    return app.openapi_schema


def _complete(operation: dict[str, Any]) -> None:
    promised = cast("dict[str, list[str]]", operation.pop(PROMISES, {"codes": [], "reads": [], "sends": []}))
    responses = cast("dict[str, Any]", operation["responses"])
    codes = [*_EVERYWHERE, *promised["codes"], *_of_what_is_sent(operation)]
    for response in responses.values():
        codes += response.pop(PROBLEMS, ())
    reads = [*_READ_EVERYWHERE, *promised["reads"], *operation.pop(READS, ())]
    reads += [READ_WITH_CODE[code] for code in codes if code in READ_WITH_CODE]
    if "304" in responses:
        reads.append("If-None-Match")
    operation.setdefault("parameters", []).extend(
        {"$ref": f"#/components/parameters/{name}"} for name in dict.fromkeys(reads)
    )
    if "422" in responses and MEDIA_TYPE not in responses["422"].get("content", {}):
        del responses["422"]  # FastAPI's own
    _add_problems(responses, dict.fromkeys(codes))
    for status, response in responses.items():
        sends = [*ORDINARY_HEADERS, *(promised["sends"] if status.startswith("2") else ())]
        response.setdefault("headers", {}).update(_references(sends))
    operation["responses"] = dict(sorted(responses.items()))


def _of_what_is_sent(operation: dict[str, Any]) -> list[str]:
    """What comes of reading parameters and body, wherever there are any."""
    content = cast("dict[str, Any]", operation.get("requestBody", {}).get("content", {}))
    codes = ["invalid_json"] if _JSON in content else []
    codes += ["bad_request"] if _FORM in content else []
    if codes or operation.get("parameters"):
        codes.append("invalid_request")
    return codes


def _add_problems(responses: dict[str, Any], codes: Iterable[str]) -> None:
    by_status: dict[int, dict[str, ProblemKind]] = {}
    for code in codes:
        kind = kind_of(code)
        by_status.setdefault(kind.status, {})[code] = kind
    for status, kinds in by_status.items():
        response = responses.setdefault(str(status), {})
        meanings = "\n".join(f"- `{kind.code}`: {kind.meaning}" for kind in kinds.values())
        before = response.get("description")
        response["description"] = f"{before}\n\n{meanings}" if before else f"{HTTPStatus(status).phrase}.\n\n{meanings}"
        response.setdefault("content", {})[MEDIA_TYPE] = {"schema": _problem_schema(status, kinds.values())}
        sends = [name for code in kinds for name in PROBLEM_HEADERS.get(code, ())]
        response.setdefault("headers", {}).update(_references(sends))


def _problem_schema(status: int, kinds: Iterable[ProblemKind]) -> dict[str, Any]:
    known = {"status": {"const": status}, "code": {"enum": sorted({kind.code for kind in kinds})}}
    return {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": known, "required": ["code", "request_id"]},
        ]
    }


def _share(operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Each problem answer stands once, by its status and codes: the document would be twice as long."""
    shared: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            if list(response.get("content", ())) == [MEDIA_TYPE]:
                schema = response["content"][MEDIA_TYPE]["schema"]
                codes: list[str] = schema["allOf"][1]["properties"]["code"]["enum"]
                name = "-".join([status, *codes])
                shared[name] = response
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(shared.items()))


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
