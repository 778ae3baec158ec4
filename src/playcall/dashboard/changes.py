"""The last changes of the connection's state, and of the events' own: what happened while nobody looked."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from playcall import Playcall
from playcall.realtime.states import StateChange
from playcall.status import Status

__all__ = ["Changes", "SeenChange"]

KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class SeenChange:
    """`of` is what changed: the whole connection, or that of the events. `why` is a sentence; empty where there is none."""

    at: datetime
    of: Literal["connection", "events"]
    state: str
    why: str


class Changes:
    """Of one client, from when this is made to the client's end."""

    def __init__(self, client: Playcall) -> None:
        self._seen = deque[SeenChange](maxlen=KEPT)
        client.status.subscribe(self.take_status)
        client.events.on_state(self.take_events)

    def seen(self) -> tuple[SeenChange, ...]:
        """The oldest first."""
        return tuple(self._seen.copy())

    def take_status(self, status: Status) -> None:
        well = status.state in ("online", "closed")
        why = "" if well or status.last_error is None else status.last_error
        self._seen.append(SeenChange(datetime.now(UTC), "connection", str(status.state), why))

    def take_events(self, change: StateChange) -> None:
        self._seen.append(SeenChange(datetime.now(UTC), "events", str(change.new), change.why))
