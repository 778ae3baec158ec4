"""The member of a JSON value at a path of names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

__all__ = ["member"]


def member(value: object, path: str) -> object:
    """The member at a path of names with dots between, None where there is none. A name may hold dots itself."""
    if not isinstance(value, Mapping):
        return None
    fields = cast("Mapping[str, object]", value)
    if path in fields:
        return fields[path]
    first, dot, rest = path.partition(".")
    return member(fields.get(first), rest) if dot else None
