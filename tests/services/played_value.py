"""A value that stays current, over a source that a test plays: it begins as 5, and a newer one is a greater one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playcall.models.cursor import Cursor
from playcall.realtime.items import Gap, Snapshot
from playcall.services.live import BlockingLive, Live, LiveSource

FIRST = Cursor("a", 7)
OVER = 100
"""The value that nothing follows."""


class Played:
    """Where the value comes from; `subscribed` says how many subscriptions are open.

    With `pause_at`, `"read"` or `"follow"`, opening waits there until `go_on()`; `paused` is set meanwhile. What `refusal`
    holds is raised by the next subscription.
    """

    def __init__(self, *, pause_at: str = "") -> None:
        self.pause_at = pause_at
        self.paused = threading.Event()
        self.refusal: Exception | None = None
        self.subscribed = 0
        self.cursor: Cursor | None = None

    def live(self, blocking: bool) -> Any:
        source = LiveSource(
            "the value",
            read=self._read,
            follow=self._follow,
            pick=lambda item: item.state if isinstance(item, Snapshot) else item,
            is_newer=lambda one, other: one > other,
            is_over=lambda value: value == OVER,
        )
        return BlockingLive[Any](source) if blocking else Live[Any](source)

    def give(self, item: Any) -> None:
        """The next item: a number for an event that carries it, or a `Snapshot`. From any thread."""
        self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._gate.set)

    async def _read(self) -> tuple[Any, Cursor]:
        await self._pass("read")
        return 5, FIRST

    @asynccontextmanager
    async def _follow(self, start: Cursor) -> AsyncIterator[Any]:
        assert start == FIRST
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self.subscribed += 1
        try:
            await self._pass("follow")
            yield self
        finally:
            self.subscribed -= 1

    async def __aiter__(self) -> AsyncIterator[Any]:
        at = FIRST.seq
        while True:
            item = await self._items.get()
            at += 1
            self.cursor = item.cursor if isinstance(item, Snapshot) else Cursor("a", at)
            yield item

    async def _pass(self, place: str) -> None:
        if place == self.pause_at:
            self.pause_at = ""
            self._loop, self._gate = asyncio.get_running_loop(), asyncio.Event()
            self.paused.set()
            await self._gate.wait()


def snapshot(state: Any, cursor: Cursor) -> Snapshot:
    """What comes after a gap."""
    return Snapshot(Gap("t", "epoch", FIRST, Cursor(cursor.epoch, 0)), state, cursor)
