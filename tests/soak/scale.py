"""How long the proofs of this folder are: short in `make test`, full in `make soak`."""

from __future__ import annotations

import os
import random
from typing import TypeVar

__all__ = ["FULL", "chosen_seed", "scaled"]

T = TypeVar("T")

FULL = os.environ.get("PLAYCALL_SOAK", "0") not in ("", "0")
"""Only there do tests judge by the clock: `make soak` has the machine to itself."""


def scaled(*, short: T, full: T) -> T:
    return full if FULL else short


def chosen_seed() -> int:
    """`PLAYCALL_SOAK_SEED` repeats what an earlier run printed; otherwise every run is another one."""
    given = os.environ.get("PLAYCALL_SOAK_SEED", "")
    return int(given) if given else random.SystemRandom().randrange(10**6)
