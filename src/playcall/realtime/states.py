"""The states of a connection and of a subscription, and the picture of both that users see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..models.cursor import Cursor

__all__ = ["ConnectionState", "RealtimePicture", "StateChange", "SubscriptionPicture", "SubscriptionState"]


class ConnectionState(StrEnum):
    IDLE = "idle"
    """Nothing is wanted, so nothing is connected."""
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    """The socket is open; `welcome` has not come yet."""
    READY = "ready"
    BACKOFF = "backoff"
    """Waiting before the next attempt."""
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"
    """Another attempt would not help. A new subscription tries anew."""


class SubscriptionState(StrEnum):
    PENDING = "pending"
    """Wanted; the server has not answered on this connection."""
    REPLAYING = "replaying"
    """Events are older than the head was when the server answered."""
    LIVE = "live"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One transition of the connection. `why` is a sentence for people, without secrets."""

    old: ConnectionState
    new: ConnectionState
    why: str


@dataclass(frozen=True, slots=True)
class SubscriptionPicture:
    """How one subscription stands.

    `received` is None until the server has fixed where it begins. `lag` is how many log entries it is behind the last
    head that was heard of, None while that is not known. `buffered` waits for the consumer.
    """

    topic: str
    types: tuple[str, ...] | None
    state: SubscriptionState
    received: Cursor | None
    lag: int | None
    buffered: int


@dataclass(frozen=True, slots=True)
class RealtimePicture:
    """How the connection stands, and what has happened since the client was made.

    `problem` is the last thing that went wrong, None if nothing did. `retry_in_seconds` is set in BACKOFF. `repeated`
    events were sent again by the server and dropped here. `latency_seconds` is the last measured round trip.
    """

    state: ConnectionState
    transport: str
    connection_id: str | None
    problem: str | None
    retry_in_seconds: float | None
    latency_seconds: float | None
    attempts: int
    reconnects: int
    received: int
    repeated: int
    gaps: int
    subscriptions: tuple[SubscriptionPicture, ...]
