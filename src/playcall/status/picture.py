"""What the status shows: the states of a connection, and the picture at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["ConnectionState", "Status"]


class ConnectionState(StrEnum):
    CONNECTING = "connecting"
    """Nothing has been heard from the backend yet."""
    ONLINE = "online"
    """The backend answers; a 404 is an answer too."""
    DEGRADED = "degraded"
    """It answers some: attempts fail, answers are 5xx or 429, or events are being reconnected."""
    OFFLINE = "offline"
    """The last call got no answer at all."""
    AUTH_FAILED = "auth_failed"
    """The credentials are refused, or cannot be had."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Status:
    """The picture at one moment. Figures are over the last 256 attempts; None where there were none."""

    state: ConnectionState
    since: datetime
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    success_rate: float | None
    last_error: str | None
    in_flight: int
    waiting: int
    """Calls that wait for a slot."""
    retry_tokens: float
    """Retries in hand; infinite without a budget."""
    realtime: str | None
    """The state of the events' connection, by its name in docs/realtime.md; None if there has been none."""
    reconnects: int
