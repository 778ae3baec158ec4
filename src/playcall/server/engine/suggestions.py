"""Problems of a playbook, and the names that were meant, perhaps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice

from ...models import FieldProblem

__all__ = ["Suggestions", "problem"]

MAX_MESSAGE_CHARACTERS = 1_000
MAX_COMPARISONS = 1_000
"""Of names, for suggestions, in all: each takes up to a tenth of a millisecond."""
COMPARISONS_AT_ONCE = 200
SUGGESTION_CHARACTERS = 64


class Suggestions:
    """Of one validation."""

    def __init__(self) -> None:
        self._comparisons = MAX_COMPARISONS

    def closest(self, name: str, known: Iterable[str]) -> str | None:
        """Comparing is slow: so few are compared, and those of similar length."""
        if not name or len(name) > SUGGESTION_CHARACTERS:
            return None
        likely = (other for other in known if abs(len(other) - len(name)) <= max(2, len(name) // 3))
        compared = list(islice(likely, min(COMPARISONS_AT_ONCE, self._comparisons)))
        self._comparisons -= len(compared)
        close = difflib.get_close_matches(name, compared, n=1)
        return close[0] if close else None


def problem(loc: Sequence[str | int], message: str, kind: str, suggestion: str | None = None) -> FieldProblem:
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "…"
    return FieldProblem(loc=list(loc), msg=message, type=kind, suggestion=suggestion)
