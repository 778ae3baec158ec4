"""What a subscription to somebody else's server gives: events, and what is known of those that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

__all__ = ["PlainEvent", "PlainGap", "PlainItem", "PlainOnGap"]

DataT = TypeVar("DataT", covariant=True, default=Any)
"""Any: of what type an event's data is, only the protocol's `models` can tell, at run time."""

PlainOnGap: TypeAlias = Literal["mark", "yield", "raise"]


@dataclass(frozen=True, slots=True)
class PlainGap:
    """Here events may be missing, and nobody can say which: the far end does not send again what it has sent once.

    `reason` is `disconnected` (there was no connection: events that the far end sent meanwhile are lost, if it sent any)
    or `overflow` (the consumer was so slow that `dropped` events had no room). After both it is `disconnected`, and
    `dropped` counts those of the second kind. The `seconds` end when the subscription is in force again, or with the last
    event dropped.

    `began_at` is when the connection was found broken, in UTC. What breaks without a word is found out later, within the
    protocol's `heartbeat_seconds` and half of it, or its `silence_seconds`.
    """

    topic: str
    reason: Literal["disconnected", "overflow"]
    began_at: datetime
    seconds: float
    dropped: int = 0

    def __str__(self) -> str:
        """A sentence without its end, for logs and errors."""
        return f"events of {self.topic!r} {self._what} from {self.began_at:%Y-%m-%d %H:%M:%SZ} on, for {self.seconds:.1f} s"

    @property
    def _what(self) -> str:
        if self.reason == "overflow":
            return f"were dropped, {self.dropped} of them, because their consumer was too slow,"
        return "may be missing, because there was no connection" + (
            f", and {self.dropped} were dropped," if self.dropped else ""
        )


@dataclass(frozen=True, slots=True)
class PlainEvent(Generic[DataT]):
    """One message of a server that has a contract of its own.

    `data` is what the message's model made of it; where no model is for the type, or it did not fit, as JSON has it, and
    `unreadable` says then what did not fit. `id` is None where the server gives none. `received_at` is in UTC, ours.
    `after_gap` is set on the first event after a gap, whether or not the gap itself stands in the stream.
    """

    type: str
    topic: str
    id: str | None
    data: DataT
    received_at: datetime
    after_gap: PlainGap | None = None
    unreadable: str | None = None


PlainItem: TypeAlias = PlainEvent[Any] | PlainGap
