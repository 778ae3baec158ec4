"""Every answer that a server of the tests gives, held against its own OpenAPI document.

`watching` makes all servers of this process look at what they answer: a test fails in which an operation answered a
status, a code, a header, a media type or a body that the document does not have. What to do then is in the message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playcall.server.running import serving

PROBLEM = "application/problem+json"
OWN_HEADERS = {
    *("connection", "content-type", "content-length", "date"),
    *("vary", "access-control-allow-origin", "access-control-expose-headers"),
}
"""HTTP's own and those of CORS, which no document lists."""
UNLISTED = {"/openapi.json", "/metrics"}
"""Paths that are no operations of the contract."""
WITHOUT_OPERATION = {(404, "not_found"), (405, "method_not_allowed")}
"""Of a path that is none; and what the outermost layer says before anybody knows the path."""
EVERYWHERE = {(400, "invalid_header"), (413, "body_too_large"), (500, "internal_error"), (422, "invalid_request")}


@dataclass
class Contract:
    """The document, as an answer is looked up in it."""

    document: dict[str, Any]
    _validators: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = [
            (template.count("{"), self._pattern(template), method.upper(), operation)
            for template, path in self.document["paths"].items()
            for method, operation in path.items()
        ]
        self._operations = sorted(found, key=lambda each: each[0])

    @staticmethod
    def _pattern(template: str) -> re.Pattern[str]:
        parts = re.split(r"(\{[a-z_]+\})", template)
        return re.compile(
            "".join(
                ".+" if part == "{name}" else "[^/]+" if part.startswith("{") else re.escape(part) for part in parts
            ),
            re.DOTALL,
        )

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What a path names literally wins."""
        for _, pattern, its_method, operation in self._operations:
            if its_method == method and pattern.fullmatch(path):
                return operation
        return None

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            target: Any = self.document
            for part in value["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            value = target
        return value

    def faults(self, method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> list[str]:
        """What the document does not have of an answer."""
        media_type = headers.get("content-type", "").partition(";")[0]
        problem = json.loads(body) if media_type == PROBLEM else {}
        code = problem.get("code")
        operation = self.operation(method, path)
        if operation is None:
            known = path in UNLISTED or method == "OPTIONS" or (status, code) in WITHOUT_OPERATION | EVERYWHERE
            return [] if known else [f"{method} {path} answered {status} {code}, and is not in the document"]
        name = operation["operationId"]
        if str(status) not in operation["responses"]:
            return [f"{name} answered {status} {code or ''}, which is not in its document"]
        response = self.resolve(operation["responses"][str(status)])
        faults = [
            f"{name} answered {status} with the header {header}, which is not in its document"
            for header in headers
            if header not in OWN_HEADERS | {listed.lower() for listed in response.get("headers", {})}
        ]
        content = response.get("content", {})
        if not body or "*/*" in content:
            return faults
        if media_type not in content:
            return [*faults, f"{name} answered {status} as {media_type or 'nothing'}, which is not in its document"]
        pointer = f"{name} {status} {media_type}"
        if pointer not in self._validators:
            schema = {**content[media_type]["schema"], "components": self.document["components"]}
            self._validators[pointer] = jsonschema_rs.Draft202012Validator(schema)
        for error in self._validators[pointer].iter_errors(json.loads(body)):
            where = "/".join(map(str, error.instance_path))
            faults.append(f"{name} answered {status} {code or ''}: {where or 'the body'}: {error.message[:300]}")
        return faults


@dataclass
class Findings:
    """`seen` holds operation, status and code of every answer."""

    faults: list[str] = field(default_factory=list)
    seen: set[tuple[str, int, str | None]] = field(default_factory=set)

    def take(self) -> list[str]:
        faults, self.faults = list(dict.fromkeys(self.faults)), []
        return faults


class Watch:
    """ASGI, outside everything: it sees what goes out, and changes nothing."""

    def __init__(self, app: ASGIApp, *, contract: Contract, findings: Findings) -> None:
        self._app = app
        self._contract = contract
        self._findings = findings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def watched(message: Message) -> None:
            nonlocal start
            if message["type"].endswith("response.start"):
                start = message
            elif message["type"].endswith("response.body"):
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    self._look(scope, start, bytes(body))
            await send(message)

        await self._app(scope, receive, watched)

    def _look(self, scope: Scope, start: Message, body: bytes) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start.get("headers", ())}
        method = scope.get("method", "GET")
        try:
            self._findings.faults += self._contract.faults(method, scope["path"], start["status"], headers, body)
            operation = self._contract.operation(method, scope["path"])
            if operation is not None:
                code = json.loads(body).get("code") if headers.get("content-type") == PROBLEM else None
                self._findings.seen.add((operation["operationId"], start["status"], code))
        except Exception as error:  # it must not become the server's
            self._findings.faults.append(f"{method} {scope['path']}: {error!r}")


@contextmanager
def watching(findings: Findings) -> Iterator[None]:
    """All servers that are made in this process meanwhile."""
    create = serving.create_app
    contract: Contract | None = None

    def create_watched(*given: Any, **options: Any) -> FastAPI:
        nonlocal contract
        app = create(*given, **options)
        contract = contract or Contract(app.openapi())  # the same for all of them, and slow to make
        app.add_middleware(partial(Watch, contract=contract, findings=findings))
        return app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "create_app", create_watched)
        yield


def require_none(findings: Findings) -> None:
    faults = findings.take()
    assert not faults, (
        "an answer is not in the OpenAPI document. Either the answer is wrong, or its route has to say it: "
        "`responses=… | problems(…)` there, with the code in server/problem_kinds.py, `may_answer` at a dependency, "
        "and `make openapi`.\n" + "\n".join(faults)
    )
