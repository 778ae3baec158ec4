"""How the client stood each second: what only a look at the moment tells, kept for a while."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from playcall import Playcall
from playcall.dashboard.following import Closable, Followed, Following

__all__ = ["PAUSE_SECONDS", "Sample", "Samples", "samples"]

KEPT: Final = 600
PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """`waiting` calls have no slot yet; `received` counts the events since the client was made."""

    at: datetime
    in_flight: int
    waiting: int
    received: int


class Samples(Followed):
    """The last ten minutes, from when somebody first looked. No request is made for them."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = threading.Event()
        self._samples = deque[Sample](maxlen=KEPT)

    def samples(self) -> tuple[Sample, ...]:
        """The oldest first."""
        with self.lock:
            return tuple(self._samples)

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        closing(self)
        while not self._ended.is_set():
            status = client.status.current
            self.take(Sample(datetime.now(UTC), status.in_flight, status.waiting, client.events.picture.received))
            self._ended.wait(PAUSE_SECONDS)

    def take(self, sample: Sample) -> None:
        with self.lock:
            self._samples.append(sample)
            self.moved()

    def close(self) -> None:
        """Ends `follow`."""
        self._ended.set()


def samples(following: Following) -> Samples:
    return following.look("status", Samples)
