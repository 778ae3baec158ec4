"""The OpenAPI document: FastAPI's, put right where it does not know what we answer."""

from __future__ import annotations

from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from playcall.models import PlaybookSpec

from .problems import MEDIA_TYPE

__all__ = ["describe"]


def describe(app: FastAPI) -> None:
    """Make `app.openapi` give the document."""
    # FastAPI documents this assignment as the way to change the document.
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    """`Any`: it is a JSON document of another specification."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = cast("dict[str, Any]", document["components"]["schemas"])
        spec = PlaybookSpec.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, schema in {**spec.pop("$defs", {}), "PlaybookSpec": spec}.items():
            schemas.setdefault(name, schema)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for path in document["paths"].values():
            for operation in path.values():
                _problems_as_problems(operation["responses"])
        app.openapi_schema = document
    return app.openapi_schema


def _problems_as_problems(responses: dict[str, Any]) -> None:
    """Errors have a media type of their own, which FastAPI cannot be told route by route."""
    for status, response in responses.items():
        content = cast("dict[str, Any]", response.get("content", {}))
        schema = content.get("application/json", {}).get("schema", {})
        if int(status) >= 400 and schema.get("$ref", "").endswith("/Problem"):
            response["content"] = {MEDIA_TYPE: content["application/json"]}
