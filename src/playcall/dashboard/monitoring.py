"""Keeps the badge true while somebody looks at it: a monitor of the connection, and events whose heartbeats spare it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from playcall import Playcall
from playcall.dashboard import collection
from playcall.dashboard.following import Closable, Followed, Following

__all__ = ["keep_true"]

PROBE_SECONDS: Final = 2.0
"""How soon a silence is looked into. While events flow, nothing is asked."""


class _Monitored(Followed):
    """Is there while the connection is monitored."""

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        with client.status.monitor(idle_seconds=PROBE_SECONDS):
            ending = _Ending()
            closing(ending)
            with self.lock:
                self.moved()
            ending.told.wait()


class _Ending:
    def __init__(self) -> None:
        self.told = threading.Event()

    def close(self) -> None:
        self.told.set()


def keep_true(following: Following) -> None:
    """To be called by whatever shows the connection, as often as it does. With no browser open, nothing is asked at all."""
    following.look("monitor", _Monitored)
    collection.runs(following)
