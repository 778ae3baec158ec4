"""Both faces against the real backend on a real socket, through a proxy that breaks the connection."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from playcall import ApiKey, Playcall
from playcall.models.agent import AgentSpec
from playcall.models.event import AgentCreated
from playcall.testing.fault_proxy import FaultProxy
from playcall.testing.live_backend import LiveBackend
from playcall.testing.oracle import DeliveryOracle, read_log_async
from tests.services.websocket_faces import AsyncFace, BlockingFace, Face

FACES = {"async": AsyncFace, "blocking": BlockingFace}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def backend() -> Iterator[LiveBackend]:
    with LiveBackend(options=["--heartbeat-seconds=1"]) as running:
        yield running


@pytest.fixture
def proxy(backend: LiveBackend) -> Iterator[FaultProxy]:
    with FaultProxy(backend.url) as running:
        yield running


@pytest.fixture(params=FACES)
async def face(request: pytest.FixtureRequest, backend: LiveBackend, proxy: FaultProxy) -> AsyncIterator[Face]:
    made: Face = FACES[request.param](proxy.url, auth=ApiKey(backend.api_key))
    yield made
    await made.close()


@pytest.fixture
def direct(backend: LiveBackend) -> Iterator[Playcall]:
    """A client that no proxy disturbs."""
    with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        yield client


def _change(client: Playcall) -> None:
    """Two events in `agents`."""
    agent = client.agents.create(AgentSpec(name=f"agent-{next(_numbers)}", tools=["text.stats"]))
    client.agents.delete(agent.id)


async def _receive_up_to(feed: Any, oracle: DeliveryOracle, total: int) -> None:
    async with asyncio.timeout(30):
        while len(oracle.seen) < total:
            oracle.saw(await anext(feed))


async def test_events_of_the_real_backend_are_typed(face: Face, direct: Playcall) -> None:
    async with face.subscribe("agents", types=["*.created"]) as feed:
        await asyncio.to_thread(_change, direct)
        event = await asyncio.wait_for(anext(feed), 5)
    assert isinstance(event, AgentCreated)
    assert event.data.agent.name.startswith("agent-")


async def test_cuts_at_random_bytes_lose_and_repeat_nothing(
    face: Face, backend: LiveBackend, proxy: FaultProxy, direct: Playcall
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    oracle = DeliveryOracle()
    before = len(await read_log_async(backend.url, "agents", auth=ApiKey(backend.api_key)))
    rounds = 12
    async with face.subscribe("agents", start="start") as feed:
        await _receive_up_to(feed, oracle, before)
        for each in range(1, rounds + 1):
            proxy.cut_after(chance.randrange(1, 1_200), direction="down")
            await asyncio.to_thread(_change, direct)
            await _receive_up_to(feed, oracle, before + 2 * each)
    verdict = oracle.judge(await read_log_async(backend.url, "agents", auth=ApiKey(backend.api_key)))
    assert verdict.ok, f"seed {seed}: {verdict.explain()}"
    assert face.client.picture.reconnects >= 1


async def test_a_half_open_connection_is_noticed_within_three_seconds_at_heartbeats_of_one(
    face: Face, proxy: FaultProxy, direct: Playcall
) -> None:
    async with face.subscribe("agents") as feed:
        proxy.half_open()
        await asyncio.to_thread(_change, direct)
        began_at = time.monotonic()
        while face.client.picture.problem is None:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began_at < 3.5
        proxy.heal()
        async with asyncio.timeout(15):
            assert [(await anext(feed)).type for _ in range(2)] == ["agent.created", "agent.deleted"]


async def test_a_killed_and_restarted_backend_loses_and_repeats_nothing(
    face: Face, backend: LiveBackend, direct: Playcall
) -> None:
    oracle = DeliveryOracle()
    before = len(await read_log_async(backend.url, "agents", auth=ApiKey(backend.api_key)))
    async with face.subscribe("agents", start="start") as feed:
        await asyncio.to_thread(_change, direct)
        await asyncio.to_thread(backend.kill)
        await asyncio.to_thread(backend.restart)
        await asyncio.to_thread(_change, direct)
        await _receive_up_to(feed, oracle, before + 4)
    verdict = oracle.judge(await read_log_async(backend.url, "agents", auth=ApiKey(backend.api_key)))
    assert verdict.ok, verdict.explain()
