"""A connection on which nothing comes any more, and which nobody closes: it is noticed, and nothing of what happened is lost."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from playcall import ApiKey, AsyncPlaycall
from playcall.realtime.states import ConnectionState, StateChange
from playcall.testing import DeliveryOracle, FaultProxy, LiveBackend, read_log_async
from tests.services.websocket_faces import FACES, Face
from tests.stall import Stall

from .notes import Notes
from .scale import FULL, scaled

LATE_SECONDS = 0.2
"""What a timer may be late, beyond what the machine held us up."""


# With heartbeats of 15 s it takes 25 s of silence.
@pytest.mark.parametrize("heartbeat_seconds", scaled(short=[1.0], full=[1.0, 15.0]))
async def test_a_half_open_connection_is_noticed_and_nothing_is_lost(heartbeat_seconds: float, notes: Notes) -> None:
    promised = heartbeat_seconds + min(10.0, 2 * heartbeat_seconds)
    backend = LiveBackend(options=[f"--heartbeat-seconds={heartbeat_seconds}"])
    await asyncio.to_thread(backend.start)
    try:
        for face, (took, stalled) in zip(
            FACES, await asyncio.gather(*(silence(backend, face) for face in FACES)), strict=True
        ):
            notes.measured(
                f"{face}, heartbeats of {heartbeat_seconds:g} s: noticed after (promised {promised:g} s)",
                f"{took:.2f} s",
            )
            if FULL:
                assert took <= promised + LATE_SECONDS + stalled
    finally:
        await asyncio.to_thread(backend.close)


async def silence(backend: LiveBackend, face: str) -> tuple[float, float]:
    """Seconds until it was noticed, and seconds in which the machine kept us from noticing."""
    key = ApiKey(await asyncio.to_thread(backend.add_user))
    oracle = DeliveryOracle()
    noticed = asyncio.Event()
    loop = asyncio.get_running_loop()
    changes: list[tuple[float, StateChange]] = []

    def changed(change: StateChange) -> None:
        changes.append((time.monotonic(), change))
        if change.old is ConnectionState.READY:
            loop.call_soon_threadsafe(noticed.set)

    with FaultProxy(backend.url) as proxy:
        made: Face = FACES[face](proxy.url, auth=key)
        try:
            async with AsyncPlaycall(backend.url, auth=key) as direct, made.subscribe("agents", start="start") as feed:
                await see_one_more(feed, oracle, direct, "before")
                made.client.on_state(changed)
                with Stall() as stall:
                    began_at = time.monotonic()
                    proxy.half_open()
                    await direct.agents.create({"name": "meanwhile", "tools": ["wait"]})
                    async with asyncio.timeout(120):
                        await noticed.wait()
                proxy.heal()
                async with asyncio.timeout(60):
                    oracle.saw(await anext(feed))
                    await see_one_more(feed, oracle, direct, "after")
                picture = made.client.picture
        finally:
            await made.close()
    at, change = changes[0]
    assert change.old is ConnectionState.READY
    assert "nothing was heard" in change.why
    assert picture.reconnects == 1
    verdict = oracle.judge(await read_log_async(backend.url, "agents", auth=key))
    assert verdict.ok, verdict.explain()
    return at - began_at, stall.seconds


async def see_one_more(feed: Any, oracle: DeliveryOracle, direct: AsyncPlaycall, name: str) -> None:
    await direct.agents.create({"name": name, "tools": ["wait"]})
    async with asyncio.timeout(60):
        oracle.saw(await anext(feed))
