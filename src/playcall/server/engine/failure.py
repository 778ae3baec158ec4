"""How work ends early: of itself, or because somebody else took it over."""

from __future__ import annotations

from typing import Any

from ...models import Failure
from ..tools.context import printable

__all__ = ["StepFailed", "Superseded", "failure_of"]

_MAX_MESSAGE_CHARACTERS = 2_000


class StepFailed(Exception):
    """A step or operation failed: a stable `code`, and a sentence for people.

    `is_final` ends the step whatever its operations are to do about failures. `output` is what the step has to show
    all the same, and `go_to` where the run goes on: only a whole step has them.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        is_final: bool = False,
        # An output is whatever JSON holds.
        output: Any = None,
        go_to: str | None = None,
    ) -> None:
        self.code = code
        self.message = printable(message)
        self.is_final = is_final
        self.output = output
        self.go_to = go_to
        super().__init__(self.message)

    def __reduce__(self) -> tuple[type[StepFailed], tuple[str, str], dict[str, Any]]:
        return (type(self), (self.code, self.message), dict(self.__dict__))


class Superseded(Exception):
    """Another segment has the run, or it has ended: whoever sees this stops and writes nothing more."""


def failure_of(code: str, message: str) -> Failure:
    """With a message that is sure to fit an event, and that can be stored."""
    message = printable(message)
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = message[:_MAX_MESSAGE_CHARACTERS] + "…"
    return Failure(code=code, message=message)
