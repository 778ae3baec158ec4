"""The states of a connection and of a subscription, and the picture of both that users see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from ..models.cursor import Cursor

__all__ = [
    "ConnectionState",
    "Identity",
    "Outage",
    "RealtimePicture",
    "Standing",
    "StateChange",
    "SubscriptionChange",
    "SubscriptionPicture",
    "SubscriptionState",
    "Tally",
]


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


Identity: TypeAlias = Literal["known", "expired", "refused"]
"""What HTTP says of our credentials: 200, 401 (newer ones may do), or 403."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """One transition of the connection. `why` is a sentence for people, without secrets."""

    old: ConnectionState
    new: ConnectionState
    why: str


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """One transition of a subscription. `key` tells several of one topic apart."""

    key: int
    topic: str
    types: tuple[str, ...] | None
    old: SubscriptionState
    new: SubscriptionState


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without a connection: why it began, and how long it took until READY again."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of events received (once each), of those sent again and dropped, and of gaps.

    Of a server with a contract of its own also the messages that could not be read, and those that were no events, or
    nobody's.
    """

    received: int
    repeated: int
    gaps: int
    unreadable: int = 0
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a session sees one subscription; `head` is the newest entry of the log that was heard of."""

    key: int
    topic: str
    types: tuple[str, ...] | None
    state: SubscriptionState
    received: Cursor | None
    head: int | None


@dataclass(frozen=True, slots=True)
class SubscriptionPicture:
    """How one subscription stands.

    `received` is None until the server has fixed where it begins. `lag` is how many log entries it is behind the newest
    that was heard of, None while that is not known. `buffered` waits for the consumer.
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

    `transport` is what carries the events, `websocket` or `long_poll`; `fallback` says why it is not the WebSocket that
    was to be used. `problem` is the last thing that went wrong, None if nothing did. `retry_in_seconds` is set in BACKOFF.
    `repeated` events were sent again by the server and dropped here. `latency_seconds` is the last measured round trip.
    `outages` are the last few, the oldest first. `set_aside` events wait for a `replay()` of their handlers.
    `unreadable` and `passed_over` count messages of a server with a contract of its own, as in `Tally`.
    """

    state: ConnectionState
    transport: str
    fallback: str | None
    connection_id: str | None
    problem: str | None
    retry_in_seconds: float | None
    latency_seconds: float | None
    attempts: int
    reconnects: int
    received: int
    repeated: int
    gaps: int
    set_aside: int
    outages: tuple[Outage, ...]
    subscriptions: tuple[SubscriptionPicture, ...]
    unreadable: int = 0
    passed_over: int = 0
