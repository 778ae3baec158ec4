"""The contract as OpenAPI: a change of it is seen."""

from __future__ import annotations

import json
from pathlib import Path

from playcall.server.openapi import document_text

COMMITTED = Path(__file__).with_name("openapi.json")


def test_the_contract_is_the_committed_one() -> None:
    """`make openapi` writes the copy anew; read what changed before committing it."""
    assert document_text() == COMMITTED.read_text()


def test_every_operation_has_a_name_of_its_own_and_problems_for_its_errors() -> None:
    document = json.loads(document_text())
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        for status, response in operation["responses"].items():
            if int(status) >= 400 and operation["operationId"] != "ready":
                assert list(response["content"]) == ["application/problem+json"], (operation["operationId"], status)
