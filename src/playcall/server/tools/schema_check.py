"""Checking a value by a JSON schema. Run by its path in a process of its own too, so it imports nothing of the package."""

from __future__ import annotations

from itertools import islice
from typing import Any

import jsonschema_rs

__all__ = ["problems_of", "work"]

_MAX_PROBLEMS = 20
_MAX_CHARACTERS = 300


def problems_of(schema: dict[str, Any], parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """`loc`, `msg` and `type` (the schema's keyword) of each; never the value, which may be a secret."""
    try:
        validator = jsonschema_rs.Draft202012Validator(
            {key: value for key, value in schema.items() if key != "$schema"},
            offline=True,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except ValueError as error:  # it was registered before schemas were checked
        return [{"loc": [], "msg": f"the tool's own schema is none: {error}"[:_MAX_CHARACTERS], "type": "schema"}]
    return [
        {"loc": list(error.instance_path), "msg": error.message[:_MAX_CHARACTERS], "type": error.kind.name}
        for error in islice(validator.iter_errors(parameters), _MAX_PROBLEMS)
    ]


def work(job: dict[str, Any]) -> list[dict[str, Any]]:
    """For a process of its own: `{"schema": …, "parameters": …}`."""
    return problems_of(job["schema"], job["parameters"])
