"""`kill -9` of the server in the middle of a run: it goes on from its last finished step, and a watcher misses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playcall import ApiKey
from playcall.testing import DeliveryOracle, LiveBackend
from playcall.testing.oracle import read_log_async

from .conftest import playbook_of
from .faces import FACES, open_client

pytestmark = pytest.mark.xdist_group("subprocesses")


@pytest.mark.parametrize("face", FACES)
async def test_a_killed_server_goes_on_and_a_watcher_sees_every_event_once(face: str) -> None:
    steps: list[dict[str, Any]] = [
        {"use": "text.stats", "text": "before the fall"},
        {"use": "wait", "seconds": 1.0},
        {"use": "text.stats", "text": "after it"},
    ]
    backend = LiveBackend()
    await asyncio.to_thread(backend.start)
    try:
        key = ApiKey(backend.api_key)
        async with open_client(face, backend.url, auth=key) as client:
            agent = await client.agents.create({"name": "Survivor", "tools": ["wait", "text.stats"]})
            playbook = await client.playbooks.create(playbook_of(agent, "Through it", *steps))
            run = await client.playbooks.run(playbook.id)
            oracle, fallen = DeliveryOracle(), False
            async for event in client.runs.watch(run.id, start="start"):
                oracle.saw(event)
                if event.type == "task.progress" and not fallen:
                    fallen = True
                    await asyncio.to_thread(backend.kill)
                    await asyncio.to_thread(backend.restart)
            done = await client.runs.get(run.id)
            assert (done.status, done.steps_finished) == ("completed", 3)
            assert client.events.picture.reconnects >= 1

        verdict = oracle.judge(await read_log_async(backend.url, f"run:{run.id}", auth=key))
        assert verdict.ok, verdict.explain()
        # What was finished before the fall was not done again.
        finished = [event.data.step.id for event in oracle.seen if event.type == "run.step.finished"]
        assert finished == ["s1", "s2", "s3"]
        started = [event.data.step.id for event in oracle.seen if event.type == "run.step.started"]
        assert started.count("s1") == 1
    finally:
        await asyncio.to_thread(backend.close)
