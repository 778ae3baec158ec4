"""A form's fields: what each asks for, what was typed read as a value, and what is wrong with it.

A playbook's inputs are such fields, and whatever else is described as an input is.

Numbers are typed as text here: Streamlit's own number field keeps the last number that fitted, so that a wrong one would
be sent as another without a word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, cast

from playcall.models import FieldProblem, InputSpec, InputType, JsonObject, Playbook, UnknownInput

__all__ = ["TEXT", "Ask", "Field", "Reading", "field_of", "fields_of", "problems_by_field", "read"]

LONG_CHARACTERS: Final = 80
"""A default that is longer, or has lines, is edited in a box of several lines."""
MISSING: Final = "a value is required"
TEXT: Final = "text"
"""The hint of what may be any text."""


class Ask(StrEnum):
    """How a field asks."""

    LINE = "line"
    LINES = "lines"
    HIDDEN = "hidden"
    """A line that is not shown."""
    YES_NO = "yes_no"
    CHOICE = "choice"
    SEVERAL = "several"
    """Any number of the choices, which are texts."""


@dataclass(frozen=True, slots=True)
class Field:
    """One input as it is asked for.

    `initial` is what the field holds at first: a text; for YES_NO a bool or None; for CHOICE an index of `choices` or None;
    for SEVERAL some of the choices. `shown_choices` is how the choices read. `label` is for people, the name if it is empty.
    """

    name: str
    ask: Ask
    required: bool
    hint: str
    initial: str | bool | int | tuple[str, ...] | None
    placeholder: str = ""
    shown_choices: tuple[str, ...] = ()
    label: str = ""
    spec: InputSpec | None = None
    """None for an input of a type that this version does not know: what is typed is sent as JSON, or else as text."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was typed: the values to send, and what is wrong, by field."""

    values: JsonObject = field(default_factory=dict[str, Any])
    problems: dict[str, str] = field(default_factory=dict[str, str])


def fields_of(playbook: Playbook) -> tuple[Field, ...]:
    """In the playbook's order."""
    return tuple(field_of(name, spec) for name, spec in playbook.inputs.items())


def field_of(name: str, spec: InputSpec | UnknownInput) -> Field:
    """The field that asks for it in the way that suits its type."""
    if isinstance(spec, UnknownInput):
        return Field(name, Ask.LINES, required=False, hint=f"{spec.type}, as JSON", initial="")
    hint = _hint(spec)
    if spec.choices is not None:
        shown = tuple(_shown(choice) for choice in spec.choices)
        chosen = next((i for i, each in enumerate(spec.choices) if _same(each, spec.default)), None)
        return Field(name, Ask.CHOICE, spec.is_required, hint, chosen, shown_choices=shown, spec=spec)
    if spec.type is InputType.BOOLEAN:
        initial = spec.default if isinstance(spec.default, bool) else None
        return Field(name, Ask.YES_NO, spec.is_required, hint, initial, spec=spec)
    text = "" if spec.default is None else _typed(spec.type, spec.default)
    several = spec.type in (InputType.LIST, InputType.OBJECT) or len(text) > LONG_CHARACTERS or "\n" in text
    placeholder = {
        InputType.INTEGER: "a whole number",
        InputType.FLOAT: "a number",
        InputType.LIST: "one item a line, or a JSON list",
        InputType.OBJECT: '{"key": "value"}',
    }.get(spec.type, "")
    return Field(name, Ask.LINES if several else Ask.LINE, spec.is_required, hint, text, placeholder, spec=spec)


def _hint(spec: InputSpec) -> str:
    """`a list, of 1 to 5 items`"""
    named = {
        InputType.STRING: TEXT,
        InputType.INTEGER: "a whole number",
        InputType.FLOAT: "a number",
        InputType.BOOLEAN: "yes or no",
        InputType.LIST: "a list",
        InputType.OBJECT: "an object, as JSON",
    }[spec.type]
    unit = {InputType.STRING: "character", InputType.LIST: "item", InputType.OBJECT: "key"}.get(spec.type, "")
    of = ", of " if unit else ", "
    low, high = spec.min, spec.max
    if low is not None and high is not None:
        return f"{named}{of}{'' if low == high else f'{_figure(low)} to '}{_amount(high, unit)}"
    if low is not None:
        return f"{named}{of}at least {_amount(low, unit)}"
    if high is not None:
        return f"{named}{of}at most {_amount(high, unit)}"
    return named


def _amount(bound: float, unit: str) -> str:
    """`1 item`, `5 items`; a bare figure where there is no unit."""
    return f"{_figure(bound)} {unit}{'' if bound == 1 else 's'}" if unit else _figure(bound)


def _figure(bound: float) -> str:
    """As somebody would type it."""
    return str(int(bound)) if math.isfinite(bound) and bound == int(bound) else str(bound)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _typed(kind: InputType, value: object) -> str:
    """A default as somebody would have typed it."""
    if kind is InputType.LIST and isinstance(value, list):
        items = cast("list[object]", value)
        plain = all(isinstance(each, str) and each.strip() == each and each and "\n" not in each for each in items)
        if plain and items and not str(items[0]).startswith("["):
            return "\n".join(str(each) for each in items)
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, indent=2)
    return _shown(value)


def _same(one: object, other: object) -> bool:
    """Equal, and 1 is not true."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


# --- reading ----------------------------------------------------------------------------------------------------------


def read(fields: Sequence[Field], typed: Mapping[str, object]) -> Reading:
    """What the fields hold as values to send.

    An empty field is not sent, so that the default holds; but a text that has one is sent empty, for it was cleared.
    """
    reading = Reading()
    for each in fields:
        given, value, problem = _value(each, typed.get(each.name))
        if problem is not None:
            reading.problems[each.name] = problem
        elif given:
            reading.values[each.name] = value
    return reading


def _value(asked: Field, typed: object) -> tuple[bool, object, str | None]:
    """Whether there is a value, the value, and what is wrong with it."""
    spec = asked.spec
    if asked.ask is Ask.SEVERAL:
        return True, list(cast("Sequence[str]", typed or ())), None
    if asked.ask is Ask.CHOICE:
        if isinstance(typed, int) and spec is not None and spec.choices is not None:
            return True, spec.choices[typed], None
        return False, None, MISSING if asked.required else None
    if asked.ask is Ask.YES_NO:
        return isinstance(typed, bool), typed, MISSING if typed is None and asked.required else None
    text = typed if isinstance(typed, str) else ""
    if spec is not None and spec.type is InputType.STRING:
        if text == "" and spec.default in (None, ""):
            return False, None, MISSING if asked.required else None
        return True, text, _size_problem(spec, len(text), " in length")
    text = text.strip()
    if not text:
        return False, None, MISSING if asked.required else None
    if spec is None:
        return True, _json_or_text(text), None
    match spec.type:
        case InputType.INTEGER:
            return _integer(spec, text)
        case InputType.FLOAT:
            return _number(spec, text)
        case InputType.LIST:
            return _list(spec, text)
        case _:
            return _object(spec, text)


def _integer(spec: InputSpec, text: str) -> tuple[bool, object, str | None]:
    try:
        value = int(text)
    except ValueError:
        return True, text, f"not a whole number: {text}"
    return True, value, _size_problem(spec, value, "")


def _number(spec: InputSpec, text: str) -> tuple[bool, object, str | None]:
    try:
        value = float(text)
    except ValueError:
        return True, text, f"not a number: {text}"
    if not math.isfinite(value):
        return True, text, "has to be a finite number"
    return True, value, _size_problem(spec, value, "")


def _list(spec: InputSpec, text: str) -> tuple[bool, object, str | None]:
    if text.startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return True, text, _json_problem(error)
    else:
        value = [line.strip() for line in text.splitlines() if line.strip()]
    return True, value, _size_problem(spec, len(value), " in length")


def _object(spec: InputSpec, text: str) -> tuple[bool, object, str | None]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        return True, text, _json_problem(error)
    if not isinstance(value, dict):
        return True, text, 'has to be an object, such as {"key": "value"}'
    return True, cast("JsonObject", value), _size_problem(spec, len(cast("JsonObject", value)), " in length")


def _json_or_text(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return text


def _json_problem(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
    return f"not JSON: {error}"


def _size_problem(spec: InputSpec, size: float, what: str) -> str | None:
    if spec.min is not None and size < spec.min:
        return f"has to be at least {_figure(spec.min)}{what}"
    if spec.max is not None and size > spec.max:
        return f"has to be at most {_figure(spec.max)}{what}"
    return None


def problems_by_field(
    errors: Sequence[FieldProblem], fields: Sequence[Field], *, within: tuple[str, ...] = ("body", "inputs")
) -> tuple[dict[str, str], tuple[FieldProblem, ...]]:
    """What the backend found wrong, by field (several are one text), and what is no field's.

    Args:
        within: Where the fields are in the request.
    """
    names = {each.name for each in fields}
    by_field: dict[str, str] = {}
    others: list[FieldProblem] = []
    for problem in errors:
        inside = problem.loc[len(within) :] if tuple(problem.loc[: len(within)]) == within else []
        match inside:
            case [str(name), *_] if name in names:
                by_field[name] = f"{by_field[name]}; {problem.msg}" if name in by_field else problem.msg
            case _:
                others.append(problem)
    return by_field, tuple(others)
