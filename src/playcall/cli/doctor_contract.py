"""What this client asks of a backend, as fields and kinds, and how far a live OpenAPI document has drifted from it.

The client's side is `doctor_contract.json`: taken from the OpenAPI document of this version, and only of the operations
that the services call. A test writes it and holds it against both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias, cast

__all__ = ["Contract", "Drift", "Fields", "digest", "drifts", "own_contract"]

MAX_DEPTH: Final = 12
"""Of objects in each other; a schema that contains itself is followed so far."""
MAX_FIELDS: Final = 50_000
"""Of a whole document; beyond them objects are not looked into. Ours has some 2,500."""
METHODS: Final = ("get", "put", "post", "delete", "patch")

Json: TypeAlias = Any
"""Some JSON of somebody else's document, which may be anything."""


@dataclass(frozen=True, slots=True)
class Field:
    """`kinds` are JSON's (`integer` beside `number`), or `any`; `values` is None where every value of the kind is taken.
    `open` says that a value may come that is not among `values`."""

    kinds: frozenset[str]
    required: bool
    values: frozenset[str] | None = None
    open: bool = False

    def to_json(self) -> Json:
        short: dict[str, Json] = {"kinds": sorted(self.kinds)}
        if self.required:
            short["required"] = True
        if self.values is not None:
            short["values"] = sorted(self.values)
        if self.open:
            short["open"] = True
        return short

    @classmethod
    def of_json(cls, value: Json) -> Field:
        values = value.get("values")
        return cls(
            frozenset(value["kinds"]),
            value.get("required", False),
            None if values is None else frozenset(values),
            value.get("open", False),
        )


Fields: TypeAlias = Mapping[str, Field]
"""By path: `steps[].agent`; the root has the empty path."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`used_by` names what of the client calls it: `playbooks.get`."""

    query: Fields = field(default_factory=dict[str, Field])
    sent: Fields = field(default_factory=dict[str, Field])
    given: Mapping[str, Fields] = field(default_factory=dict[str, Fields])
    used_by: tuple[str, ...] = ()


Contract: TypeAlias = Mapping[str, Operation]
"""By method and path: `GET /api/v1/playbooks/{playbook_id}`."""


def own_contract() -> Contract:
    """What this version of the client calls."""
    text = files("playcall.cli").joinpath("doctor_contract.json").read_text(encoding="utf-8")
    return {
        name: Operation(
            query=_fields_of(operation["query"]),
            sent=_fields_of(operation["sent"]),
            given={status: _fields_of(fields) for status, fields in operation["given"].items()},
            used_by=tuple(operation["used_by"]),
        )
        for name, operation in json.loads(text).items()
    }


def to_json(contract: Contract) -> Json:
    """The inverse of what `own_contract` reads."""
    return {
        name: {
            "used_by": list(operation.used_by),
            "query": _json_of(operation.query),
            "sent": _json_of(operation.sent),
            "given": {status: _json_of(fields) for status, fields in operation.given.items()},
        }
        for name, operation in contract.items()
    }


def _fields_of(value: Json) -> Fields:
    return {path: Field.of_json(each) for path, each in value.items()}


def _json_of(fields: Fields) -> Json:
    return {path: each.to_json() for path, each in sorted(fields.items())}


# --- reading a document ------------------------------------------------------------------------------------------------


def digest(document: Json) -> Contract:
    """All operations of an OpenAPI document.

    Raises:
        ValueError: It is none.
    """
    reader = _Reader(document)
    try:
        return dict(reader.operations())
    except (AttributeError, KeyError, TypeError, RecursionError):
        # It may be anybody's, so anything may stand anywhere.
        raise ValueError("this is not an OpenAPI document") from None


class _Reader:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._left = MAX_FIELDS

    def operations(self) -> Iterator[tuple[str, Operation]]:
        for path, item in _object(self._document.get("paths")).items():
            for method in METHODS:
                if operation := _object(_object(item).get(method)):
                    yield f"{method.upper()} {path}", self._operation(operation)

    def _operation(self, operation: Json) -> Operation:
        query: dict[str, Field] = {}
        for listed in operation.get("parameters", ()):
            parameter = self._resolve(listed)
            if parameter.get("in") == "query" and "name" in parameter:
                found = self._fields(parameter.get("schema", {}), required=bool(parameter.get("required", False)))
                query[str(parameter["name"])] = found[""]
        body = _object(self._resolve(operation.get("requestBody", {})).get("content"))
        given: dict[str, Fields] = {}
        for status, listed in _object(operation.get("responses")).items():
            if status.startswith("2"):
                content = _object(self._resolve(listed).get("content"))
                given[status] = self._content(content)
        return Operation(query=query, sent=self._content(body), given=given)

    def _content(self, content: Json) -> Fields:
        """JSON, or a form; of other media types there are no fields."""
        for media_type in ("application/json", "application/x-www-form-urlencoded"):
            if media_type in content:
                return self._fields(content[media_type].get("schema", {}), required=True)
        return {}

    def _fields(self, schema: Json, *, required: bool) -> dict[str, Field]:
        found: dict[str, Field] = {}
        self._walk(schema, "", required, 0, found)
        return found

    def _walk(self, schema: Json, path: str, required: bool, depth: int, found: dict[str, Field]) -> None:
        alternatives = list(self._alternatives(schema))
        kinds = frozenset(kind for each in alternatives for kind in _kinds(each))
        values = {str(value) for each in alternatives for value in _values(each)}
        listing = [each for each in alternatives if _values(each)]
        plain_text = any("string" in _kinds(each) and not _values(each) for each in alternatives)
        found[path] = Field(
            kinds or frozenset({"any"}), required, frozenset(values) if listing else None, bool(listing) and plain_text
        )
        self._left -= 1
        if depth == MAX_DEPTH or self._left <= 0:
            return
        objects = [each for each in alternatives if _object(each.get("properties"))]
        names = dict.fromkeys(name for each in objects for name in each["properties"])
        for name in names:
            having = [each for each in objects if name in each["properties"]]
            schemas = [each["properties"][name] for each in having]
            always = len(having) == len(objects) and all(name in each.get("required", ()) for each in having)
            self._walk({"anyOf": schemas}, f"{path}.{name}" if path else name, always, depth + 1, found)
        items = [each["items"] for each in alternatives if _object(each.get("items"))]
        if items:
            self._walk({"anyOf": items}, f"{path}[]", True, depth + 1, found)
        values_of_maps = [
            each["additionalProperties"] for each in alternatives if _object(each.get("additionalProperties"))
        ]
        if values_of_maps:
            self._walk({"anyOf": values_of_maps}, f"{path}{{}}", False, depth + 1, found)

    def _alternatives(self, schema: Json, seen: tuple[str, ...] = ()) -> Iterator[dict[str, Json]]:
        """The members of unions, references followed; `allOf` is taken for its parts laid over each other."""
        if not isinstance(schema, dict):
            return
        known = cast("dict[str, Json]", schema)
        if "$ref" in known:
            if known["$ref"] not in seen:
                yield from self._alternatives(self._resolve(known), (*seen, str(known["$ref"])))
            return
        members = [*known.get("anyOf", ()), *known.get("oneOf", ())]
        for member in members:
            yield from self._alternatives(member, seen)
        if "allOf" in known:
            merged: dict[str, Json] = {}
            for part in known["allOf"]:
                for each in self._alternatives(part, seen):
                    properties = {**_object(merged.get("properties")), **_object(each.get("properties"))}
                    needed = [*merged.get("required", ()), *each.get("required", ())]
                    merged = {**merged, **each, "properties": properties, "required": needed}
            yield merged
        elif not members:
            yield known

    def _resolve(self, value: Json) -> dict[str, Json]:
        for _ in range(MAX_DEPTH):
            reference = _object(value).get("$ref")
            if not isinstance(reference, str):
                break
            value = self._document
            for part in reference.removeprefix("#/").split("/"):
                value = _object(value).get(part.replace("~1", "/").replace("~0", "~"))
        return _object(value)


def _object(value: Json) -> dict[str, Json]:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def _kinds(schema: Mapping[str, Json]) -> frozenset[str]:
    said = schema.get("type")
    if isinstance(said, str):
        return frozenset({said})
    if isinstance(said, list):
        return frozenset(cast("list[str]", said))
    if "const" in schema:
        return frozenset({_kind_of(schema["const"])})
    if "enum" in schema:
        return frozenset(_kind_of(value) for value in schema["enum"])
    return frozenset({"object"}) if "properties" in schema else frozenset({"any"})


def _kind_of(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array"}
    return kinds.get(type(value), "object")  # pyright: ignore[reportUnknownArgumentType] - it is any JSON


def _values(schema: Mapping[str, Json]) -> list[Json]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


# --- comparing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drift:
    """`where` is empty for the operation as a whole. `matters` if a call would fail, or mislead."""

    operation: str
    where: str
    what: str
    matters: bool
    used_by: tuple[str, ...] = ()


Way: TypeAlias = Literal["sent", "given"]


def drifts(own: Contract, live: Contract) -> list[Drift]:
    """What is different at the far end, what matters first. New fields and operations there are no matter: see
    docs/versions.md."""
    found: list[Drift] = []
    paths = {_shape(name): name for name in live}
    for name, ours in own.items():
        there = paths.get(_shape(name))
        if there is None:
            found.append(Drift(name, "", "is missing there", True, ours.used_by))
        else:
            found += _operation_drifts(name, ours, live[there])
    known = {_shape(name) for name in own}
    found += [
        Drift(name, "", "is there, and this client does not call it", False)
        for name in live
        if _shape(name) not in known
    ]
    return sorted(found, key=lambda each: not each.matters)


def _shape(name: str) -> str:
    """The names of a path's parameters are nobody's concern."""
    return "/".join("{}" if part.startswith("{") else part for part in name.split("/"))


def _operation_drifts(name: str, ours: Operation, theirs: Operation) -> Iterator[Drift]:
    def drift(where: str, what: str, matters: bool = True) -> Drift:
        return Drift(name, where, what, matters, ours.used_by)

    for path, what in _sent_drifts(ours.query, theirs.query):
        missing = what == _UNKNOWN_THERE
        yield drift(f"query {path}", "is not known there, and would be passed over" if missing else what)
    if ours.sent and not theirs.sent:
        yield drift("body", "no JSON is taken there")
    else:
        for path, what in _sent_drifts(ours.sent, theirs.sent):
            yield drift(f"body {path}".rstrip(), what)
    for status, fields in ours.given.items():
        if status not in theirs.given:
            yield drift(f"answer {status}", "is not given there")
            continue
        for path, what, matters in _given_drifts(fields, theirs.given[status]):
            yield drift(f"answer {path}".rstrip(), what, matters)


_UNKNOWN_THERE: Final = "is not known there"


def _sent_drifts(ours: Fields, theirs: Fields) -> Iterator[tuple[str, str]]:
    """What we may send has to be taken."""
    for path, field_ in ours.items():
        there = theirs.get(path)
        if there is None:
            if _parent(path) in theirs or "." not in path:
                yield path, _UNKNOWN_THERE
            continue
        if refused := _beyond(field_.kinds, there.kinds):
            yield path, f"is {_or(there.kinds)} there; {_or(refused)} would be refused"
        refused_values = _values_beyond(field_, there)
        if refused_values:
            yield path, f"the value {_or(refused_values)} is not taken there"
        if there.required and not field_.required:
            yield path, "is required there"
    for path, there in theirs.items():
        if path not in ours and there.required and (_parent(path) in ours or "." not in path):
            yield path, "is new there, and required"


def _given_drifts(ours: Fields, theirs: Fields) -> Iterator[tuple[str, str, bool]]:
    """What they give has to be readable."""
    for path, field_ in ours.items():
        there = theirs.get(path)
        if there is None:
            if _parent(path) in theirs or "." not in path:
                yield path, "is not given there", field_.required
            continue
        if unknown := _beyond(there.kinds, field_.kinds):
            yield path, f"is {_or(there.kinds)} there; {_or(unknown)} cannot be read", True
        if there.values is not None and field_.values is not None and (new := there.values - field_.values):
            yield path, f"the value {_or(new)} is not known to this client", not field_.open
        if field_.required and not there.required:
            yield path, "may be left out there", True


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _beyond(kinds: frozenset[str], taken: frozenset[str]) -> frozenset[str]:
    """Which of `kinds` are none of `taken`; whole numbers are numbers."""
    if "any" in taken or "any" in kinds:
        return frozenset()
    return kinds - taken - ({"integer"} if "number" in taken else set())


def _values_beyond(ours: Field, there: Field) -> frozenset[str]:
    if ours.values is None or there.values is None or there.open:
        return frozenset()
    return ours.values - there.values


def _or(words: frozenset[str]) -> str:
    return " or ".join(sorted(words))
