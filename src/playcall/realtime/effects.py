"""What the session asks of whoever drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import PlaycallError
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..models.frames import AuthFrame, Credit, Hello, Ping, Pong, Subscribe, Unsubscribe
from .items import Gap
from .states import StateChange

__all__ = [
    "Answered",
    "CheckIdentity",
    "Connect",
    "DeclareGap",
    "Deliver",
    "Disconnect",
    "Effect",
    "End",
    "Moved",
    "RefreshToken",
    "RenewCredentials",
    "Send",
    "SentFrame",
]

SentFrame: TypeAlias = Hello | Subscribe | Credit | Unsubscribe | AuthFrame | Ping | Pong


@dataclass(frozen=True, slots=True)
class Connect:
    """Get the current credentials and open a connection; answer with `opened`, `refused`, `lost` or `no_credentials`."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection, or give up opening it. Nothing of it may be reported afterwards."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    frame: SentFrame


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """The credentials of the last attempt were refused; answer with `renewed`."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The token in use will expire: get a newer one; answer with `token`."""


@dataclass(frozen=True, slots=True)
class CheckIdentity:
    """The upgrade was forbidden: ask over HTTP who the caller is; answer with `identity`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The server has accepted the subscription; it begins at `cursor`."""

    key: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Deliver:
    """Events in order, possibly none; everything up to `to` has been received with them."""

    key: int
    events: Sequence[AnyEvent]
    to: Cursor


@dataclass(frozen=True, slots=True)
class DeclareGap:
    key: int
    gap: Gap


@dataclass(frozen=True, slots=True)
class End:
    """The subscription is over; `error` is None when its topic has come to its end."""

    key: int
    error: PlaycallError | None


@dataclass(frozen=True, slots=True)
class Moved:
    """The connection's state has changed."""

    change: StateChange


Effect: TypeAlias = (
    Connect
    | Disconnect
    | Send
    | RenewCredentials
    | RefreshToken
    | CheckIdentity
    | Answered
    | Deliver
    | DeclareGap
    | End
    | Moved
)
