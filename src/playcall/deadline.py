"""The time that a call may take, nested by context.

    with deadline(5):
        client.playbooks.get(a)      # both calls, with their retries,
        client.runs.get(b)           # end within five seconds

A deadline can only shorten: inside a longer one, the shorter holds. It serves both faces, and follows the context into
tasks and threads that copy it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from .errors import InvalidArgumentError

__all__ = ["check_seconds", "deadline", "nearest"]

_FLOAT_MAX: Final = sys.float_info.max
_ends_at: ContextVar[float | None] = ContextVar("playcall_deadline", default=None)


def check_seconds(seconds: float, name: str) -> float:
    """The same number, if it is a positive, finite number of seconds.

    Raises:
        InvalidArgumentError: it is not.
    """
    # A bool is an int to Python, but never meant as seconds; inf and nan fail the comparison.
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _FLOAT_MAX:  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"{name} must be a positive number of seconds, got {seconds!r}")
    return float(seconds)


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Bounds everything inside by `seconds` from now.

    Raises:
        InvalidArgumentError: `seconds` is not a positive, finite number.
    """
    token = _ends_at.set(nearest(check_seconds(seconds, "a deadline")))
    try:
        yield
    finally:
        _ends_at.reset(token)


def nearest(seconds: float | None, now: float | None = None) -> float | None:
    """The `time.monotonic()` moment by which a call that may take `seconds` from `now` must end; None for no bound."""
    outer = _ends_at.get()
    if seconds is None:
        return outer
    own = (time.monotonic() if now is None else now) + seconds
    return own if outer is None or own < outer else outer
