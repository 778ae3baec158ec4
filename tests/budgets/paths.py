"""The fixed paths: what is done again and again, with a far end that costs nothing and never differs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from pydantic import BaseModel

from playcall import ApiKey, BaseAPIClient, BlockingAPIClient, WebSocketClient
from playcall.http.transport import WireAnswer, WireRequest, WireStream
from playcall.models.event import TaskProgress
from playcall.realtime.effects import Deliver
from playcall.realtime.transports.base import HeaderSource
from tests.realtime.talk import Talk

__all__ = ["ASYNC", "BLOCKING", "OWN_ONLY", "AsyncOnce", "AtOnce", "BlockingOnce"]

AsyncOnce: TypeAlias = Callable[[], Awaitable[object]]
BlockingOnce: TypeAlias = Callable[[], object]

URL: Final = "http://far.end/api"
AUTH: Final = ApiKey("pk_0123456789abcdef")
EVENTS_A_FRAME: Final = 100
EVENT: Final = (
    # One id for all: pydantic keeps short strings, some thousands, which would look like a leak.
    '{"seq":SEQ,"id":"e1","time":"2026-03-01T09:30:00Z","type":"task.progress",'
    '"data":{"task_id":"t1","run_id":"r1","done":3,"total":4,"message":"reading"}}'
)


class Item(BaseModel):
    id: str
    name: str
    tags: list[str]
    created_at: datetime


ITEM: Final = Item(id="i3", name="Report", tags=["a", "b"], created_at=datetime.fromisoformat("2026-03-01T09:30:00Z"))
ITEM_JSON: Final = ITEM.model_dump_json().encode()


class AtOnce:
    """A transport that has the answer before it is asked. `asked` is called on the thread that asks."""

    def __init__(self, asked: Callable[[], object] = lambda: None) -> None:
        self._asked = asked
        self._headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})

    async def send(self, request: WireRequest) -> WireAnswer:
        self._asked()
        return WireAnswer(200, self._headers, ITEM_JSON)

    def stream(self, request: WireRequest) -> AbstractAsyncContextManager[WireStream]:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    def abandon(self) -> bool:
        return False


@asynccontextmanager
async def async_get() -> AsyncIterator[AsyncOnce]:
    async with BaseAPIClient(URL, auth=AUTH, transport=AtOnce()) as api:
        yield lambda: api.get("/items/i3", into=Item)


@asynccontextmanager
async def async_post() -> AsyncIterator[AsyncOnce]:
    body = ITEM.model_dump(mode="json")
    async with BaseAPIClient(URL, auth=AUTH, transport=AtOnce(), idempotency_keys=True) as api:
        yield lambda: api.post("/items", json=body, into=Item)


@asynccontextmanager
async def async_get_over_socket() -> AsyncIterator[AsyncOnce]:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ITEM_JSON)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer + ITEM_JSON)
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with BaseAPIClient(f"http://127.0.0.1:{port}/api", auth=AUTH) as api:
            yield lambda: api.get("/items/i3", into=Item)


@asynccontextmanager
async def frame_of_events() -> AsyncIterator[AsyncOnce]:
    """A text off the wire, to the batch that a consumer is given, and the credit that goes back for it."""
    talk = Talk()
    session = talk.session
    key, sid = talk.live()
    frames = _frames(sid)

    async def receive() -> None:
        session.receive(talk.now, next(frames))
        given = [effect for effect in session.take_effects() if isinstance(effect, Deliver)]
        assert sum(len(batch.events) for batch in given) == EVENTS_A_FRAME
        assert all(isinstance(each, TaskProgress) for each in given[0].events)
        session.taken(key, EVENTS_A_FRAME)
        session.take_effects()

    yield receive


@asynccontextmanager
async def events_through_feed() -> AsyncIterator[AsyncOnce]:
    """From the text to the consumer's hand, event by event."""
    far_end = FarEnd()
    async with WebSocketClient(URL, transport=far_end) as client, client.subscribe("tasks") as feed:
        frames = _frames(await far_end.sid)

        async def consume() -> None:
            far_end.says(next(frames))
            for _ in range(EVENTS_A_FRAME):
                await anext(feed)

        yield consume


class FarEnd:
    """A transport for events, and the one connection that it makes."""

    name = "scripted"

    def __init__(self) -> None:
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self.sid: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def says(self, text: str) -> None:
        self._texts.put_nowait(text)

    async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> FarEnd:
        self.says('{"op":"welcome","v":1,"connection_id":"c","heartbeat_seconds":3600,"max_frame_bytes":1048576}')
        return self

    async def identity(self, headers: Mapping[str, str]) -> None:
        return None

    async def receive(self) -> str:
        return await self._texts.get()

    async def send(self, text: str) -> None:
        frame = json.loads(text)
        if frame["op"] == "subscribe":
            self.sid.set_result(frame["sid"])
            answer = {"op": "subscribed", "id": frame["id"], "sid": frame["sid"], "epoch": "e1", "seq": 0, "head": 0}
            self.says(json.dumps(answer))

    async def close(self, code: int, reason: str) -> None:
        pass


def _frames(sid: str) -> Iterator[str]:
    """Written by hand, as the standard library's writer would be counted."""
    prev = 0
    while True:
        to = prev + EVENTS_A_FRAME
        events = ",".join(EVENT.replace("SEQ", str(seq)) for seq in range(prev + 1, to + 1))
        yield f'{{"op":"events","sid":"{sid}","prev":{prev},"to":{to},"events":[{events}]}}'
        prev = to


@contextmanager
def blocking_get(asked: Callable[[], object]) -> Iterator[BlockingOnce]:
    with BlockingAPIClient(URL, auth=AUTH, transport=AtOnce(asked)) as api:
        yield lambda: api.get("/items/i3", into=Item)


ASYNC: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[AsyncOnce]]]] = {
    "async GET, answered at once": async_get,
    "async POST with a key, answered at once": async_post,
    "async GET over a socket": async_get_over_socket,
    "frame of 100 events": frame_of_events,
    "100 events through a feed": events_through_feed,
}
BLOCKING: Final[Mapping[str, Callable[[Callable[[], object]], AbstractContextManager[BlockingOnce]]]] = {
    "blocking GET, answered at once": blocking_get,
}
OWN_ONLY: Final = frozenset({"async GET over a socket", "100 events through a feed"})
"""Here other people's code runs more or less often as the loop has it, so only playcall's own is counted."""
