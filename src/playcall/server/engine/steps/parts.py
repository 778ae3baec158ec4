"""What a step refers to, as data: the same for every type, so that one validation reads them all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ....models import JsonObject

__all__ = [
    "Condition",
    "Loc",
    "Mistake",
    "Names",
    "OperationUse",
    "Part",
    "Templates",
    "entry_use",
    "order_mistakes",
    "unused",
]

Loc: TypeAlias = tuple[str | int, ...]
Names: TypeAlias = Mapping[str, Collection[str] | int | None]
"""What can be named beside inputs and steps; with the keys that there are, or the length of a list, where they are known."""


@dataclass(frozen=True, slots=True)
class OperationUse:
    agent_loc: Loc
    agent: str
    operation_loc: Loc
    operation: str


@dataclass(frozen=True, slots=True)
class Templates:
    """Every string in `value` is a template. `missing` are names that this type knows, but that have nothing here yet."""

    loc: Loc
    value: Any
    names: Names
    missing: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """`after`: the step itself has ended by then, so its own output is there."""

    loc: Loc
    condition: str
    names: Names
    missing: Collection[str] = ()
    after: bool = False


@dataclass(frozen=True, slots=True)
class Mistake:
    """`among`: the names of which the closest is suggested for `name`."""

    loc: Loc
    message: str
    kind: str
    name: str = ""
    among: Collection[str] = ()


Part: TypeAlias = OperationUse | Templates | Condition | Mistake


def entry_use(loc: Loc, entry: str) -> OperationUse:
    """Of `Agent:operation`."""
    agent, _, operation = entry.partition(":")
    return OperationUse(loc, agent, loc, operation)


def order_mistakes(conditions: Sequence[tuple[Loc, str]]) -> Iterator[Mistake]:
    """Of conditions of which the first that holds wins: those that are never looked at, or never win."""
    before: set[str] = set()
    always = False
    for loc, condition in conditions:
        text = " ".join(condition.split())
        if always:
            yield Mistake(
                loc, "an earlier condition always holds, so this one is never looked at", "condition_unreachable"
            )
        elif text in before:
            yield Mistake(loc, "the same condition stands before it, so this one never wins", "condition_unreachable")
        before.add(text)
        always = always or text.lower() == "true"


def unused(parameters: JsonObject, own: Sequence[JsonObject]) -> Iterator[Mistake]:
    """The step's parameters, if every operation has its own."""
    if parameters and all(own):
        message = "every operation has parameters of its own, so nothing gets these"
        yield Mistake(("parameters",), message, "parameters_unused")
