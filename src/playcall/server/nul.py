"""The one character that cannot be kept: NUL. JSON, YAML, a path and a query can say it; PostgreSQL's text and JSONB
refuse it, where SQLite takes it. So it is refused wherever a caller may send it, whichever database there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast

from starlette.requests import Request

from playcall.models import FieldProblem

from .nesting import items_of
from .problems import ApiError, invalid

__all__ = ["NO_NUL", "has_nul", "has_nul_within", "nul_refused", "require_no_nul_in_json", "require_no_nul_in_url"]

NUL: Final = "\0"
NO_NUL: Final = "a text cannot have the character NUL (U+0000)"

Loc: TypeAlias = tuple[str | int, ...]


def has_nul(value: object) -> bool:
    return isinstance(value, str) and NUL in value


def has_nul_within(text: str, value: Any) -> bool:
    """Whether a text in `value` has one; `text` is the JSON that says it. `Any`: it is any JSON."""
    # In JSON it can only be escaped; so that is looked for first, which costs nothing.
    return "\\u0000" in text and any(True for _ in _places(value, ()))


def require_no_nul_in_json(body: bytes, value: Any) -> None:
    """`value` is what the body says. `Any`: it is any JSON.

    Raises:
        ApiError: 422, with every place.
    """
    if b"\\u0000" in body and (places := list(_places(value, ("body",)))):
        raise nul_refused(places)


def require_no_nul_in_url(request: Request) -> None:
    """
    Raises:
        ApiError: 422, with every place.
    """
    places: list[Loc] = [("path", name) for name, value in request.path_params.items() if has_nul(value)]
    if b"%00" in request.scope["query_string"]:
        places += [("query", name) for name, value in request.query_params.multi_items() if has_nul(name + value)]
    if places:
        raise nul_refused(places)


def nul_refused(places: Iterable[Loc]) -> ApiError:
    """A key that has one is named with the character left out, so that the answer can be kept by whoever gets it."""
    errors = [
        FieldProblem(
            loc=[part.replace(NUL, "") if isinstance(part, str) else part for part in place], msg=NO_NUL, type="nul"
        )
        for place in places
    ]
    return invalid(NO_NUL, errors[:100])


def _places(value: Any, loc: Loc) -> Iterable[Loc]:
    """Recursion is bounded: what is nested too deep has been refused before."""
    if isinstance(value, str):
        if NUL in value:
            yield loc
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            if NUL in name:
                yield (*loc, name)
            yield from _places(inner, (*loc, name))
    elif isinstance(value, list):
        for index, inner in enumerate(items_of(value)):
            yield from _places(inner, (*loc, index))
