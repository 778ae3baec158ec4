"""One subscription, without a socket: what it reads, and that it misses nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import event

from playcall.models.frames import Subscribe
from playcall.server.log import NewEvent, TopicEntry, Wakes
from playcall.server.sockets.filtering import type_filter
from playcall.server.sockets.subscription import Subscription
from playcall.server.store.database import Database

TOPIC = "run:1"


async def append(database: Database, owner: str, *, entry: TopicEntry | None = None) -> None:
    async with database.write() as tx:
        tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=(entry or TopicEntry(TOPIC),)))


class Peer:
    """Takes frames; `events` is set with the first that has one."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.events = asyncio.Event()

    async def send(self, text: str) -> None:
        self.frames.append(json.loads(text))
        if self.frames[-1]["op"] == "events":
            self.events.set()


def subscription(database: Database, owner: str, peer: Peer) -> Subscription:
    request = Subscribe.model_validate(
        {"op": "subscribe", "id": 1, "sid": "s", "topic": TOPIC, "from": "head", "limit": 10}
    )
    return Subscription(
        request, type_filter(None), owner_id=owner, database=database, send=peer.send, turn=asyncio.Lock()
    )


async def test_what_happens_while_the_answer_goes_out_is_sent(database: Database, owner: str) -> None:
    class Slow(Peer):
        async def send(self, text: str) -> None:
            await super().send(text)
            if self.frames[-1]["op"] == "subscribed":
                await append(database, owner)

    await append(database, owner)
    following = subscription(database, owner, peer := Slow())
    running = asyncio.create_task(following.run())
    await asyncio.wait_for(peer.events.wait(), 5)
    assert [each["seq"] for each in peer.frames[-1]["events"]] == [2]
    following.stop()
    await asyncio.wait_for(running, 5)


async def test_a_subscription_at_the_head_reads_the_log_when_something_has_happened_and_not_before(
    database: Database, owner: str
) -> None:
    await append(database, owner)
    reads: list[str] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "events" in statement:
            reads.append(statement)

    event.listen(database.reader.sync_engine, "before_cursor_execute", before)
    following = subscription(database, owner, peer := Peer())
    running = asyncio.create_task(following.run())
    while not peer.frames:
        await asyncio.sleep(0.001)
    await append(database, owner)
    await asyncio.wait_for(peer.events.wait(), 5)
    assert len(reads) == 2, "where it begins, and what has happened"
    following.stop()
    await asyncio.wait_for(running, 5)


async def test_a_topic_that_has_ended_says_so_to_whoever_begins_at_its_head(database: Database, owner: str) -> None:
    await append(database, owner, entry=TopicEntry(TOPIC, ends="finished"))
    await asyncio.wait_for(subscription(database, owner, peer := Peer()).run(), 5)
    assert [frame["op"] for frame in peer.frames] == ["subscribed", "ended"]


async def test_a_subscription_that_waits_at_the_head_is_left_alone_by_the_poll_and_woken_when_it_is_behind(
    database: Database, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database, owner)
    following = subscription(database, owner, peer := Peer())
    running = asyncio.create_task(following.run())
    while not peer.frames:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    (waiter,) = database.wakes._waiters[owner, TOPIC]
    database.wakes.wake_behind(owner, TOPIC, 1)
    assert not waiter.is_set()
    with monkeypatch.context() as patch:
        patch.setattr(Wakes, "wake", lambda *_: None)
        await append(database, owner)
    database.wakes.wake_behind(owner, TOPIC, 2)
    await asyncio.wait_for(peer.events.wait(), 5)
    following.stop()
    await asyncio.wait_for(running, 5)
