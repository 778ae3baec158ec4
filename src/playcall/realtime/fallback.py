"""Whether to go on without the WebSocket, and when to try it again (docs/realtime-protocol.md, «The client», rule 8)."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["DOUBTS", "FIRST_PROBE_SECONDS", "LAST_PROBE_SECONDS", "Fallback"]

DOUBTS = 3
"""Attempts in a row that came to nothing, until the path is doubted: where it has worked, or where it may be the backend."""
FIRST_PROBE_SECONDS = 60.0
LAST_PROBE_SECONDS = 900.0
"""The WebSocket is tried again after the first, and then after a doubling pause up to the last; half to all of it."""


class Fallback:
    """Which of the two ways the next attempt takes. Without a second way (`possible=False`) it is always the first.

    `why` says what was wrong with the first way, while the second is in use.
    """

    def __init__(self, possible: bool, random: Callable[[], float]) -> None:
        self._possible = possible
        self._random = random
        self.in_use = False
        self.why: str | None = None
        self.probe_at = math.inf
        """When the first way is to be tried again."""
        self._proved = False
        self._certain = False
        self._doubts = 0
        self._failures = 0
        """Of the second way, in a row."""
        self._probes = 0

    def blocked(self, why: str) -> bool:
        """The first way was refused as such. Returns whether the second is to be taken now.

        A way that has worked may be a proxy that restarts: it is tried some more.
        """
        return self._doubt(why, enough=DOUBTS if self._proved else 1, certain=True)

    def unanswered(self, why: str) -> bool:
        """Nothing came of asking for an upgrade, in all the time that it has. Returns as `blocked`."""
        return self._doubt(why, enough=DOUBTS if self._proved else 1, certain=False)

    def unwelcome(self, why: str) -> bool:
        """The attempt broke before it was good for anything: where none ever was, it may be the path. Returns as `blocked`."""
        if self._proved:
            self._doubts = 0
            return False
        return self._doubt(why, enough=DOUBTS, certain=False)

    def undoubted(self) -> None:
        """The attempt ended in a way that says nothing of the path."""
        self._doubts = 0

    def _doubt(self, why: str, *, enough: int, certain: bool) -> bool:
        if self.in_use or not self._possible:
            return False
        self._doubts += 1
        if self._doubts < enough:
            return False
        self.in_use, self.why, self._certain = True, why, certain
        return True

    def came_to_nothing(self) -> bool:
        """An attempt the second way failed. Returns whether the first is to be taken now.

        It is if it was only doubted; and now and then in any case, as no way is blocked for ever.
        """
        self._failures += 1
        if self._certain and self._failures < DOUBTS:
            return False
        self.in_use, self.why, self._failures = False, None, 0
        return True

    def ready(self, now: float) -> None:
        """The way in use has been good for something. A moment that is set for a probe stays, however often it breaks."""
        if self.in_use:
            self._certain, self._failures = True, 0
            if self.probe_at == math.inf:
                pause = min(LAST_PROBE_SECONDS, FIRST_PROBE_SECONDS * 2.0 ** min(self._probes, 30))
                self.probe_at = now + pause / 2 + self._random() * pause / 2
        else:
            self._proved, self._doubts, self._probes = True, 0, 0

    def probing(self) -> None:
        """The first way is being tried, beside the connection that there is."""
        self.probe_at = math.inf
        self._probes += 1

    def open_again(self) -> None:
        """The first way works again; one refusal is enough to leave it again."""
        self.in_use, self.why = False, None
        self._proved, self._doubts, self._failures = False, 0, 0
        self.probe_at = math.inf
