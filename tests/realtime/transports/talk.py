"""The session's part in a test of a link alone: frames out, and what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from playcall.http.pool import SessionPool
from playcall.realtime.transports.base import Closed, Link
from playcall.realtime.transports.long_poll import LongPollTransport

Frame = dict[str, Any]

PATIENCE_SECONDS = 10.0
"""For a frame that must come; only a test that fails takes so long."""
FRAME_BYTES = 1024 * 1024


class Talk:
    def __init__(self, link: Link) -> None:
        self.link = link

    async def send(self, op: str, **fields: Any) -> None:
        await self.link.send(json.dumps({"op": op, **fields}))

    async def subscribe(
        self, topic: str, start: Any = "start", *, sid: str = "s1", id: int = 1, limit: int = 256, **fields: Any
    ) -> None:
        await self.send("subscribe", id=id, sid=sid, topic=topic, limit=limit, **{"from": start}, **fields)

    async def receive(self, seconds: float = PATIENCE_SECONDS) -> Frame:
        got = await asyncio.wait_for(self.link.receive(), seconds)
        assert not isinstance(got, Closed), got
        return json.loads(got)

    async def until(self, op: str) -> tuple[Frame, list[Frame]]:
        """The next frame of that kind, and the ones before it."""
        before: list[Frame] = []
        while (frame := await self.receive())["op"] != op:
            before.append(frame)
        return frame, before

    async def events(self, count: int) -> list[Frame]:
        """So many events, whose frames chain; pings between are passed over."""
        found: list[Frame] = []
        at = None
        while len(found) < count:
            frame = await self.receive()
            if frame["op"] == "ping":
                continue
            assert frame["op"] == "events", frame
            assert at is None or frame["prev"] == at, "the chain broke"
            at = frame["to"]
            found += frame["events"]
        return found


class Headers:
    """What each request is sent with; an exception is raised. Counts how often it was asked."""

    def __init__(self, api_key: str = "") -> None:
        self.given: Mapping[str, str] | Exception = {"X-API-Key": api_key} if api_key else {}
        self.asked = 0

    async def __call__(self) -> Mapping[str, str]:
        self.asked += 1
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def waiting_requests() -> list[asyncio.Task[Any]]:
    """The tasks that any link on this loop has begun and that have not ended."""
    return [task for task in asyncio.all_tasks() if "LongPollLink" in repr(task.get_coro())]


@asynccontextmanager
async def talking(url: str, headers: Headers, *, wait_seconds: float = 25.0) -> AsyncIterator[Talk]:
    """A link that was dialled and closed, with everything that it has begun: a test that leaves a task behind fails."""
    pool = SessionPool()
    try:
        link = await LongPollTransport(url, pool, wait_seconds=wait_seconds).dial(headers, max_frame_bytes=FRAME_BYTES)
        try:
            yield Talk(link)
        finally:
            await link.close(1000, "the test is over")
            assert not waiting_requests()
    finally:
        await pool.close()
