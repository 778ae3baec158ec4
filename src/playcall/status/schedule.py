"""When to probe an idle connection: arithmetic over its state, a count and a random number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from .picture import ConnectionState

__all__ = ["ProbeSchedule", "pause_seconds"]

SPREAD: Final = 0.2
"""How much longer than asked for a pause may be, as a share of it, so that many clients do not probe in step."""
FIRST_SECONDS: Final = 1.0
"""The pause, at most, before the first probe of a backend in trouble; doubled with each."""
TROUBLE_CAP_SECONDS: Final = 30.0
REFUSED_FACTOR: Final = 4.0
REFUSED_CAP_SECONDS: Final = 600.0
LEASE_SECONDS: Final = 10.0
"""How long a probe may be under way before another monitor no longer relies on it; it has a deadline of 5 s."""

_TROUBLE: Final = frozenset({ConnectionState.OFFLINE, ConnectionState.DEGRADED})


def pause_seconds(state: ConnectionState, probes: int, idle_seconds: float, random: float) -> float:
    """How long nothing may have been heard before the next probe.

    In trouble more often, so that the end of it is seen soon. With refused credentials seldom, because they rarely heal by
    themselves, and some backends lock an account that keeps trying.

    Args:
        probes: Made since it stands like this.
        idle_seconds: The pause while all is well.
        random: Uniform in [0, 1).
    """
    doubled = 2.0 ** min(probes, 30)
    if state in _TROUBLE:
        pause = min(FIRST_SECONDS * doubled, TROUBLE_CAP_SECONDS, idle_seconds)
        return pause / 2 + random * pause / 2
    if state is ConnectionState.AUTH_FAILED:
        pause = min(idle_seconds * REFUSED_FACTOR * doubled, max(REFUSED_CAP_SECONDS, idle_seconds))
    else:
        pause = idle_seconds
    return pause * (1 + SPREAD * random)


class ProbeSchedule:
    """What all monitors of one client share, so that several probe no more than one does. Its caller holds a lock."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._draw = random()  # once for each pause: whoever asks in the middle of it must hear the same
        self._probes = 0
        self._ended_at = -math.inf
        self._leased_until = -math.inf

    def moved(self, before: ConnectionState, after: ConnectionState) -> None:
        """The state is another; a backend that goes back and forth between two kinds of trouble is in one trouble."""
        if not {before, after} <= _TROUBLE:
            self._probes = 0
            self._draw = self._random()

    def due_at(self, state: ConnectionState, idle_seconds: float, heard_at: float) -> float:
        """When to probe. `heard_at`: the last fact of real traffic or of a probe."""
        last = max(heard_at, self._ended_at)  # a probe that could not even be sent has told no fact
        return max(last + pause_seconds(state, self._probes, idle_seconds, self._draw), self._leased_until)

    def begin(self, now: float) -> None:
        """A probe is made now; `end` must follow."""
        self._leased_until = now + LEASE_SECONDS
        self._probes += 1  # now, for if it changes the state it is counted with those before the change

    def end(self, now: float) -> None:
        self._leased_until = -math.inf
        self._ended_at = now
        self._draw = self._random()
