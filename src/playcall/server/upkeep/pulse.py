"""When this process's engine last had a look at the database: for whoever asks whether the process can work."""

from __future__ import annotations

import time

__all__ = ["Pulse", "engine_pulse"]


class Pulse:
    def __init__(self) -> None:
        self._at: float | None = None

    def beat(self) -> None:
        """It has looked, and got its answer."""
        self._at = time.monotonic()

    def age_seconds(self) -> float | None:
        """None: it has not looked yet."""
        return None if self._at is None else time.monotonic() - self._at


engine_pulse = Pulse()
"""A process has one engine."""
