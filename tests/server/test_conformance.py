"""The look that all tests of the server take at its answers: it sees them, and it sees what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.conformance import PROBLEM, Contract, Findings
from tests.server.conftest import Api

RESPONSE = {
    "headers": {"ETag": {}},
    "content": {"application/json": {"schema": {"type": "object", "required": ["id"]}}},
}
GONE = {
    "headers": {},
    "content": {PROBLEM: {"schema": {"properties": {"code": {"enum": ["thing_not_found"]}}}}},
}
DOCUMENT = {
    "paths": {
        "/things/{id}": {"get": {"operationId": "things.get", "responses": {"200": RESPONSE, "404": GONE}}},
        "/things/special": {"get": {"operationId": "things.special", "responses": {"204": {"headers": {}}}}},
    },
    "components": {},
}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("path", "status", "headers", "body", "faults"),
    [
        ("/things/1", 200, {**JSON, "etag": '"1"', "date": "-"}, {"id": 1}, []),
        ("/things/1", 404, {"content-type": PROBLEM}, {"code": "thing_not_found"}, []),
        ("/things/special", 204, {}, None, []),
        ("/nothing", 404, {"content-type": PROBLEM}, {"code": "not_found"}, []),
        ("/things/1", 409, {"content-type": PROBLEM}, {"code": "busy"}, ["things.get answered 409 busy"]),
        ("/things/1", 404, {"content-type": PROBLEM}, {"code": "other"}, ["things.get answered 404 other: code"]),
        ("/things/1", 200, {**JSON, "x-new": "1"}, {"id": 1}, ["things.get answered 200 with the header x-new"]),
        ("/things/1", 200, {"content-type": "text/html"}, {"id": 1}, ["things.get answered 200 as text/html"]),
        ("/things/1", 200, JSON, {}, ["things.get answered 200 : the body"]),
        ("/nothing", 200, JSON, {}, ["GET /nothing answered 200"]),
    ],
)
def test_what_the_document_does_not_have_is_a_fault(
    path: str, status: int, headers: dict[str, str], body: Any, faults: list[str]
) -> None:
    sent = b"" if body is None else json.dumps(body).encode()
    found = Contract(DOCUMENT).faults("GET", path, status, headers, sent)
    assert len(found) == len(faults), found
    assert all(fault.startswith(start) for fault, start in zip(found, faults, strict=True)), found


async def test_the_answers_of_the_server_are_looked_at(api: Api, findings: Findings) -> None:
    findings.seen.clear()
    await api("GET", "/playbooks/none")
    await api("GET", "/health")
    assert findings.seen == {("playbooks.get", 404, "playbook_not_found"), ("health.live", 200, None)}
