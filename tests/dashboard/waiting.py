"""Waiting for a model that a thread moves: until it is as wanted, or for too long."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60.0


def until(holds: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, "it never came to be so"
        time.sleep(0.02)
