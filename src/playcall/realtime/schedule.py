"""When to connect again (docs/realtime-protocol.md, «The client», rule 7): arithmetic over a count and a random number."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CAP_SECONDS", "FIRST_SECONDS", "SETTLED_SECONDS", "delay_seconds", "spread_seconds", "told_seconds"]

FIRST_SECONDS = 0.25
CAP_SECONDS = 20.0
SETTLED_SECONDS = 10.0
"""READY must have lasted this long before failures are counted from 0 again; a handshake alone proves nothing."""


def delay_seconds(failures: int, random: Callable[[], float]) -> float:
    """The pause after a lost connection: none the first time, then between half and the whole of a doubling cap.

    Args:
        failures: Connections lost before this one since the last that settled.
        random: Uniform in [0, 1).
    """
    if failures <= 0:
        return 0.0
    cap = min(CAP_SECONDS, FIRST_SECONDS * 2.0 ** min(failures, 30))
    return cap / 2 + random() * cap / 2


def told_seconds(retry_after_seconds: float, random: Callable[[], float]) -> float:
    """At least as long as the server asked for, and up to a second more: those who were told the same must not come at once."""
    return retry_after_seconds + random() * min(1.0, retry_after_seconds)


def spread_seconds(reconnect_after_ms: int, spread_ms: int, random: Callable[[], float]) -> float:
    """When to move after a `goodbye`: everybody at a moment of their own within the spread."""
    return (max(0, reconnect_after_ms) + random() * max(0, spread_ms)) / 1000
