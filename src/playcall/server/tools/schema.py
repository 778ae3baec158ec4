"""Parameters of an HTTP tool, against the JSON schema (draft 2020-12) that its owner registered.

A schema is its owner's text, and so a program: by `$ref` a small one can take for ever. Whatever has references, or could
take long, is checked in a process of its own, which ends (see `bounded`); patterns are matched in linear time, and nothing
is fetched.
"""

from __future__ import annotations

import json
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


def why_no_schema(schema: JsonObject) -> str | None:
    """Why parameters cannot be checked by this, or None if they can."""
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARACTERS:
        return f"a schema has at most {MAX_SCHEMA_CHARACTERS:,} characters"
    if any(not target.startswith("#") for target in _targets(schema)):
        return "a schema refers to nothing outside itself: each $ref begins with '#'"
    plain = {key: value for key, value in schema.items() if key != "$schema"}
    try:
        jsonschema_rs.meta.validate(plain)
        if not any(True for _ in _targets(schema)):
            # Patterns are only looked at when it is made, which may take for ever where there are references.
            options = jsonschema_rs.RegexOptions()
            jsonschema_rs.Draft202012Validator(plain, offline=True, pattern_options=options)
    except ValueError as error:
        return f"this is no JSON schema: {getattr(error, 'message', error)}"
    return None


def quick_problems(schema: JsonObject, parameters: JsonObject) -> list[FieldProblem] | None:
    """What is wrong with the parameters, `loc` counting from them; None if that cannot be told quickly."""
    if any(True for _ in _targets(schema)):
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


def _targets(value: Any) -> Iterator[str]:
    if is_object(value):
        for key, item in value.items():
            if key in _REFERENCES and isinstance(item, str):
                yield item
            yield from _targets(item)
    elif is_list(value):
        for item in value:
            yield from _targets(item)
