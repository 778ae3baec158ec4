"""A server that was away for a second or less: who watches has the next event soon after it listens again."""

from __future__ import annotations

import asyncio
import random
import statistics
import time

import pytest

from playcall import ApiKey, AsyncPlaycall
from playcall.testing import DeliveryOracle, FaultProxy, LiveBackend, read_log_async
from tests.services.websocket_faces import FACES, Face

from .notes import Notes, spread_of
from .scale import FULL, chosen_seed, scaled

OUTAGES = scaled(short=3, full=20)
MEDIAN_SECONDS = 1.0


@pytest.mark.parametrize("face", FACES)
async def test_after_a_short_outage_the_first_event_comes_within_a_second(
    backend: LiveBackend, face: str, notes: Notes
) -> None:
    seed = chosen_seed()
    print(f"PLAYCALL_SOAK_SEED={seed}")
    chance = random.Random(seed)
    took = [await outage(backend, face, chance.uniform(0.1, 1.0)) for _ in range(OUTAGES)]
    notes.measured(f"{face}: from listening again to the first event, away 0.1 to 1 s", spread_of(took))
    if FULL:
        assert statistics.median(took) <= MEDIAN_SECONDS, f"seed {seed}"


async def outage(backend: LiveBackend, face: str, away_seconds: float) -> float:
    """Seconds from listening again to the first event that a client has, which happened meanwhile.

    A client for each: one that was connected for less than ten seconds still counts the failures before.
    """
    key = ApiKey(await asyncio.to_thread(backend.add_user))
    oracle = DeliveryOracle()
    with FaultProxy(backend.url) as proxy:
        made: Face = FACES[face](proxy.url, auth=key)
        try:
            async with (
                asyncio.timeout(60),
                AsyncPlaycall(backend.url, auth=key) as direct,
                made.subscribe("agents", start="start") as feed,
            ):
                await direct.agents.create({"name": "before", "tools": ["wait"]})
                oracle.saw(await anext(feed))
                proxy.refuse()
                assert proxy.cut() == 1
                await direct.agents.create({"name": "meanwhile", "tools": ["wait"]})
                await asyncio.sleep(away_seconds)
                proxy.heal()
                healed_at = time.monotonic()
                oracle.saw(await anext(feed))
                took = time.monotonic() - healed_at
                await direct.agents.create({"name": "after", "tools": ["wait"]})
                oracle.saw(await anext(feed))
            assert made.client.picture.reconnects == 1
        finally:
            await made.close()
    verdict = oracle.judge(await read_log_async(backend.url, "agents", auth=key))
    assert verdict.ok, verdict.explain()
    assert [event.data.agent.name for event in oracle.seen] == ["before", "meanwhile", "after"]
    return took
