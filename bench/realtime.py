"""Events from a socket to whoever handles them: how many a second, and how long one takes.

All but centrifuge-python receive the identical bytes, on one connection that stays open. A turn subscribes to a log of so
many events in the way of its client, takes them all and unsubscribes. Not equal: the hand-written clients know nothing of
order, credit, cursors or lost connections, and `json.loads` gives dictionaries. centrifuge-python reads its own protocol,
with the same events as the data of recoverable publications; it gives dictionaries as well.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from itertools import count
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import aiohttp
import centrifuge
import uvloop
import websockets
from pydantic import BaseModel, Field, TypeAdapter

from playcall import Cursor
from playcall.models.event import AnyEvent, TaskProgress
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient

from .children import Child, pin_client
from .events import EPOCH, LOG_EVENTS
from .results import Results, Table, Target
from .rounds import Scale, Tell, Turn, take_turns

T = TypeVar("T")

Read: TypeAlias = Callable[[str, int], None]
"""Takes so many events of a topic, which are all that it has, or all that is wanted of it."""
AsyncRead: TypeAlias = Callable[[str, int], Awaitable[None]]
Delays: TypeAlias = Callable[[str, int], list[float]]
"""Of so many events: the seconds from the moment in the event until it is handled."""

TITLE: Final = "Realtime: events to the iterator and the handler"

BATCHES: Final = {1: "one event a frame", 100: "100 events a frame"}
ITERATOR, HANDLER = "playcall, async iterator", "playcall, async handler"
BLOCKING_ITERATOR, BLOCKING_HANDLER = "playcall, blocking iterator", "playcall, blocking handler"
HAND_WRITTEN, BARE, CENTRIFUGE = "websockets, json.loads", "aiohttp, pydantic", "centrifuge-python"
HERTZ: Final = 1_000
LATENCY_ROUNDS: Final = 10

START: Final = Cursor(EPOCH, 0)
ENDLESS: Final = 2**53
PATH: Final = "/api/v1/ws"
SUBPROTOCOL: Final = websockets.Subprotocol("playcall.v1")
HELLO: Final = json.dumps({"op": "hello", "v": 1, "client": "bench"})


def _targets() -> Iterator[Target]:
    for (batch, says), least in zip(BATCHES.items(), (0.8, 0.5), strict=True):
        key = f"realtime-{batch}"
        for row in (ITERATOR, HANDLER):
            text = f"{says}, {row}: at least {least} x the events a second of a hand-written loop"
            yield Target(text, key, row, HAND_WRITTEN, at_least=least)
        text = f"{says}: at least 3 x the events a second of centrifuge-python"
        yield Target(text, key, ITERATOR, CENTRIFUGE, at_least=3.0)
        text = f"{says}: blocking iteration at least 0.8 x of the async one"
        yield Target(text, key, BLOCKING_ITERATOR, ITERATOR, at_least=0.8)


TARGETS: Final = tuple(_targets())


def measure(scale: Scale, tell: Tell) -> Results:
    pin_client()
    results = Results()
    with (
        Child("frames") as far,
        Child("centrifuge") as centrifugo,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        for number, (batch, says) in enumerate(BATCHES.items()):
            with ExitStack() as stack:
                reads = _reads(runner, stack, far.port, centrifugo.port)
                turns = {name: _turn(read, batch, own=name == CENTRIFUGE) for name, read in reads.items()}
                with far.watched() as busy:
                    taken = take_turns(turns, scale, _part(tell, number))
            rows = {name: [1e6 / each for each in figures] for name, figures in taken.items()}
            note = (
                "Every async client on the same kind of loop, uvloop; the blocking ones on the library's own. "
                f"The sender has a processor of its own, which was {busy():.0%} busy."
            )
            table = Table(f"realtime-{batch}", f"Events a second, {says}", "events/s", rows, HAND_WRITTEN, note)
            results.tables.append(table)
        results.tables += _latency(runner, far.port, scale, _part(tell, 2))
    return results


def _part(tell: Tell, number: int) -> Tell:
    return lambda done: tell((number + done) / 3)


def _turn(read: Read, batch: int, *, own: bool) -> Turn:
    def turn(events: int) -> None:
        left = -(-events // batch) * batch
        while left:
            some = min(left, LOG_EVENTS)
            read(f"{batch}-{some}" if own else f"run:{batch}-{some}", some)
            left -= some

    return turn


# --- clients ----------------------------------------------------------------------------------------------------------


def _reads(runner: asyncio.Runner, stack: ExitStack, port: int, centrifuge_port: int) -> dict[str, Read]:
    asynchronous = {
        ITERATOR: async_iterator(port),
        HANDLER: async_handler(port),
        HAND_WRITTEN: hand_written(port),
        BARE: bare_aiohttp(port),
        CENTRIFUGE: centrifuge_python(centrifuge_port),
    }
    opened = AsyncExitStack()
    stack.callback(lambda: runner.run(opened.aclose()))
    reads: dict[str, Read] = {}
    for name, client in asynchronous.items():
        reads[name] = _run_by(runner, runner.run(opened.enter_async_context(client)))
    reads[BLOCKING_ITERATOR] = stack.enter_context(blocking_iterator(port))
    reads[BLOCKING_HANDLER] = stack.enter_context(blocking_handler(port))
    return reads


def _run_by(runner: asyncio.Runner, read: Callable[[str, int], Awaitable[T]]) -> Callable[[str, int], T]:
    async def one(topic: str, events: int) -> T:
        return await read(topic, events)

    return lambda topic, events: runner.run(one(topic, events))


@asynccontextmanager
async def async_iterator(port: int) -> AsyncIterator[AsyncRead]:
    async with WebSocketClient(f"http://127.0.0.1:{port}") as client:

        async def read(topic: str, events: int) -> None:
            async with client.subscribe(topic, start=START) as feed:
                async for event in feed:
                    if event.seq == events:
                        break

        yield read


@asynccontextmanager
async def async_handler(port: int) -> AsyncIterator[AsyncRead]:
    async with WebSocketClient(f"http://127.0.0.1:{port}") as client:

        async def read(topic: str, events: int) -> None:
            over = asyncio.Event()

            async def handle(event: AnyEvent) -> None:
                if event.seq == events:
                    over.set()

            registration = await client.on("*", handle, topic=topic, start=START)
            await over.wait()
            registration.remove()

        yield read


@contextmanager
def blocking_iterator(port: int) -> Iterator[Read]:
    with BlockingWebSocketClient(f"http://127.0.0.1:{port}") as client:

        def read(topic: str, events: int) -> None:
            with client.subscribe(topic, start=START) as feed:
                for event in feed:
                    if event.seq == events:
                        break

        yield read


@contextmanager
def blocking_handler(port: int) -> Iterator[Read]:
    with BlockingWebSocketClient(f"http://127.0.0.1:{port}") as client:

        def read(topic: str, events: int) -> None:
            over = threading.Event()

            def handle(event: AnyEvent) -> None:
                if event.seq == events:
                    over.set()

            registration = client.on("*", handle, topic=topic, start=START)
            over.wait()
            registration.remove()

        yield read


def _subscribe(sid: int, topic: str) -> str:
    start = {"epoch": EPOCH, "seq": 0}
    frame = {"op": "subscribe", "id": sid, "sid": f"s{sid}", "topic": topic, "from": start, "limit": ENDLESS}
    return json.dumps(frame)


@asynccontextmanager
async def hand_written(port: int) -> AsyncIterator[AsyncRead]:
    async with websockets.connect(f"ws://127.0.0.1:{port}{PATH}", subprotocols=[SUBPROTOCOL]) as socket:
        await socket.send(HELLO)
        sids = count(1)

        async def read(topic: str, events: int) -> None:
            await socket.send(_subscribe(next(sids), topic))
            async for message in socket:
                frame = json.loads(message)
                if frame["op"] == "events":
                    for event in frame["events"]:
                        if event["seq"] == events:
                            return

        yield read


class ProgressData(BaseModel):
    task_id: str
    run_id: str | None = None
    step_id: str | None = None
    done: float
    total: float | None = None
    message: str = ""


class Progress(BaseModel):
    seq: int
    id: str
    time: datetime
    type: Literal["task.progress"]
    data: ProgressData


class LineData(BaseModel):
    run_id: str
    level: str
    message: str
    step_id: str | None = None
    task_id: str | None = None


class Line(BaseModel):
    seq: int
    id: str
    time: datetime
    type: Literal["run.log"]
    data: LineData


class EventsFrame(BaseModel):
    op: Literal["events"]
    sid: str
    prev: int
    to: int
    events: list[Annotated[Progress | Line, Field(discriminator="type")]]


class OtherFrame(BaseModel):
    op: Literal["welcome", "subscribed"]


@asynccontextmanager
async def bare_aiohttp(port: int) -> AsyncIterator[AsyncRead]:
    adapter: TypeAdapter[EventsFrame | OtherFrame] = TypeAdapter(
        Annotated[EventsFrame | OtherFrame, Field(discriminator="op")]
    )
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}{PATH}", protocols=[SUBPROTOCOL]) as socket,
    ):
        await socket.send_str(HELLO)
        sids = count(1)

        async def read(topic: str, events: int) -> None:
            await socket.send_str(_subscribe(next(sids), topic))
            async for message in socket:
                frame = adapter.validate_json(message.data)
                if isinstance(frame, EventsFrame):
                    for event in frame.events:
                        if event.seq == events:
                            return

        yield read


class Publications(centrifuge.SubscriptionEventHandler):
    def __init__(self, events: int) -> None:
        self.over = asyncio.Event()
        self._events = events

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        if ctx.pub.data["seq"] == self._events:
            self.over.set()


@asynccontextmanager
async def centrifuge_python(port: int) -> AsyncIterator[AsyncRead]:
    client = centrifuge.Client(f"ws://127.0.0.1:{port}/connection/websocket")
    await client.connect()
    await client.ready()

    async def read(topic: str, events: int) -> None:
        publications = Publications(events)
        subscription = client.new_subscription(topic, publications, recoverable=True)
        await subscription.subscribe()
        await publications.over.wait()
        await subscription.unsubscribe()
        client.remove_subscription(subscription)

    try:
        yield read
    finally:
        await client.disconnect()


# --- how long one takes -----------------------------------------------------------------------------------------------


def _latency(runner: asyncio.Runner, port: int, scale: Scale, tell: Tell) -> list[Table]:
    events = HERTZ // 5 if scale.quick else HERTZ
    rounds = scale.rounds if scale.quick else LATENCY_ROUNDS
    p50: dict[str, list[float]] = {HANDLER: [], BLOCKING_HANDLER: [], HAND_WRITTEN: []}
    p99: dict[str, list[float]] = {name: [] for name in p50}
    with ExitStack() as stack:
        opened = AsyncExitStack()
        stack.callback(lambda: runner.run(opened.aclose()))
        asynchronous = {HANDLER: delays_of_handler(port), HAND_WRITTEN: delays_of_hand_written(port)}
        clients: dict[str, Delays] = {
            name: _run_by(runner, runner.run(opened.enter_async_context(client)))
            for name, client in asynchronous.items()
        }
        clients[BLOCKING_HANDLER] = stack.enter_context(delays_of_blocking_handler(port))
        order, chance = list(clients), random.Random(5)
        for number in range(rounds):
            chance.shuffle(order)
            for name in order:
                gc.collect()
                hundredths = statistics.quantiles(clients[name](f"run:paced-{HERTZ}", events), n=100)
                p50[name].append(hundredths[49] * 1e6)
                p99[name].append(hundredths[98] * 1e6)
            tell((number + 1) / rounds)
    note = (
        f"One event a frame, {HERTZ:,} a second, {events:,} a round. From the moment before the sender writes it, which "
        "the event carries, by the clock that both processes share."
    )
    title = "From sending to the handler"
    return [
        Table("realtime-latency-p50", f"{title}, half of the events", "µs", p50, HAND_WRITTEN, note),
        Table("realtime-latency-p99", f"{title}, 99 of 100 events", "µs", p99, HAND_WRITTEN, note),
    ]


@asynccontextmanager
async def delays_of_handler(port: int) -> AsyncIterator[Callable[[str, int], Awaitable[list[float]]]]:
    async with WebSocketClient(f"http://127.0.0.1:{port}") as client:

        async def read(topic: str, events: int) -> list[float]:
            over = asyncio.Event()
            delays: list[float] = []

            async def handle(event: AnyEvent) -> None:
                assert isinstance(event, TaskProgress)
                delays.append(time.monotonic() - event.data.done)
                if event.seq == events:
                    over.set()

            registration = await client.on("*", handle, topic=topic, start=START)
            await over.wait()
            registration.remove()
            return delays

        yield read


@contextmanager
def delays_of_blocking_handler(port: int) -> Iterator[Delays]:
    with BlockingWebSocketClient(f"http://127.0.0.1:{port}") as client:

        def read(topic: str, events: int) -> list[float]:
            over = threading.Event()
            delays: list[float] = []

            def handle(event: AnyEvent) -> None:
                assert isinstance(event, TaskProgress)
                delays.append(time.monotonic() - event.data.done)
                if event.seq == events:
                    over.set()

            registration = client.on("*", handle, topic=topic, start=START)
            over.wait()
            registration.remove()
            return delays

        yield read


@asynccontextmanager
async def delays_of_hand_written(port: int) -> AsyncIterator[Callable[[str, int], Awaitable[list[float]]]]:
    async with websockets.connect(f"ws://127.0.0.1:{port}{PATH}", subprotocols=[SUBPROTOCOL]) as socket:
        await socket.send(HELLO)
        sids = count(1)

        async def read(topic: str, events: int) -> list[float]:
            sid = next(sids)
            await socket.send(_subscribe(sid, topic))
            delays: list[float] = []
            async for message in socket:
                frame = json.loads(message)
                if frame["op"] == "events" and frame["sid"] == f"s{sid}":
                    for event in frame["events"]:
                        delays.append(time.monotonic() - event["data"]["done"])
                        if event["seq"] == events:
                            await socket.send(json.dumps({"op": "unsubscribe", "id": sid, "sid": f"s{sid}"}))
                            return delays
            raise RuntimeError("the far end has gone")

        yield read
