"""A playbook's inputs: what a run was given, checked against what the playbook declares."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ...models import FieldProblem, InputSpec, InputType, JsonObject

__all__ = ["bind_inputs", "check_value"]

_ADAPTERS: Mapping[InputType, TypeAdapter[Any]] = {
    InputType.STRING: TypeAdapter(str),
    InputType.INTEGER: TypeAdapter(int),
    InputType.FLOAT: TypeAdapter(float),
    InputType.BOOLEAN: TypeAdapter(bool),
    InputType.LIST: TypeAdapter(list[Any]),
    InputType.OBJECT: TypeAdapter(dict[str, Any]),
}


def bind_inputs(specs: Mapping[str, InputSpec], given: JsonObject) -> tuple[JsonObject, list[FieldProblem]]:
    """The values that a run starts with, and what is wrong with those given; `loc` starts at `body`, `inputs`.

    Numbers and booleans may come as text (`"3"`, `"true"`), as they do from a command line.
    """
    values: JsonObject = {}
    problems: list[FieldProblem] = []
    for name in given:
        if name not in specs:
            close = difflib.get_close_matches(name, specs, n=1)
            problems.append(
                FieldProblem(
                    loc=["body", "inputs", name],
                    msg=f"the playbook has no input {name!r}",
                    type="input_unknown",
                    suggestion=close[0] if close else None,
                )
            )
    for name, spec in specs.items():
        if name not in given:
            if spec.is_required:
                problems.append(
                    FieldProblem(
                        loc=["body", "inputs", name], msg=f"the input {name!r} is required", type="input_missing"
                    )
                )
            else:
                values[name] = spec.default
            continue
        value, why = check_value(spec, given[name])
        if why is None:
            values[name] = value
        else:
            problems.append(FieldProblem(loc=["body", "inputs", name], msg=why, type="input_invalid"))
    return values, problems


def check_value(spec: InputSpec, value: Any) -> tuple[Any, str | None]:
    """The value as the input's type has it, and None; or what is wrong with it."""
    if value is None and not spec.is_required:
        return None, None
    if isinstance(value, bool) and spec.type in (InputType.INTEGER, InputType.FLOAT):
        return value, f"must be of type {spec.type.value}, not boolean"
    try:
        value = _ADAPTERS[spec.type].validate_python(value)
    except ValidationError:
        return value, f"must be of type {spec.type.value}, not {_kind(value)}"
    if spec.type is InputType.FLOAT and not (float("-inf") < value < float("inf")):
        return value, "must be a finite number"
    if spec.choices is not None and value not in spec.choices:
        return value, f"must be one of {', '.join(repr(choice) for choice in spec.choices)}"
    size = value if isinstance(value, (int, float)) else len(value)
    what = "" if isinstance(value, (int, float)) else " in length"
    if not isinstance(value, bool):
        if spec.min is not None and size < spec.min:
            return value, f"must be at least {spec.min:g}{what}"
        if spec.max is not None and size > spec.max:
            return value, f"must be at most {spec.max:g}{what}"
    return value, None


def _kind(value: object) -> str:
    names: dict[type, str] = {
        type(None): "null",
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "float",
        list: "list",
        dict: "object",
    }
    return names.get(type(value), type(value).__name__)
