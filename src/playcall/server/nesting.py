"""How deep JSON is nested. Parsers stop at some depth, each at its own: what is stored must be readable by all of them."""

from __future__ import annotations

from typing import Any, cast

__all__ = ["MAX_LEVELS", "is_deeper", "items_of"]

MAX_LEVELS = 64
"""Of objects and lists in each other, in anything that a caller sends."""


def is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more than so many objects and lists in each other. `Any`: it is any JSON."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not level:
            return False
        level = [inner for outer in level for inner in items_of(outer) if isinstance(inner, dict | list)]
    return bool(level)


def items_of(value: Any) -> Any:
    """What an object or a list holds."""
    return cast("dict[str, Any]", value).values() if isinstance(value, dict) else value
