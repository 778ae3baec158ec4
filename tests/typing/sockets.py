"""Never run, only type-checked, as `api.py`: what `WebSocketClient` gives follows from what it speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from pydantic import BaseModel

from playcall import (
    AsyncPlaycall,
    BearerToken,
    BlockingWebSocketClient,
    Cursor,
    PlainEvent,
    PlainGap,
    PlainSockets,
    Playcall,
    WebSocketClient,
)
from playcall.models.event import AnyEvent
from playcall.realtime.blocking_handlers import BlockingRegistration
from playcall.realtime.feed import BlockingFeed, Feed
from playcall.realtime.handlers import Registration
from playcall.realtime.items import Gap, Snapshot
from playcall.realtime.set_aside import SetAside


class Order(BaseModel):
    item: str


PROTOCOL = PlainSockets(
    subscribe=lambda topic: {"subscribe": topic}, models={"order.*": Order, "sum": list[int] | None}
)


def on_event(event: AnyEvent) -> None: ...
def on_plain(event: PlainEvent) -> None: ...
async def on_order(event: PlainEvent[Order]) -> None: ...
def on_gap(gap: Gap) -> None: ...
def on_plain_gap(gap: PlainGap) -> None: ...


async def ours(front: AsyncPlaycall, other: Playcall) -> None:
    async with WebSocketClient("http://h", auth=BearerToken("t")) as client:
        assert_type(client, WebSocketClient)
        assert_type(client, WebSocketClient[AnyEvent])
        assert_type(client.subscribe("tasks"), Feed[AnyEvent])
        assert_type(client.subscribe("tasks", on_gap="yield", start=Cursor("e", 1)), Feed[AnyEvent | Gap])
        assert_type(client.subscribe("tasks", on_gap="snapshot"), Feed[AnyEvent | Snapshot])
        assert_type(client.on("task.*", on_event, on_gap=on_gap), Registration)
        assert_type(await client.on("task.*", on_event), Registration[AnyEvent])
        assert_type(client.history("tasks"), AsyncIterator[AnyEvent])

        client.subscribe("tasks", on_gap="mark")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        client.on("task.*", on_plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(front.events, WebSocketClient)
    assert_type(other.events, BlockingWebSocketClient)
    assert_type(front.events.subscribe("tasks"), Feed[AnyEvent])
    assert_type(other.events.subscribe("tasks"), BlockingFeed[AnyEvent])
    WebSocketClient("http://h", session="plain")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def theirs() -> None:
    async with WebSocketClient("ws://h", session=PROTOCOL) as client:
        assert_type(client, WebSocketClient[PlainEvent])
        assert_type(client.subscribe("orders", types=["order.*"], window=5), Feed[PlainEvent])
        assert_type(client.subscribe("orders", on_gap="mark"), Feed[PlainEvent[Any]])
        assert_type(client.subscribe("orders", on_gap="raise"), Feed[PlainEvent])
        async with client.subscribe("orders", on_gap="yield") as feed:
            async for item in feed:
                assert_type(item, PlainEvent | PlainGap)
                if isinstance(item, PlainGap):
                    assert_type(item.dropped, int)
                elif isinstance(item.data, Order):
                    assert_type(item.data.item, str)
        registration = await client.on("order.*", on_order, topic="orders", on_gap=on_plain_gap)
        assert_type(registration, Registration[PlainEvent])
        assert_type(registration.set_aside, tuple[SetAside[PlainEvent], ...])
        client.on("order.*", on_plain, topic="orders")

        client.subscribe("orders", start="start")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        client.subscribe("orders", on_gap="snapshot")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        client.on("order.*", on_event, topic="orders")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.on("order.*", on_plain, topic="orders", on_gap=on_gap)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.history("orders")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def theirs_blocking(awaiting: WebSocketClient[PlainEvent]) -> None:
    with BlockingWebSocketClient("ws://h", session=PROTOCOL) as client:
        assert_type(client, BlockingWebSocketClient[PlainEvent])
        assert_type(client.subscribe("orders"), BlockingFeed[PlainEvent])
        for item in client.subscribe("orders", on_gap="yield"):
            assert_type(item, PlainEvent | PlainGap)
        assert_type(client.on("order.*", on_order, topic="orders"), BlockingRegistration[PlainEvent])

        client.subscribe("orders", cursors=None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        client.history("orders")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert_type(BlockingWebSocketClient(awaiting=awaiting), BlockingWebSocketClient[PlainEvent])
    assert_type(BlockingWebSocketClient("http://h"), BlockingWebSocketClient[AnyEvent])
    PlainSockets("/ws")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PlainSockets(auth=lambda: "t")  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
