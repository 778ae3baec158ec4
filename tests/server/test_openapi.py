"""The contract as OpenAPI: complete, readable, and a change of it is seen."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis

from playcall.server import problem_kinds
from playcall.server.openapi import document_text

COMMITTED = Path(__file__).with_name("openapi.json")
DOCUMENT: Any = json.loads(document_text())
PUBLIC = {"health.live", "health.ready", "auth.token"}
OPTIONAL = {"events.socket"}
"""Credentials may come later, in the first frame."""
PROBLEM = "application/problem+json"
PAGE = Path(__file__).parents[2] / "docs" / "http-contract.md"


def operations() -> Iterator[tuple[str, Any]]:
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            yield operation["operationId"], operation


def resolve(value: Any) -> Any:
    while "$ref" in value:
        target = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def codes(response: Any) -> list[str]:
    return list(resolve(response)["content"][PROBLEM]["schema"]["allOf"][1]["properties"]["code"]["enum"])


def references(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_contract_is_the_committed_one() -> None:
    """`make openapi` writes the copy anew; read what changed before committing it."""
    assert document_text() == COMMITTED.read_text()


def test_the_document_is_openapi() -> None:
    document = copy.deepcopy(DOCUMENT)
    # Relative to the server, as FastAPI has it and tools read it; the specification's own schema wants a whole URL.
    document["components"]["securitySchemes"]["Token"]["flows"]["password"]["tokenUrl"] = "https://x.example/token"
    schemathesis.openapi.from_dict(document).validate()


def test_every_reference_leads_somewhere() -> None:
    assert all(resolve(reference) for reference in references(DOCUMENT))


def test_every_operation_is_named_as_a_client_calls_it_and_says_what_it_is() -> None:
    names = [name for name, _ in operations()]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for name, operation in operations():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name), name
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        assert all(resolve(response)["description"] for response in operation["responses"].values()), name


def test_every_error_is_a_problem_with_the_codes_that_it_may_have() -> None:
    for name, operation in operations():
        for status, response in operation["responses"].items():
            if status >= "4":
                content = set(resolve(response)["content"])
                assert content == {PROBLEM} or (name, status) == ("health.ready", "503"), (name, status, content)
                assert codes(response), (name, status)


def test_every_problem_that_there_is_belongs_to_some_operation() -> None:
    used = {
        (int(status), code)
        for _, operation in operations()
        for status, response in operation["responses"].items()
        if status >= "4"
        for code in codes(response)
    }
    known = {(kind.status, kind.code) for kind in problem_kinds._KINDS}
    assert known - used == set()
    assert used - known == {(400, "invalid_request")}, "RFC 6749's has a status of its own"


def test_every_operation_takes_both_kinds_of_credentials_or_none() -> None:
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"ApiKey", "Token"}
    for name, operation in operations():
        schemes = [scheme for alternative in operation.get("security", []) for scheme in alternative]
        assert schemes == ([] if name in PUBLIC else ["ApiKey", "Token"]), name
        assert ({} in operation.get("security", [])) == (name in OPTIONAL), name
        assert ("401" in operation["responses"]) == (name not in PUBLIC), name


def test_what_a_request_may_carry_is_listed_with_it() -> None:
    for name, operation in operations():
        parameters = {resolve(parameter)["name"] for parameter in operation["parameters"]}
        assert {"X-Request-ID", "X-Request-Timeout-Ms"} <= parameters, name
        assert ("If-Match" in parameters) == ("412" in operation["responses"]), name
        assert "If-None-Match" in parameters or "304" not in operation["responses"], name
        replays = any(
            "Idempotency-Replayed" in resolve(response)["headers"] for response in operation["responses"].values()
        )
        assert ("Idempotency-Key" in parameters) == replays, name


def test_whoever_has_to_wait_is_told_how_long() -> None:
    for name, operation in operations():
        for status in {"429", "503"} & set(operation["responses"]):
            assert "Retry-After" in resolve(operation["responses"][status])["headers"], (name, status)


def test_every_code_stands_in_the_documentation_beside_its_status() -> None:
    listed = {
        (int(status), code)
        for line in PAGE.read_text().splitlines()
        if (row := re.match(r"\| ([0-9, ]+) \| (.*) \|$", line))
        for status in row[1].split(", ")
        for code in re.findall(r"`([a-z_]+)`", row[2])
    }
    known = {(kind.status, kind.code) for kind in problem_kinds._KINDS}
    assert known - listed == set()
