"""What the client calls, as the doctor carries it; and what it takes for a drift."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.cli.doctor_contract import digest, drifts, own_contract
from tests.cli.client_contract import COPY, calls, copy_text


def test_the_copy_is_what_the_services_call_of_the_committed_document() -> None:
    """`make openapi` writes it anew."""
    assert COPY.read_text() == copy_text()


async def test_every_method_of_every_service_asks_for_something() -> None:
    silent = [method for method, requests in (await calls()).items() if not requests]
    assert silent == []


def test_the_copy_has_not_drifted_from_itself() -> None:
    assert drifts(own_contract(), own_contract()) == []


def document(sent: Any, given: Any, *parameters: Any) -> Any:
    operation = {
        "parameters": list(parameters),
        "requestBody": {"content": {"application/json": {"schema": sent}}},
        "responses": {"200": {"content": {"application/json": {"schema": given}}}, "404": {}},
    }
    return {"paths": {"/things/{id}": {"post": operation}}, "components": {"schemas": {"Colour": {"enum": ["red"]}}}}


def thing(*required: str, **properties: Any) -> Any:
    return {"type": "object", "properties": properties, "required": list(required)}


TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
COLOUR = {"$ref": "#/components/schemas/Colour"}
OPEN = {"anyOf": [COLOUR, TEXT]}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (thing("name", name=TEXT, size=NUMBER), []),
        (thing(name=TEXT, size=NUMBER), []),
        (thing("name", name=TEXT), ["body size is not known there"]),
        (thing("name", name=TEXT, size=WHOLE), ["body size is integer there; number would be refused"]),
        (thing("name", "size", name=TEXT, size=NUMBER), ["body size is required there"]),
        (thing("name", "more", name=TEXT, size=NUMBER, more=TEXT), ["body more is new there, and required"]),
        (thing("name", name=TEXT, size=NUMBER, more=TEXT), []),
        (thing("name", name={"enum": ["a"]}, size=NUMBER), []),
    ],
)
def test_what_is_sent_has_to_be_taken(sent: Any, told: list[str]) -> None:
    ours = document(thing("name", name=TEXT, size=NUMBER), thing())
    assert _told(ours, document(sent, thing())) == told


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (thing("name", name=TEXT), thing("name", "new", name=TEXT, new=TEXT), []),
        (thing("name", name=TEXT), thing(), ["answer name is not given there"]),
        (thing("name", name=TEXT), thing(name=TEXT), ["answer name may be left out there"]),
        (thing(name=TEXT), thing(), ["(answer name is not given there)"]),
        (thing(size=NUMBER), thing(size=WHOLE), []),
        (thing(size=WHOLE), thing(size=NUMBER), ["answer size is number there; number cannot be read"]),
        (
            thing(c=COLOUR),
            thing(c={"enum": ["red", "blue"]}),
            ["answer c the value blue is not known to this client"],
        ),
        (
            thing(c=OPEN),
            thing(c={"anyOf": [{"enum": ["red", "blue"]}, TEXT]}),
            ["(answer c the value blue is not known to this client)"],
        ),
        (
            thing(list={"type": "array", "items": thing("a", a=TEXT)}),
            thing(list={"type": "array", "items": thing("a", a=NUMBER)}),
            ["answer list[].a is number there; number cannot be read"],
        ),
        (
            thing("self", self={"allOf": [thing("a", a=TEXT), thing(b=TEXT)]}),
            thing("self", self=thing(a=TEXT, b=TEXT)),
            ["answer self.a may be left out there"],
        ),
    ],
)
def test_what_is_given_has_to_be_readable(ours: Any, theirs: Any, told: list[str]) -> None:
    assert _told(document(thing(), ours), document(thing(), theirs)) == told


def test_a_query_parameter_that_is_not_known_there_lets_everything_through() -> None:
    tag = {"name": "tag", "in": "query", "schema": TEXT}
    assert _told(document(thing(), thing(), tag), document(thing(), thing())) == [
        "query tag is not known there, and would be passed over"
    ]


def test_a_schema_that_contains_itself_has_an_end() -> None:
    own = document(thing(), {"$ref": "#/components/schemas/Tree"})
    own["components"]["schemas"]["Tree"] = thing(branch={"$ref": "#/components/schemas/Tree"})
    assert _told(own, own) == []


@pytest.mark.parametrize(
    ("strange", "operations"),
    [
        ({}, 0),
        ({"paths": []}, 0),
        ({"paths": {"/x": {"get": {"parameters": [{"in": "query"}]}}}}, 1),
        ({"paths": {"/x": {"get": {"responses": {"200": {"$ref": "#/nowhere"}}}}}}, 1),
    ],
)
def test_somebody_elses_document_is_read_as_far_as_it_goes(strange: Any, operations: int) -> None:
    assert len(digest(strange)) == operations


@pytest.mark.parametrize(
    "nonsense",
    [
        7,
        {"paths": {"/x": {"get": {"parameters": 7}}}},
        {"paths": {"/x": {"get": {"responses": {"200": {"content": {"application/json": 7}}}}}}},
    ],
)
def test_what_is_no_document_is_said_to_be_none(nonsense: Any) -> None:
    with pytest.raises(ValueError, match="not an OpenAPI document"):
        digest(nonsense)


def test_a_document_that_grows_without_end_is_left_in_the_middle() -> None:
    names = "abcdefgh"
    own = document(thing(), {"$ref": "#/components/schemas/Bush"})
    own["components"]["schemas"]["Bush"] = thing(**{name: {"$ref": "#/components/schemas/Bush"} for name in names})
    assert 1_000 < sum(len(fields) for each in digest(own).values() for fields in each.given.values()) < 500_000


def test_the_names_of_path_parameters_do_not_matter() -> None:
    ours = digest(document(thing(), thing()))
    theirs = {name.replace("{id}", "{thing_id}"): operation for name, operation in ours.items()}
    assert drifts(ours, theirs) == []


def _told(ours: Any, theirs: Any) -> list[str]:
    """What is no matter is in brackets."""
    return [
        text if drift.matters else f"({text})"
        for drift in drifts(digest(ours), digest(theirs))
        for text in [f"{drift.where} {drift.what}".strip()]
    ]
