"""The time that a step may take: counted while anything of it works, so not while it waits for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["StepTime"]

_TOO_LITTLE_SECONDS = 0.001
"""What is left when a tool has been stopped at the end of the time, give or take the clock's resolution."""


class StepTime:
    """Of one attempt of a step. After a crash it begins anew, with what is done again."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._used = 0.0
        self._at_work = 0
        self._since = 0.0

    @contextmanager
    def working(self) -> Generator[None]:
        """Several at the same time count once."""
        clock = asyncio.get_running_loop().time
        if self._at_work == 0:
            self._since = clock()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            if self._at_work == 0:
                self._used += clock() - self._since

    @property
    def left(self) -> float | None:
        """Seconds, or None without a limit."""
        if self.seconds is None:
            return None
        running = asyncio.get_running_loop().time() - self._since if self._at_work else 0.0
        return max(0.0, round(self.seconds - self._used - running, 3))  # people read it

    @property
    def is_up(self) -> bool:
        left = self.left
        return left is not None and left < _TOO_LITTLE_SECONDS
