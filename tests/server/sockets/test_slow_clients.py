"""A client that reads slowly lags, and holds little meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from playcall.server.log import SharedReads
from playcall.server.sockets import subscription
from playcall.server.sockets.connection import Connection

from ..conftest import Api
from .test_connection import HELLO, ScriptedChannel
from .test_websocket import talking


async def test_what_one_subscription_has_read_is_sent_before_another_reads(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a client that does not read holds 8 MB for each of its subscriptions."""
    await api.server.emit(api.user, "run:1")
    reads = 0
    may_go_on = threading.Event()
    read_log = SharedReads.read

    async def read(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        while not may_go_on.is_set():
            await asyncio.sleep(0.005)
        return await read_log(*args, **kwargs)

    async with talking(api) as talk:
        for sid in ("a", "b", "c"):
            await talk.subscribe("run:1", sid=sid, **{"from": "head"})
        # Their look at the log that follows `subscribed` is over once what comes next arrives.
        await api.server.emit(api.user, "run:1")
        assert sorted([(await talk.receive())["sid"] for _ in range(3)]) == ["a", "b", "c"]
        monkeypatch.setattr(SharedReads, "read", read)
        await api.server.emit(api.user, "run:1")
        await talk.send(op="ping", n=1)
        assert (await talk.receive())["op"] == "pong"  # all that were woken have begun
        assert reads == 1
        may_go_on.set()
        assert sorted([(await talk.receive())["sid"] for _ in range(3)]) == ["a", "b", "c"]


class SlowChannel(ScriptedChannel):
    """Its peer says nothing more, and takes its time with events; what else there is goes out at once."""

    async def send(self, text: str) -> None:
        if json.loads(text)["op"] == "events":
            await asyncio.sleep(0.1)
        await super().send(text)

    def abort(self) -> None:
        self._closed.set()


async def test_a_client_that_takes_what_is_sent_is_there_though_it_says_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pongs are behind everything that it has yet to read."""
    monkeypatch.setattr(subscription, "READ_EVENTS", 1)  # so that each is a frame
    await api.server.emit(api.user, "run:1", count=20)
    subscribe = {"op": "subscribe", "id": 1, "sid": "s", "topic": "run:1", "from": "start", "limit": 1_000}
    channel = SlowChannel(HELLO, subscribe)

    async def scene() -> None:
        core = api.server.core
        caller = await core.gate.caller(api.user.key)
        settings = replace(core.settings, silent_heartbeats=3)
        connection = Connection(channel, caller, settings=settings, database=core.database, gate=core.gate)
        async with asyncio.timeout(20):
            await connection.run()

    await api.server.acall(scene())
    assert channel.sent.count("events") == 20, "two seconds, of which 0.9 s of silence are too many"
    assert channel.code == 1001, "and then there was silence"
