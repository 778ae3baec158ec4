"""Which event types a subscription wants: `*` in a pattern matches any run of characters, dots included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

__all__ = ["MAX_PATTERNS", "MAX_PATTERN_LENGTH", "TypeFilter", "matches", "type_filter"]

MAX_PATTERNS = 100
MAX_PATTERN_LENGTH = 200

TypeFilter: TypeAlias = Callable[[str], bool]


def type_filter(patterns: Sequence[str] | None) -> TypeFilter:
    """Any of the patterns; None wants everything.

    Raises:
        ValueError: Too many patterns, or one is too long.
    """
    if patterns is None:
        return lambda _type: True
    if len(patterns) > MAX_PATTERNS or any(len(pattern) > MAX_PATTERN_LENGTH for pattern in patterns):
        raise ValueError(f"types takes up to {MAX_PATTERNS} patterns of up to {MAX_PATTERN_LENGTH} characters")
    wanted = tuple(patterns)
    return lambda name: any(matches(pattern, name) for pattern in wanted)


def matches(pattern: str, type: str) -> bool:
    """Greedy from the left, which is right for `*` alone and never backtracks, whatever the pattern."""
    head, *rest = pattern.split("*")
    if not rest:
        return type == head
    *middle, tail = rest
    if not type.startswith(head):
        return False
    at = len(head)
    for part in middle:
        found = type.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(type) - at >= len(tail) and type.endswith(tail)
