"""How many retries a client has in hand."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

__all__ = ["RetryBudget"]


@dataclass(slots=True)
class RetryBudget:
    """A token bucket over all calls of a client, so that an outage is not multiplied by the retries against it."""

    capacity: int | None
    _tokens: float = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tokens = float(self.capacity or 0)

    @property
    def tokens(self) -> float:
        """Retries in hand; infinite without a capacity."""
        return math.inf if self.capacity is None else self._tokens

    def take(self) -> bool:
        """Spends a token on a retry; False if there is none."""
        if self.capacity is None:
            return True
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def earn(self) -> None:
        """A call succeeded."""
        if self.capacity is not None and self._tokens < self.capacity:
            with self._lock:
                self._tokens = min(float(self.capacity), self._tokens + 0.1)
