"""What one rendering may use, and how it is counted: rounds of its loops, characters it makes, work of its filters."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

__all__ = [
    "MAX_INTEGER_BITS",
    "MAX_OUTPUT_CHARACTERS",
    "MAX_ROUNDS",
    "MAX_WORK",
    "TemplateProblem",
    "budget",
    "count",
    "is_list",
    "is_object",
    "is_tuple",
    "require_small",
    "tick",
    "weigh",
    "within_budget",
]

T = TypeVar("T")

MAX_OUTPUT_CHARACTERS = 8_000_000
MAX_ROUNDS = 500_000
"""Rounds of all loops and calls of all macros of one rendering together."""
MAX_WORK = 200_000_000
"""Characters and items that all filters, operators and methods of one rendering take and make together."""
MAX_INTEGER_BITS = 4_096
"""Some 1,200 digits; Python writes no more than 4,300."""


class TemplateProblem(Exception):
    """The template cannot be read, or could not be rendered; the message says why."""


class Budget:
    """What one rendering has left."""

    def __init__(self) -> None:
        self.rounds = MAX_ROUNDS
        self.characters = MAX_OUTPUT_CHARACTERS
        self.work = MAX_WORK

    def spend_round(self) -> None:
        self.rounds -= 1
        if self.rounds < 0:
            raise TemplateProblem(f"the template needs more than {MAX_ROUNDS} rounds of its loops")

    def spend_characters(self, count: int) -> None:
        self.characters -= count
        if self.characters < 0:
            raise TemplateProblem(f"the template makes more than {MAX_OUTPUT_CHARACTERS} characters")

    def spend_work(self, count: int) -> None:
        self.work -= count
        if self.work < 0:
            raise TemplateProblem(f"the template works on more than {MAX_WORK} characters and items")


_current: contextvars.ContextVar[Budget] = contextvars.ContextVar("template_budget")


def budget() -> Budget:
    """Of the rendering that is under way."""
    return _current.get()


def within_budget(work: Callable[[], T]) -> T:
    """`work` is one rendering, or a part of the one that is under way."""
    if _current.get(None) is not None:
        return work()
    token = _current.set(Budget())
    try:
        return work()
    finally:
        _current.reset(token)


def tick() -> str:
    """Stands at the head of each loop's and macro's body."""
    budget().spend_round()
    return ""


def count(value: Any) -> Any:
    """Stands before each output, also into a variable: its size counts, and that of all it holds."""
    left = budget()
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            left.spend_characters(len(item))
        elif is_object(item):
            left.spend_round()
            pending.extend(item.values())
        elif is_list(item) or is_tuple(item):
            left.spend_round()
            pending.extend(item)
    return value


def weigh(value: Any, *, deep: bool = True) -> Any:
    """Spends what a value holds, however often it holds it; lazy sequences are weighed by whoever takes them."""
    left = budget()
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, (str, bytes)):
            left.spend_work(1 + len(item))
        elif is_object(item) or is_list(item) or is_tuple(item):
            # To look into it takes as long as many characters do.
            left.spend_work(400 + 40 * len(item) if deep else 1 + len(item))
            if deep:
                pending.extend(item.values() if is_object(item) else item)
        elif isinstance(item, int):
            require_small(item)
    return value


def require_small(number: int) -> None:
    if number.bit_length() > MAX_INTEGER_BITS:
        raise TemplateProblem(f"an integer of more than {MAX_INTEGER_BITS} bits")


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)
