"""Both faces of the WebSocket client behind one set of awaitable calls, so that each test runs against each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, Self

from playcall.realtime.blocking_handlers import BlockingRegistration
from playcall.realtime.feed import BlockingFeed
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient


class Face(Protocol):
    """What tests use of a client; `close` and `on` are awaited."""

    client: WebSocketClient | BlockingWebSocketClient

    def subscribe(self, topic: str, **options: Any) -> Any: ...
    async def on(self, pattern: str, handler: Callable[..., Any], **options: Any) -> Any: ...
    async def close(self) -> None: ...


class AsyncFace:
    def __init__(self, url: str, **options: Any) -> None:
        self.client = WebSocketClient(url, **options)

    def subscribe(self, topic: str, **options: Any) -> Any:
        return self.client.subscribe(topic, **options)

    async def on(self, pattern: str, handler: Callable[..., Any], **options: Any) -> Any:
        registration = self.client.on(pattern, handler, **options)
        return await registration if options.get("wait", True) else registration

    async def close(self) -> None:
        await self.client.close()


class ThreadedFeed:
    """A blocking feed, each of whose calls is made on a worker thread."""

    def __init__(self, feed: BlockingFeed[Any]) -> None:
        self.feed = feed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)

    async def open(self) -> None:
        await asyncio.to_thread(self.feed.open)

    async def close(self) -> None:
        await asyncio.to_thread(self.feed.close)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.feed.__enter__)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await asyncio.to_thread(self.feed.__exit__, *exc_info)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        done = object()
        item = await asyncio.to_thread(next, self.feed, done)
        if item is done:
            raise StopAsyncIteration
        return item


class BlockingFace:
    def __init__(self, url: str, **options: Any) -> None:
        self.client = BlockingWebSocketClient(url, **options)

    def subscribe(self, topic: str, **options: Any) -> Any:
        return ThreadedFeed(self.client.subscribe(topic, **options))

    async def on(self, pattern: str, handler: Callable[..., Any], **options: Any) -> Any:
        return await asyncio.to_thread(self.client.on, pattern, handler, **options)

    async def close(self) -> None:
        await asyncio.to_thread(self.client.close)


FACES: dict[str, type[AsyncFace] | type[BlockingFace]] = {"async": AsyncFace, "blocking": BlockingFace}
MakeFace = Callable[..., Face]


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Waits for what another thread does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def take(feed: Any, count: int, seconds: float = 5) -> list[Any]:
    items: list[Any] = []
    async with asyncio.timeout(seconds):
        while len(items) < count:
            items.append(await anext(feed))
    return items


def seqs(items: list[Any]) -> list[int]:
    return [item.seq for item in items]


async def replay(registration: Any) -> int:
    """`registration.replay()` of either face."""
    if isinstance(registration, BlockingRegistration):
        return await asyncio.to_thread(registration.replay)
    return await registration.replay()
