"""Parameters of an HTTP tool, against the JSON schema (draft 2020-12) that its owner registered.

A schema is its owner's text, and so a program: by `$ref`, or by `unevaluatedProperties` at each level of many, a small one
can take for ever, and a pattern of ten characters takes megabytes to compile. Whatever has such, or could take long, is
checked in a process of its own, which ends (see `bounded`); patterns are matched in linear time, and nothing is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

from ...models import FieldProblem, JsonObject
from . import schema_check
from .bounded import BrokenOff, bounded
from .failure import ToolFailure
from .json_kinds import is_list, is_object
from .schema_check import problems_of

__all__ = ["MAX_SCHEMA_CHARACTERS", "check_by_schema", "quick_problems", "why_no_schema"]

MAX_SCHEMA_CHARACTERS = 65_536
_AT_ONCE = 20_000_000
"""Characters of the schema times those of the parameters: with that, and no references, it takes milliseconds."""
_SECONDS = 5.0
_MODULE = Path(schema_check.__file__)
_PATHS = [str(Path(jsonschema_rs.__file__).parents[1])]
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
"""Each has what is beside it checked once more: twice as long by each level of nesting."""
_PATTERNS_AT_ONCE = 300_000
"""Characters of all patterns, times what counted repetitions make of them: so many are compiled in some milliseconds."""
_CLASS_OF_UNICODE = 1_000
"""How many characters one of `\\p{…}` counts as."""
_REPETITION = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")


def why_no_schema(schema: JsonObject) -> str | None:
    """Why parameters cannot be checked by this, or None if they can."""
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARACTERS:
        return f"a schema has at most {MAX_SCHEMA_CHARACTERS:,} characters"
    if any(not target.startswith("#") for target in _targets(schema)):
        return "a schema refers to nothing outside itself: each $ref begins with '#'"
    plain = {key: value for key, value in schema.items() if key != "$schema"}
    try:
        jsonschema_rs.meta.validate(plain)
        if _is_quick(schema):
            # Patterns are only looked at when it is made, which may take for ever.
            options = jsonschema_rs.RegexOptions()
            jsonschema_rs.Draft202012Validator(plain, offline=True, pattern_options=options)
    except ValueError as error:
        return f"this is no JSON schema: {getattr(error, 'message', error)}"
    return None


def quick_problems(schema: JsonObject, parameters: JsonObject) -> list[FieldProblem] | None:
    """What is wrong with the parameters, `loc` counting from them; None if that cannot be told quickly."""
    if not _is_quick(schema):
        return None
    if len(json.dumps(schema)) * len(json.dumps(parameters)) > _AT_ONCE:
        return None
    return [FieldProblem(**problem) for problem in problems_of(schema, parameters)]


async def check_by_schema(name: str, schema: JsonObject, parameters: JsonObject) -> None:
    """
    Raises:
        ToolFailure: `parameters_invalid`, with what is wrong and where, never with a value.
    """
    problems = quick_problems(schema, parameters)
    if problems is None:
        job: JsonObject = {"schema": schema, "parameters": parameters}
        try:
            found = await bounded(_MODULE, job, seconds=_SECONDS, paths=_PATHS)
        except (TimeoutError, BrokenOff):
            reason = f"{name}: checking the parameters by its schema takes too long"
            raise ToolFailure("parameters_invalid", reason) from None
        problems = [FieldProblem(**problem) for problem in found]
    if problems:
        reasons = [f"{'.'.join(map(str, p.loc)) or 'parameters'}: {p.msg}" for p in problems[:5]]
        raise ToolFailure("parameters_invalid", f"{name} refused its parameters: {'; '.join(reasons)}")


def _is_quick(schema: JsonObject) -> bool:
    """Whether it is made in milliseconds, and a value of no great size checked by it in as many."""
    left = _PATTERNS_AT_ONCE
    pending: list[Any] = [schema]
    while pending:
        value = pending.pop()
        if is_object(value):
            if any(isinstance(value.get(key), str) for key in _REFERENCES) or any(key in value for key in _UNEVALUATED):
                return False
            by_pattern = value.get("patternProperties")
            for pattern in (value.get("pattern"), *(by_pattern if is_object(by_pattern) else ())):
                left -= _cost(pattern) if isinstance(pattern, str) else 0
            if left < 0:
                return False
            pending.extend(value.values())
        elif is_list(value):
            pending.extend(value)
    return True


def _cost(pattern: str) -> int:
    cost = len(pattern) * (_CLASS_OF_UNICODE if "\\p" in pattern.lower() else 1)
    for counts in _REPETITION.findall(pattern):
        cost *= max(1, *(int(count[:9]) for count in counts if count))
    return cost


def _targets(value: Any) -> Iterator[str]:
    if is_object(value):
        for key, item in value.items():
            if key in _REFERENCES and isinstance(item, str):
                yield item
            yield from _targets(item)
    elif is_list(value):
        for item in value:
            yield from _targets(item)
