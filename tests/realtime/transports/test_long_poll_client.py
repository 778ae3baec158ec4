"""The whole client over long polls, in both faces, against the real backend and through a proxy that breaks its connections."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from playcall import ApiKey, Playcall
from playcall.errors import EventGapError, RealtimeAuthError, TopicForbiddenError
from playcall.http.auth import Credentials, TokenEndpoint
from playcall.http.pool import SessionPool
from playcall.models.account import ApiKeySpec
from playcall.models.agent import AgentSpec
from playcall.models.cursor import Cursor
from playcall.realtime import schedule
from playcall.realtime.items import Gap
from playcall.realtime.transports.long_poll import LongPollTransport
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient
from playcall.testing import DeliveryOracle, FaultProxy, LiveBackend
from playcall.testing.oracle import read_log_async
from tests.services.websocket_faces import ThreadedFeed

WAIT_SECONDS = 1.0
"""So a connection that is silent for 3 s counts as dead."""

_numbers = itertools.count()


class Polled:
    """A client of either face whose every frame goes over plain requests."""

    def __init__(self, face: str, url: str, auth: Any) -> None:
        self.pool = SessionPool()
        transport = LongPollTransport(url, self.pool, wait_seconds=WAIT_SECONDS)
        self._client = WebSocketClient(url, auth=auth, pool=self.pool, transport=transport)
        self._blocking = BlockingWebSocketClient(awaiting=self._client) if face == "blocking" else None

    @property
    def picture(self) -> Any:
        return self._client.picture

    def subscribe(self, topic: str, **options: Any) -> Any:
        if self._blocking is not None:
            return ThreadedFeed(self._blocking.subscribe(topic, **options))
        return self._client.subscribe(topic, **options)

    async def close(self) -> None:
        if self._blocking is not None:
            await asyncio.to_thread(self._blocking.close)
        else:
            await self._client.close()
        await self.pool.close()


Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Polled]]


@pytest.fixture(params=["async", "blocking"])
def polled(request: pytest.FixtureRequest, backend: LiveBackend, api_key: str) -> Open:
    @asynccontextmanager
    async def opened(url: str | None = None, auth: Any = None) -> AsyncIterator[Polled]:
        client = Polled(request.param, url or backend.url, auth or ApiKey(api_key))
        try:
            yield client
        finally:
            await client.close()

    return opened


@pytest.fixture
def proxy(backend: LiveBackend) -> Iterator[FaultProxy]:
    with FaultProxy(backend.url) as running:
        yield running


@pytest.fixture
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection that was made sets the schedule back to its beginning, so that many cuts take little time."""
    monkeypatch.setattr(schedule, "SETTLED_SECONDS", 0.0)


def change(client: Playcall) -> None:
    """Two events in `agents`."""
    agent = client.agents.create(AgentSpec(name=f"agent-{next(_numbers)}", tools=["text.stats"]))
    client.agents.delete(agent.id)


async def receive_up_to(feed: Any, oracle: DeliveryOracle, total: int) -> None:
    async with asyncio.timeout(60):
        while len(oracle.seen) < total:
            oracle.saw(await anext(feed))


async def assert_delivered(oracle: DeliveryOracle, backend: LiveBackend, api_key: str, topic: str, note: str) -> None:
    verdict = oracle.judge(await read_log_async(backend.url, topic, auth=ApiKey(api_key)))
    assert verdict.ok, f"{note}: {verdict.explain()}"


async def test_a_client_is_ready_by_long_poll_and_receives_what_comes(polled: Open, direct: Playcall) -> None:
    async with polled() as client, client.subscribe("agents", types=["*.created"]) as feed:
        await asyncio.to_thread(change, direct)
        event = await asyncio.wait_for(anext(feed), 10)
        assert event.type == "agent.created"
        picture = client.picture
        assert (picture.transport, str(picture.state)) == ("long_poll", "ready")
        assert picture.connection_id.startswith("poll-")


async def test_more_events_than_the_window_arrive_as_they_are_taken(
    polled: Open, backend: LiveBackend, api_key: str, direct: Playcall
) -> None:
    oracle = DeliveryOracle()
    for _ in range(20):
        await asyncio.to_thread(change, direct)
    async with polled() as client, client.subscribe("agents", start="start", window=7) as feed:
        await receive_up_to(feed, oracle, 40)
        assert client.picture.attempts == 1
    await assert_delivered(oracle, backend, api_key, "agents", "window 7")


async def test_a_run_is_followed_to_its_end(polled: Open, backend: LiveBackend, api_key: str, direct: Playcall) -> None:
    agent = await asyncio.to_thread(
        direct.agents.create, AgentSpec(name=f"agent-{next(_numbers)}", tools=["wait", "text.stats"])
    )
    steps = [
        {"id": f"s{n}", "type": "standard", "agent": agent.name, "operation": "wait", "parameters": {"seconds": 0.05}}
        for n in range(5)
    ]
    playbook = await asyncio.to_thread(
        direct.playbooks.create, {"name": f"waits {next(_numbers)}", "agents": [agent.name], "steps": steps}
    )
    run = await asyncio.to_thread(direct.playbooks.run, playbook.id)
    oracle = DeliveryOracle()
    topic = f"run:{run.id}"
    async with polled() as client, client.subscribe(topic, start="start") as feed, asyncio.timeout(60):
        async for event in feed:
            oracle.saw(event)
    assert oracle.seen[-1].terminal
    await assert_delivered(oracle, backend, api_key, topic, topic)


async def test_cuts_at_random_bytes_lose_and_repeat_nothing(
    polled: Open, proxy: FaultProxy, backend: LiveBackend, api_key: str, direct: Playcall, settled_at_once: None
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    oracle = DeliveryOracle()
    rounds = 60
    async with polled(proxy.url) as client, client.subscribe("agents", start="start") as feed:
        for _ in range(rounds):
            proxy.cut_after(chance.randrange(1, 2_500), direction=chance.choice(["down", "both"]))
            await asyncio.to_thread(change, direct)
            await receive_up_to(feed, oracle, len(oracle.seen) + 1)
        await receive_up_to(feed, oracle, len(await read_log_async(backend.url, "agents", auth=ApiKey(api_key))))
        assert client.picture.reconnects >= 3  # the others fell between two answers, or on a connection at rest
    await assert_delivered(oracle, backend, api_key, "agents", f"seed {seed}")


async def test_a_half_open_connection_is_noticed_and_left(
    polled: Open, proxy: FaultProxy, backend: LiveBackend, api_key: str, direct: Playcall
) -> None:
    oracle = DeliveryOracle()
    async with polled(proxy.url) as client, client.subscribe("agents") as feed:
        proxy.half_open()
        await asyncio.to_thread(change, direct)
        async with asyncio.timeout(30):
            while client.picture.problem is None:
                await asyncio.sleep(0.01)
        assert "nothing was heard" in client.picture.problem
        proxy.heal()
        await receive_up_to(feed, oracle, 2)
    await assert_delivered(oracle, backend, api_key, "agents", "half-open")


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_restarted_backend_loses_and_repeats_nothing(
    polled: Open, backend: LiveBackend, api_key: str, direct: Playcall, end: str
) -> None:
    oracle = DeliveryOracle()
    async with polled() as client, client.subscribe("agents", start="start") as feed:
        await asyncio.to_thread(change, direct)
        await receive_up_to(feed, oracle, 1)
        await asyncio.to_thread(getattr(backend, end))
        await asyncio.to_thread(backend.restart)
        await asyncio.to_thread(change, direct)
        await receive_up_to(feed, oracle, 4)
        assert client.picture.reconnects >= 1
    await assert_delivered(oracle, backend, api_key, "agents", end)


class Keys:
    """Gives one API key after another, a newer one each time that the last was refused."""

    def __init__(self, *keys: str) -> None:
        self.left = list(keys)

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        key = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return Credentials({"X-API-Key": key})


async def test_credentials_that_are_revoked_are_renewed_and_nothing_is_lost(
    polled: Open, backend: LiveBackend, api_key: str, direct: Playcall
) -> None:
    revoked = await asyncio.to_thread(direct.account.create_api_key, ApiKeySpec(name="to be revoked"))
    keys = Keys(revoked.secret, api_key)
    oracle = DeliveryOracle()
    async with polled(auth=keys) as client, client.subscribe("agents") as feed:
        await asyncio.to_thread(change, direct)
        await receive_up_to(feed, oracle, 2)
        await asyncio.to_thread(direct.account.revoke_api_key, revoked.id)
        await asyncio.to_thread(change, direct)
        await receive_up_to(feed, oracle, 4)
        async with asyncio.timeout(30):
            while client.picture.reconnects < 1:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(change, direct)
        await receive_up_to(feed, oracle, 6)
        assert revoked.secret not in repr(client.picture)
    assert keys.left == [api_key]
    await assert_delivered(oracle, backend, api_key, "agents", "renewed")


async def test_credentials_that_nothing_renews_are_an_error_of_their_own(polled: Open) -> None:
    async with polled(auth=ApiKey("pk_wrong")) as client:
        with pytest.raises(RealtimeAuthError):
            async with client.subscribe("agents"):
                pass


async def test_a_topic_that_is_not_there_is_forbidden(polled: Open) -> None:
    async with polled() as client:
        with pytest.raises(TopicForbiddenError, match="run:nobody"):
            async with client.subscribe("run:nobody"):
                pass


async def test_a_gap_is_told_before_what_follows(polled: Open, direct: Playcall) -> None:
    await asyncio.to_thread(change, direct)
    async with polled() as client:
        with pytest.raises(EventGapError):
            async with client.subscribe("agents", start=Cursor("lost", 1)) as feed:
                await anext(feed)
        async with client.subscribe("agents", start=Cursor("lost", 1), on_gap="yield") as feed, asyncio.timeout(20):
            items = [await anext(feed) for _ in range(3)]
    assert isinstance(items[0], Gap)
    assert [item.seq for item in items[1:]] == [1, 2]
