"""A tool's JSON schema as fields of a form, and as rows of a table.

What the form knows (text, numbers, yes or no, a choice, lists and objects with their bounds) is asked for as such; anything
else in JSON, by itself or, where a schema is no plain object, as a whole. The backend checks all of it again, and knows more
of the schema than this does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from playcall.dashboard.input_form import Ask, Field, Reading, field_of, read
from playcall.models import InputSpec, InputType, JsonObject, UnknownInput

__all__ = ["WHOLE", "Parameter", "fields_of_schema", "parameters_of", "read_parameters"]

WHOLE: Final = "parameters"
"""The field that takes a JSON object of parameters, where they have no fields of their own. No parameter's name: see `_whole`."""
_WHOLE: Final = InputSpec(type=InputType.OBJECT, required=False)
LONG_CHARACTERS: Final = 1_000
"""What may be as long as this is typed in a box of several lines."""
DEEPEST: Final = 8
"""References that are followed one into the other."""

_TYPES: Final = {
    "string": InputType.STRING,
    "integer": InputType.INTEGER,
    "number": InputType.FLOAT,
    "boolean": InputType.BOOLEAN,
    "array": InputType.LIST,
    "object": InputType.OBJECT,
}
_BOUNDS: Final = {
    InputType.STRING: ("minLength", "maxLength"),
    InputType.INTEGER: ("minimum", "maximum"),
    InputType.FLOAT: ("minimum", "maximum"),
    InputType.LIST: ("minItems", "maxItems"),
    InputType.OBJECT: ("minProperties", "maxProperties"),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, in words: `kind` is `a whole number, 1 to 10`, `default` is JSON, empty for none."""

    name: str
    kind: str
    required: bool
    default: str
    about: str


def fields_of_schema(schema: JsonObject, defaults: Mapping[str, object] | None = None) -> tuple[Field, ...]:
    """In the schema's order.

    Args:
        defaults: What every call of the tool starts from; they win over the schema's own.
    """
    given = defaults or {}
    properties = _properties(schema)
    required = {each for each in _items(schema.get("required")) if isinstance(each, str)}
    fields = [
        _field(name, _resolved(described, schema), name in required and name not in given, given)
        for name, described in properties.items()
    ]
    if not fields or schema.get("additionalProperties"):
        fields.append(_whole(set(properties), bool(properties)))
    return tuple(fields)


def parameters_of(schema: JsonObject, defaults: Mapping[str, object] | None = None) -> tuple[Parameter, ...]:
    """For a table; without the field for parameters that the schema does not name."""
    given = defaults or {}
    properties = _properties(schema)
    rows: list[Parameter] = []
    for field in fields_of_schema(schema, defaults):
        if field.name not in properties:
            continue
        described = _resolved(properties[field.name], schema)
        default = given.get(field.name, described.get("default"))
        kind = field.hint
        if field.shown_choices and field.ask is Ask.CHOICE:
            kind = "one of " + ", ".join(field.shown_choices)
        rows.append(
            Parameter(field.name, kind, field.required, _json(default), str(described.get("description") or ""))
        )
    return tuple(rows)


def read_parameters(fields: Sequence[Field], typed: Mapping[str, object]) -> Reading:
    """As `read`; what was typed as a whole is spread, and what has a field of its own wins over it."""
    reading = read(fields, typed)
    whole = next((each for each in fields if each.spec is not None and each.spec is _WHOLE), None)
    if whole is not None and isinstance(more := reading.values.pop(whole.name, {}), dict):
        return Reading({**more, **reading.values}, reading.problems)
    return reading


# --- one of them ------------------------------------------------------------------------------------------------------


def _whole(taken: set[str], more: bool) -> Field:
    name = WHOLE
    while name in taken:
        name += "_"
    label = "more parameters" if more else "parameters"
    return replace(field_of(name, _WHOLE), label=label)


def _field(name: str, described: JsonObject, required: bool, given: Mapping[str, object]) -> Field:
    default = given.get(name, described.get("default"))
    about = str(described.get("description") or "")
    spec = _spec(described, required, default, about)
    if spec is None:
        unknown = UnknownInput.model_validate({"type": _named(described)})
        return replace(field_of(name, unknown), required=required, hint=_with(about, f"{_named(described)}, as JSON"),
                       initial="" if default is None else _json(default), placeholder=_placeholder(described))  # fmt: skip
    field = field_of(name, spec)
    if field.ask is Ask.LINE and spec.type is InputType.STRING and spec.max is not None and spec.max >= LONG_CHARACTERS:
        field = replace(field, ask=Ask.LINES)
    return replace(field, hint=field.hint + _more_bounds(described))


def _spec(described: JsonObject, required: bool, default: object, about: str) -> InputSpec | None:
    """None for what is to be typed as JSON."""
    if "const" in described:
        choices: list[Any] | None = [described["const"]]
    elif isinstance(described.get("enum"), list):
        choices = [each for each in described["enum"] if each is not None]
    else:
        choices = None
    kind = _TYPES.get(str(described.get("type")))
    if choices:
        kind = kind or InputType.STRING  # a choice is sent as it stands, whatever its type
    if kind is None or (kind is InputType.LIST and not choices and not _holds_texts(described)):
        return None
    low, high = _BOUNDS.get(kind, ("", ""))
    least, most = _number(described.get(low)), _number(described.get(high))
    if kind is InputType.INTEGER:
        above, below = _number(described.get("exclusiveMinimum")), _number(described.get("exclusiveMaximum"))
        least = least if above is None else max(math.floor(above) + 1, least if least is not None else -math.inf)
        most = most if below is None else min(math.ceil(below) - 1, most if most is not None else math.inf)
    return InputSpec(
        type=kind, description=about, default=default, required=required, choices=choices or None, min=least, max=most
    )


def _resolved(described: object, schema: JsonObject) -> JsonObject:
    """With a local reference followed, and `X or null` read as an X that may be left out."""
    for _ in range(DEEPEST):
        here = cast("JsonObject", described) if isinstance(described, dict) else {}
        reference = here.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            described = {**_at(schema, reference), **{key: each for key, each in here.items() if key != "$ref"}}
            continue
        options = [each for each in _items(here.get("anyOf") or here.get("oneOf")) if each != {"type": "null"}]
        if len(options) == 1 and isinstance(options[0], dict):
            described = {
                **{key: each for key, each in here.items() if key not in ("anyOf", "oneOf")},
                **cast("JsonObject", options[0]),
            }
            continue
        if isinstance(here.get("type"), list):
            kinds = [each for each in here["type"] if each != "null"]
            return {**here, "type": kinds[0]} if len(kinds) == 1 else {**here, "type": " or ".join(map(str, kinds))}
        return here
    return {}


def _at(schema: JsonObject, reference: str) -> JsonObject:
    here: object = schema
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        here = cast("dict[str, object]", here).get(name) if isinstance(here, dict) else None
    return cast("JsonObject", here) if isinstance(here, dict) else {}


# --- words ------------------------------------------------------------------------------------------------------------


def _named(described: JsonObject) -> str:
    kind = described.get("type")
    options = [
        str(cast("JsonObject", each).get("type", "?"))
        for each in _items(described.get("anyOf"))
        if isinstance(each, dict)
    ]
    if isinstance(kind, str):
        return {"array": "a list", "object": "an object"}.get(kind, kind)
    return " or ".join(options) or "any value"


def _placeholder(described: JsonObject) -> str:
    return "[1, 2, 3]" if described.get("type") == "array" else 'JSON, or else text: 1, true, ["a"], {"key": "value"}'


def _more_bounds(described: JsonObject) -> str:
    """What is beyond an input's own bounds: for people, since only the backend checks it."""
    said = ""
    for key, word in (
        ("exclusiveMinimum", "more than"),
        ("exclusiveMaximum", "less than"),
        ("multipleOf", "a multiple of"),
    ):
        if described.get("type") == "number" and (bound := _number(described.get(key))) is not None:
            said += f", {word} {bound:g}"
    for key, words in (("pattern", "matching"), ("format", "a")):
        if described.get("type") == "string" and isinstance(described.get(key), str):
            said += f", {words} {described[key]}"
    return said


def _with(about: str, hint: str) -> str:
    return f"{about} ({hint})" if about else hint


def _holds_texts(described: JsonObject) -> bool:
    items = described.get("items")
    return isinstance(items, dict) and cast("JsonObject", items).get("type") == "string"


def _properties(schema: JsonObject) -> dict[str, object]:
    found = schema.get("properties")
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _items(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _json(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
