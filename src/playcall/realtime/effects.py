"""What the session asks of whoever drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import PlaycallError
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..models.frames import AuthFrame, Credit, Hello, Ping, Pong, Subscribe, Unsubscribe
from .items import Gap, Snapshot
from .plain_items import PlainEvent, PlainGap
from .states import StateChange, SubscriptionChange

__all__ = [
    "Answered",
    "CheckIdentity",
    "Connect",
    "DeclareGap",
    "Deliver",
    "DeliverSnapshot",
    "Disconnect",
    "Effect",
    "End",
    "Give",
    "Introduce",
    "Moved",
    "Probe",
    "Puzzled",
    "RefreshToken",
    "RenewCredentials",
    "Send",
    "SendText",
    "SentFrame",
    "SubscriptionMoved",
    "TakeSnapshot",
    "TellGap",
    "TokenTaken",
]

SentFrame: TypeAlias = Hello | Subscribe | Credit | Unsubscribe | AuthFrame | Ping | Pong


@dataclass(frozen=True, slots=True)
class Connect:
    """Get the current credentials and open a connection; answer with `opened`, `refused`, `lost` or `no_credentials`.

    `fallback`: by the second way, not by the WebSocket.
    """

    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection, or give up opening it. Nothing of it may be reported afterwards."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    frame: SentFrame


@dataclass(frozen=True, slots=True)
class SendText:
    """A message of somebody else's contract; `topic` is the one that it is about, None if it is about none."""

    text: str = field(repr=False)
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class Introduce:
    """Answer with `introduce`: the token that belongs to this connection goes in a message."""


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """The credentials of the last attempt were refused; answer with `renewed`."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The token in use will expire: get a newer one; answer with `token`."""


@dataclass(frozen=True, slots=True)
class TokenTaken:
    """The newer token that was sent in-band has been accepted."""


@dataclass(frozen=True, slots=True)
class CheckIdentity:
    """The upgrade was forbidden: ask over HTTP who the caller is; answer with `identity`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """See whether a WebSocket can be opened again, beside the connection that there is: dial, send `greeting`, and be
    answered. Answer with `probed`."""

    greeting: SentFrame


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Read the state of the topic that `gap` is in over HTTP; answer with `snapshot` or `no_snapshot`.

    One that is under way for this key already is enough.
    """

    key: int
    gap: Gap


@dataclass(frozen=True, slots=True)
class Answered:
    """The server has accepted the subscription; it begins at `cursor`, None where the server knows none."""

    key: int
    cursor: Cursor | None


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
class DeliverSnapshot:
    key: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Give:
    """One event of a server that knows no cursors."""

    key: int
    event: PlainEvent


@dataclass(frozen=True, slots=True)
class TellGap:
    """Events of a server that knows no cursors may be missing; `in_stream` where the consumer asked to have it there."""

    key: int
    gap: PlainGap
    in_stream: bool


@dataclass(frozen=True, slots=True)
class Puzzled:
    """The first message of a connection that could not be read, or not all of it, for the log; more are only counted."""

    why: str


@dataclass(frozen=True, slots=True)
class End:
    """The subscription is over; `error` is None when its topic has come to its end."""

    key: int
    error: PlaycallError | None


@dataclass(frozen=True, slots=True)
class Moved:
    """The connection's state has changed."""

    change: StateChange


@dataclass(frozen=True, slots=True)
class SubscriptionMoved:
    """A subscription's state has changed."""

    change: SubscriptionChange


Effect: TypeAlias = (
    Connect
    | Disconnect
    | Send
    | SendText
    | Introduce
    | RenewCredentials
    | RefreshToken
    | TokenTaken
    | CheckIdentity
    | Probe
    | TakeSnapshot
    | Answered
    | Deliver
    | DeclareGap
    | DeliverSnapshot
    | Give
    | TellGap
    | Puzzled
    | End
    | Moved
    | SubscriptionMoved
)
