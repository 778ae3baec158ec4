"""Where in what the caller sent an error lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from playcall.models import FieldProblem

__all__ = ["MAX_PROBLEMS", "clean_loc", "field_problems"]

MAX_PROBLEMS = 100


def clean_loc(loc: Sequence[str | int], value: object, *, missing: bool) -> tuple[str | int, ...]:
    """The path through the caller's own value, without the names of union members that pydantic puts in between.

    Args:
        missing: The last element names a field that is not there, and stays.
    """
    cleaned: list[str | int] = []
    for position, element in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(value, dict) and element in value:
            cleaned.append(element)
            value = cast("dict[str | int, object]", value)[element]
        elif isinstance(value, list) and isinstance(element, int) and 0 <= element < len(cast("list[object]", value)):
            cleaned.append(element)
            value = cast("list[object]", value)[element]
        elif last and missing:
            cleaned.append(element)
    return tuple(cleaned)


def field_problems(error: ValidationError, value: object) -> list[FieldProblem]:
    """What a model found wrong with a body, `loc` from the body's root; a path is reported once for each message.

    Of very many, the first `MAX_PROBLEMS`: nobody reads more, and an answer should not be larger than what it answers.
    """
    return _unique(
        _problem(item, value) for item in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    )


def _problem(item: ErrorDetails, value: object) -> FieldProblem:
    loc = list(clean_loc(item["loc"], value, missing=item["type"] == "missing"))
    context = item.get("ctx")
    if item["type"] == "union_tag_not_found" and context is not None:
        return _without_tag([*loc, context["discriminator"].strip("'")], value)
    if item["type"] != "union_tag_invalid" or context is None:
        return FieldProblem(loc=loc, msg=item["msg"], type=item["type"])
    # Pydantic points at the object and speaks of tags; people know the field.
    given, known = str(context["tag"]), re.findall(r"'([^']*)'", context["expected_tags"])
    field = context["discriminator"].strip("'")
    return FieldProblem(
        loc=[*loc, field],
        msg=f"there is no {field} {given!r}; there are {', '.join(known)}",
        type=item["type"],
        suggestion=next(iter(get_close_matches(given, known, n=1)), None),
    )


def _without_tag(loc: list[str | int], value: object) -> FieldProblem:
    """What kind the object is, is not said, so nothing else of it could be looked at: a slip in the name is told here."""
    *path, field = loc
    for element in path:
        value = cast("dict[str | int, object]", value)[element]
    names = [str(name) for name in cast("dict[object, object]", value)] if isinstance(value, dict) else []
    slip = next(iter(get_close_matches(str(field), names, n=1)), None)
    said = "Field required" if slip is None else f"Field required; is {slip!r} meant to be {field!r}?"
    return FieldProblem(loc=loc, msg=said, type="missing")


def _unique(problems: Iterable[FieldProblem]) -> list[FieldProblem]:
    """In order. Unions report the same thing for several members."""
    seen: dict[tuple[tuple[str | int, ...], str], FieldProblem] = {}
    for problem in problems:
        seen.setdefault((tuple(problem.loc), problem.msg), problem)
    return list(seen.values())
