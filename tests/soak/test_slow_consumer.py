"""A consumer that is slow, or does nothing, while events come by the thousand: they wait in the log, not in memory."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import pytest

from playcall import ApiKey, AsyncPlaycall
from playcall.models import Cursor
from playcall.models.event import AnyEvent
from playcall.models.frames import Subscribe
from playcall.realtime.items import DEFAULT_WINDOW
from playcall.server.auth.accounts import create_user
from playcall.server.log import NewEvent, StoredEvent, TopicEntry, read_log
from playcall.server.sockets.subscription import READ_EVENTS, Subscription
from playcall.server.store.database import Database
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient
from playcall.testing import DeliveryOracle, LiveBackend, read_log_async
from tests.services.websocket_faces import until

from .log_writer import append_events
from .notes import Notes
from .scale import scaled

EVENTS = scaled(short=5_000, full=100_000)
A_PAUSE_SECONDS = 0.001
FACES = ("async", "blocking")
TOPIC = "tasks"


class Consumer:
    """Takes every event of the topic on one face; before each it looks at how many wait."""

    def __init__(self, face: str, url: str, key: ApiKey) -> None:
        self.face = face
        self.oracle = DeliveryOracle()
        self.taken = 0
        self.most_buffered = 0
        self._client = WebSocketClient(url, auth=key) if face == "async" else BlockingWebSocketClient(url, auth=key)

    @property
    def buffered(self) -> int:
        """As the client tells it."""
        return sum(each.buffered for each in self._client.picture.subscriptions)

    async def take(self, pause_seconds: float = 0, until_set: threading.Event | None = None) -> None:
        """`pause_seconds` after each event; nothing after the first one `until_set`."""
        if isinstance(self._client, BlockingWebSocketClient):
            await asyncio.to_thread(self._take, self._client, pause_seconds, until_set)
            return
        async with self._client, self._client.subscribe(TOPIC, start="start") as feed:
            async for event in feed:
                if self._is_last(event):
                    break
                if until_set is not None and self.taken == 1:
                    await asyncio.to_thread(until_set.wait)
                await asyncio.sleep(pause_seconds)

    def _take(self, client: BlockingWebSocketClient, pause_seconds: float, until_set: threading.Event | None) -> None:
        with client, client.subscribe(TOPIC, start="start") as feed:
            for event in feed:
                if self._is_last(event):
                    break
                if until_set is not None and self.taken == 1:
                    until_set.wait()
                time.sleep(pause_seconds)

    def _is_last(self, event: AnyEvent) -> bool:
        self.most_buffered = max(self.most_buffered, self.buffered)
        self.oracle.saw(event)
        self.taken += 1
        return self.taken == EVENTS


async def user_of(backend: LiveBackend) -> tuple[ApiKey, str]:
    key = ApiKey(await asyncio.to_thread(backend.add_user))
    async with AsyncPlaycall(backend.url, auth=key) as client:
        return key, (await client.account.me()).id


def flood(backend: LiveBackend, owner: str) -> None:
    asyncio.run(append_events(backend, owner, TOPIC, EVENTS))


async def check(backend: LiveBackend, key: ApiKey, consumers: list[Consumer]) -> None:
    log = await read_log_async(backend.url, TOPIC, auth=key)
    assert len(log) == EVENTS
    for consumer in consumers:
        verdict = consumer.oracle.judge(log)
        assert verdict.ok, f"{consumer.face}: {verdict.explain()}"
        assert 0 < consumer.most_buffered <= DEFAULT_WINDOW


async def test_a_consumer_of_one_event_a_millisecond_never_holds_more_than_its_window(
    backend: LiveBackend, notes: Notes
) -> None:
    key, owner = await user_of(backend)
    consumers = [Consumer(face, backend.url, key) for face in FACES]

    async def progress() -> None:
        while True:
            await asyncio.sleep(10)
            notes.progress(", ".join(f"{each.face} {each.taken:,}" for each in consumers) + f" of {EVENTS:,} taken")

    began_at = time.monotonic()
    reporting = asyncio.create_task(progress())
    async with asyncio.timeout(900):
        flooding = asyncio.to_thread(flood, backend, owner)
        await asyncio.gather(flooding, *(each.take(A_PAUSE_SECONDS) for each in consumers))
    took = time.monotonic() - began_at
    reporting.cancel()
    await check(backend, key, consumers)
    for each in consumers:
        notes.measured(
            f"{each.face}, 1 ms an event: most that waited (window) of {EVENTS:,}",
            f"{each.most_buffered} ({DEFAULT_WINDOW})",
        )
    notes.measured("both, 1 ms an event: took", f"{took:.1f} s")


async def test_a_consumer_that_does_nothing_holds_its_window_and_finds_the_rest_in_the_log(
    backend: LiveBackend, notes: Notes
) -> None:
    key, owner = await user_of(backend)
    idle, prompt = [Consumer(face, backend.url, key) for face in FACES], Consumer("async", backend.url, key)
    go_on = threading.Event()
    async with asyncio.timeout(900), asyncio.TaskGroup() as tasks:
        for each in idle:
            tasks.create_task(each.take(until_set=go_on))
        tasks.create_task(prompt.take())
        tasks.create_task(asyncio.to_thread(flood, backend, owner))
        try:
            # Another client has all of them by then, so the server has had every occasion to send the idle ones too many.
            await until(lambda: prompt.taken == EVENTS and all(each.buffered for each in idle), 600)
            held = [each.buffered for each in idle]
            assert [each.taken for each in idle] == [1, 1]
            assert max(held) <= DEFAULT_WINDOW
        finally:
            go_on.set()
    await check(backend, key, [*idle, prompt])
    for each, count in zip(idle, held, strict=True):
        notes.measured(
            f"{each.face}, does nothing: held while another took {EVENTS:,} (window)", f"{count} ({DEFAULT_WINDOW})"
        )


@pytest.mark.parametrize("stuck", ["without credit", "whose socket is full"])
async def test_the_server_holds_one_reading_of_the_log_for_a_client(tmp_path: Path, stuck: str, notes: Notes) -> None:
    """Three subscriptions of one connection, as the server runs them; events are counted where Python keeps them."""
    database = await Database.create(f"sqlite+aiosqlite:///{tmp_path / 'log.sqlite3'}")
    subscriptions: list[Subscription] = []
    running: list[asyncio.Task[None]] = []
    held: list[int] = []
    sent: list[str] = []
    blocked, forever = asyncio.Event(), asyncio.Event()
    gc.freeze()  # what is there already is looked at no more: it may be millions of objects, in a process of many tests

    async def send(text: str) -> None:
        if '"op":"events"' not in text:
            return
        sent.append(text)
        held.append(sum(isinstance(each, StoredEvent) for each in gc.get_objects()))
        if stuck == "whose socket is full":
            blocked.set()
            await forever.wait()

    limit = READ_EVENTS + 1 if stuck == "without credit" else 10**6
    turn = asyncio.Lock()
    try:
        async with database.write() as tx:
            owner = (await create_user(tx.session, "somebody")).id
        async with database.write() as tx:
            for number in range(4 * READ_EVENTS):
                tx.emit(NewEvent(owner_id=owner, type="soak.number", data={"n": number}, topics=(TopicEntry(TOPIC),)))
        for sid in ("s1", "s2", "s3"):
            frame = Subscribe.model_validate({"id": 1, "sid": sid, "topic": TOPIC, "from": "start", "limit": limit})
            subscription = Subscription(frame, lambda _: True, owner_id=owner, database=database, send=send, turn=turn)
            subscriptions.append(subscription)
            running.append(asyncio.create_task(subscription.run()))
        if stuck == "without credit":
            await until(lambda: sum(text.count('"soak.number"') for text in sent) == 3 * limit)
        else:
            await asyncio.wait_for(blocked.wait(), 10)
            # The others have been answered, and would have read by the time that this has read as often.
            await until(lambda: all(each.sent_to is not None for each in subscriptions))
            for _ in range(10 * len(subscriptions)):
                async with database.read() as session:
                    await read_log(session, owner, TOPIC, Cursor("none", 0), limit=1)
            assert len(sent) == 1
        assert 0 < max(held) <= READ_EVENTS
        assert sum(isinstance(each, StoredEvent) for each in gc.get_objects()) <= READ_EVENTS
        notes.measured(f"most events the server held for a client {stuck} (may)", f"{max(held)} ({READ_EVENTS})")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await database.close()
        gc.unfreeze()
