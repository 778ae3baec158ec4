"""What a long proof says while it runs, and what it has measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

__all__ = ["MEASURED", "Notes", "spread_of"]

MEASURED = "measured"
"""The name of these user properties: they travel with the reports, from pytest-xdist's workers too."""


class Notes:
    """`properties`: the test's user properties."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties
        self._began_at = time.monotonic()

    def progress(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_at:7.1f} s  {text}", flush=True)

    def measured(self, what: str, value: object) -> None:
        self._properties.append((MEASURED, (what, str(value))))
        self.progress(f"{what}: {value}")


def spread_of(seconds: Sequence[float]) -> str:
    """Median, 95th percentile and the worst of them, in words."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    nearly_all = ordered[math.ceil(len(ordered) * 0.95) - 1]
    return f"median {statistics.median(ordered):.2f} s, 95% {nearly_all:.2f} s, worst {ordered[-1]:.2f} s (n={len(ordered)})"
