"""What a step type is given to work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ....models import JsonObject

__all__ = ["MAX_TASKS_OF_RUN", "Operation", "StepWork"]

MAX_TASKS_OF_RUN = 10_000
"""Operations of all steps, tries among them: what loops within their own bounds could make far too many."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of an agent's tool.

    `effect` names within the step what it is to bring about: two operations of one effect are tries of the same, and a
    far end that honours idempotency keys does it once. `note` tells people which operation of its step it is.
    """

    agent: str
    operation: str
    parameters: JsonObject
    effect: str = "0"
    note: str = ""
    names: Mapping[str, Any] | None = None
    """What the parameters' templates can name beside inputs and steps; None: they have been rendered."""


class StepWork(Protocol):
    @property
    def names(self) -> Mapping[str, Any]:
        """`inputs` and `steps`."""
        ...

    async def render(self, parameters: JsonObject) -> JsonObject:
        """
        Raises:
            StepFailed: `template_failed`.
        """
        ...

    async def do(self, *operations: Operation) -> list[Any]:
        """Their outputs, in order; all are worked on at once. What was done before a crash gives what it gave then.

        Raises:
            StepFailed: One of them failed, and the others have been stopped.
        """
        ...

    async def pause(self, seconds: float) -> None:
        """Before the next operation, unless that was begun before a crash."""
        ...
