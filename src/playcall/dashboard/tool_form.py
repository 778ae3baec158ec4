"""The form that registers an HTTP endpoint of one's own as a tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final  # Any: as InputSpec takes choices

from playcall.dashboard.input_form import Ask, Field, Reading, field_of, read
from playcall.models import InputSpec, InputType, JsonObject

__all__ = ["FIELDS", "read_tool", "spec_of"]

METHODS: Final[list[Any]] = ["POST", "PUT", "PATCH", "GET", "DELETE"]
HEADER: Final = "secret_headers"


def _field(name: str, kind: InputType, about: str, *, required: bool = False) -> Field:
    return field_of(name, InputSpec(type=kind, description=about, required=required))


def _asked_as(ask: Ask, field: Field, label: str, placeholder: str) -> Field:
    return Field(field.name, ask, field.required, "", field.initial, placeholder, label=label, spec=field.spec)


FIELDS: Final = (
    _field("name", InputType.STRING, "What agents call it; letters, digits and _ . -", required=True),
    _field("url", InputType.STRING, "Called with the parameters as JSON", required=True),
    field_of(
        "method", InputSpec(type=InputType.STRING, description="How it is called", choices=METHODS, default="POST")
    ),
    _field("description", InputType.STRING, "What it is for"),
    _field("parameters", InputType.OBJECT, "A JSON schema of what it takes; anything, if it is empty"),
    _field("defaults", InputType.OBJECT, "Parameters that every call starts from"),
    _asked_as(
        Ask.HIDDEN,
        _field(HEADER, InputType.STRING, "Sent to the URL, and never shown again"),
        "secret header",
        "Authorization: Bearer …",
    ),
    _field("timeout_seconds", InputType.FLOAT, "Seconds that a call may take"),
)


def read_tool(fields: Sequence[Field], typed: Mapping[str, object]) -> Reading:
    """As `read`; the header is `Name: value`."""
    reading = read(fields, typed)
    header = str(reading.values.pop(HEADER, ""))
    if header:
        name, colon, value = header.partition(":")
        if colon and name.strip() and value.strip():
            reading.values[HEADER] = {name.strip(): value.strip()}
        else:
            reading.problems[HEADER] = "a header is written Name: value"
    return reading


def spec_of(values: Mapping[str, object]) -> JsonObject:
    """What `tools.register` takes."""
    return {"kind": "http", **values}
