"""The frames of the realtime contract (docs/realtime-protocol.md, «Frames»), and of its long poll.

Client frames are small and written often. Of the server's, events are what there is much of: that frame is a struct
(`models/struct.py`), and the rest are models.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from .base import WireModel
from .cursor import Cursor
from .event import AnyEvent
from .ids import EventId
from .struct import WireStruct

SUBPROTOCOL = "playcall.v1"
VERSION = 1


class WireCursor(WireModel, frozen=True):
    """A cursor as a frame carries it; `id` is the event at `seq`, where the sender knows it."""

    epoch: str
    seq: int
    id: EventId | None = None

    @classmethod
    def of(cls, cursor: Cursor) -> WireCursor:
        return cls(epoch=cursor.epoch, seq=cursor.seq, id=cursor.event_id)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.seq, self.id)


# --- by the client -----------------------------------------------------------------------------------------------------


class Hello(WireModel, frozen=True):
    op: Literal["hello"] = "hello"
    v: int = VERSION
    client: str = ""
    token: str | None = Field(default=None, repr=False)


class Subscribe(WireModel, frozen=True, validate_by_name=True, serialize_by_alias=True):
    """`from_` is `from` on the wire."""

    op: Literal["subscribe"] = "subscribe"
    id: int
    sid: str
    topic: str
    types: list[str] | None = None
    from_: Annotated[WireCursor | Literal["start", "head"], Field(alias="from")]
    limit: int


class Credit(WireModel, frozen=True):
    """`limit`: events that may be sent in all on this sid since `subscribed`; never falls."""

    op: Literal["credit"] = "credit"
    sid: str
    limit: int


class Unsubscribe(WireModel, frozen=True):
    op: Literal["unsubscribe"] = "unsubscribe"
    id: int
    sid: str


class AuthFrame(WireModel, frozen=True):
    op: Literal["auth"] = "auth"
    id: int
    token: str = Field(repr=False)


# --- by both -----------------------------------------------------------------------------------------------------------


class Ping(WireModel, frozen=True):
    """The server's says in `at` how far each subscription has been sent."""

    op: Literal["ping"] = "ping"
    n: int
    at: dict[str, int] | None = None


class Pong(WireModel, frozen=True):
    op: Literal["pong"] = "pong"
    n: int


# --- by the server -----------------------------------------------------------------------------------------------------


class Welcome(WireModel, frozen=True):
    op: Literal["welcome"] = "welcome"
    v: int = VERSION
    connection_id: str
    heartbeat_seconds: float
    max_frame_bytes: int
    token_expires_in_seconds: float | None = None


class Subscribed(WireModel, frozen=True):
    """It begins after `seq`; `at_id` is the event there, None where none is kept."""

    op: Literal["subscribed"] = "subscribed"
    id: int
    sid: str
    epoch: str
    seq: int
    head: int
    at_id: EventId | None = None


class Events(WireStruct, frozen=True, kw_only=True):
    """The matching events in (`prev`, `to`] are exactly these, possibly none.

    `head` is the log's last entry when it was read. `at_id` is the entry at `to`, where that is not the last of `events`.
    """

    op: Literal["events"] = "events"
    sid: str
    prev: int
    to: int
    events: list[AnyEvent]
    head: int | None = None
    at_id: EventId | None = None

    @property
    def id_at_end(self) -> EventId | None:
        """The id of the entry at `to`, whether it is among `events` or was left out; None where it was not said."""
        return self.events[-1].id if self.events and self.events[-1].seq == self.to else self.at_id


class Gap(WireModel, frozen=True):
    """`reason` is open: `expired`, `epoch` or `ahead` today. Ends the subscription."""

    op: Literal["gap"] = "gap"
    sid: str
    reason: str
    lost_after: WireCursor
    resume: WireCursor


class Ended(WireModel, frozen=True):
    """`reason` is open: `forbidden`, `deleted` or `finished` today. Ends the subscription."""

    op: Literal["ended"] = "ended"
    sid: str
    reason: str
    retry: bool = False


class Unsubscribed(WireModel, frozen=True):
    op: Literal["unsubscribed"] = "unsubscribed"
    id: int
    sid: str


class Authenticated(WireModel, frozen=True):
    op: Literal["authenticated"] = "authenticated"
    id: int
    token_expires_in_seconds: float | None = None


class ErrorFrame(WireModel, frozen=True):
    op: Literal["error"] = "error"
    id: int | None = None
    sid: str | None = None
    code: str
    message: str
    retry: bool = False


class Goodbye(WireModel, frozen=True):
    op: Literal["goodbye"] = "goodbye"
    reason: str
    reconnect_after_ms: int = 0
    spread_ms: int = 0


class UnknownFrame(WireModel, frozen=True):
    """An `op` this version does not know; ignored, as the contract says."""

    op: str


ClientFrame: TypeAlias = Annotated[
    Hello | Subscribe | Credit | Unsubscribe | AuthFrame | Ping | Pong, Field(discriminator="op")
]
RareServerFrame: TypeAlias = Annotated[
    Welcome | Subscribed | Gap | Ended | Unsubscribed | Authenticated | ErrorFrame | Goodbye | Ping | Pong,
    Field(discriminator="op"),
]
"""All but the one that there are many of, which is read by other means."""
KnownServerFrame: TypeAlias = Events | RareServerFrame
PollFrame: TypeAlias = Annotated[Events | Gap | Ended, Field(discriminator="op")]


def _of_a_new_kind(frame: UnknownFrame) -> UnknownFrame:
    if frame.op in ("events", "gap", "ended"):
        raise ValueError(f"a frame {frame.op!r} lacks a field, or has one of the wrong type")
    return frame


class EventPage(WireModel, frozen=True):
    """The answer of `GET /events`: the frames that a subscription from (`epoch`, `seq`) would have been sent.

    Their `sid` is the topic; `at_id` is the event at `seq`, where one is kept there. The next request goes on from the last `to`, or from `seq` where there is no frame. As on a
    socket, an unknown frame is passed over, and a known one that cannot be read is an error: it may hold events.
    """

    epoch: str
    seq: int
    head: int
    at_id: EventId | None = None
    frames: list[
        Annotated[
            PollFrame | Annotated[UnknownFrame, AfterValidator(_of_a_new_kind)], Field(union_mode="left_to_right")
        ]
    ]
