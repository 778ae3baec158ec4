"""What is wrong with which field, as backends tell it, and as one line for people."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, cast

from pydantic import ValidationError

from ..models.problem import FieldProblem

__all__ = ["describe", "read_field_problems"]

_CLOSE: Final = 0.6
"""How alike two names must be to be taken for a slip (`difflib`'s ratio)."""


def read_field_problems(errors: object) -> list[FieldProblem] | None:
    """The entries that can be read, of FastAPI's form, `{"field": …, "message": …}`, or an object of messages by field.

    None for what is no list and no object.
    """
    read: list[FieldProblem] = []
    if isinstance(errors, dict):
        for name, said in cast("dict[str, object]", errors).items():
            messages = cast("list[object]", said) if isinstance(said, list) else [said]
            read += [FieldProblem(loc=[name], msg=each, type="") for each in messages if isinstance(each, str)]
        return read
    if not isinstance(errors, list):
        return None
    for item in cast("list[object]", errors):
        try:
            read.append(FieldProblem.model_validate(_normal(item), extra="ignore"))
        except ValidationError:
            continue  # one that we cannot read must not hide the others
    return _with_suggestions(read)


def _normal(item: object) -> object:
    """An entry in the form of FastAPI's."""
    fields: dict[str, object] = {**item} if isinstance(item, dict) else {}
    if "field" not in fields or "loc" in fields:
        return fields
    return {
        "loc": [fields.get("field")],
        "msg": fields.get("message", fields.get("msg")),
        "type": fields.get("type", ""),
    }


def _with_suggestions(problems: list[FieldProblem]) -> list[FieldProblem]:
    """An unknown field beside a missing one with nearly its name is a slip: `nmae`, did you mean `name`?"""
    missing: dict[tuple[str | int, ...], list[str]] = {}
    for each in problems:
        if each.type == "missing" and each.field and isinstance(each.loc[-1], str):
            missing.setdefault(tuple(each.loc[:-1]), []).append(each.loc[-1])
    return [_suggested(each, missing) for each in problems] if missing else problems


def _suggested(problem: FieldProblem, missing: Mapping[tuple[str | int, ...], list[str]]) -> FieldProblem:
    if problem.type != "extra_forbidden" or problem.suggestion or not problem.loc:
        return problem
    wanted = missing.get(tuple(problem.loc[:-1]), ())
    close = difflib.get_close_matches(str(problem.loc[-1]), wanted, n=1, cutoff=_CLOSE)
    return problem.model_copy(update={"suggestion": close[0]}) if close else problem


def describe(problem: FieldProblem) -> str:
    """One wrong field in a line: `steps[0].agent: no such agent (line 7, column 5); did you mean «reader»?`"""
    place = "" if problem.line is None else f" (line {problem.line}, column {problem.column})"
    hint = f"; did you mean {problem.suggestion!r}?" if problem.suggestion else ""
    return f"{problem.field or 'the body'}: {problem.msg}{place}{hint}"
