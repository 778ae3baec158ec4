"""Subscriptions and handlers over a real socket, through a proxy that breaks it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from typing import Any

import pytest

from playcall import ApiKey
from playcall.testing import DeliveryOracle, FaultProxy, LiveBackend
from playcall.testing.oracle import read_log_async

from .conftest import playbook_of
from .faces import open_client

Namer = Callable[[str], str]


async def test_a_subscription_gives_the_types_asked_for_from_now_on(client: Any, name: Namer) -> None:
    before = await client.agents.create({"name": name("before")})
    async with client.events.subscribe("agents", types=["agent.created", "agent.del*"], start="head") as feed:
        made = await client.agents.create({"name": name("after")})
        await client.agents.update(made.id, {"description": "changed"})
        await client.agents.delete(made.id)
        await client.agents.delete(before.id)
        seen = []
        async for event in feed:
            seen.append(event)
            if len(seen) == 3:
                break
    assert [event.type for event in seen] == ["agent.created", "agent.deleted", "agent.deleted"]
    assert seen[0].data.agent == made
    assert seen[2].data.agent_id == before.id


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_handler_sees_events_in_order_and_ends_when_removed(client: Any, name: Namer, kind: str) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    async def handle(event: Any) -> None:
        seen.put(event)

    registration = await client.events.on("agent.*", handle if kind == "async" else seen.put)
    made = await client.agents.create({"name": name("handled")})
    await client.agents.update(made.id, {"description": "a"})
    await client.agents.update(made.id, {"description": "b"})
    got = [await asyncio.to_thread(seen.get, timeout=10) for _ in range(3)]
    assert [event.data.agent.version for event in got] == [1, 2, 3]
    registration.remove()
    await client.agents.delete(made.id)
    async with client.events.subscribe("agents", types=["agent.deleted"], start="start") as feed:
        async for event in feed:
            if event.data.agent_id == made.id:
                break
    assert seen.empty()


async def test_a_handler_that_raises_stops_nothing(client: Any, name: Namer) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    def handle(event: Any) -> None:
        if event.data.agent.version == 1:
            raise ValueError("not this one")
        seen.put(event)

    registration = await client.events.on("agent.created", handle, topic="agents")
    changes = await client.events.on("agent.changed", handle, topic="agents")
    made = await client.agents.create({"name": name("handled")})
    await client.agents.update(made.id, {"description": "a"})
    event = await asyncio.to_thread(seen.get, timeout=10)
    assert event.data.agent.version == 2
    changes.remove()
    async with asyncio.timeout(10):
        while not registration.errors:
            await asyncio.sleep(0.01)
    assert str(registration.set_aside[0].error) == "not this one"
    registration.remove()


async def test_every_event_once_though_each_connection_breaks(
    backend: LiveBackend, face: str, name: Namer, client: Any, agent: Any
) -> None:
    """Three connections are reset after some kilobytes each, in the middle of a frame."""
    steps = [{"use": "text.stats", "text": "x " * 200} for _ in range(12)]
    playbook = await client.playbooks.create(playbook_of(agent, name("broken line"), *steps))
    key = ApiKey(backend.api_key)
    with FaultProxy(backend.url) as proxy:
        async with open_client(face, proxy.url, auth=key) as behind:
            run = await behind.playbooks.run(playbook.id)
            proxy.cut_after(9_000, direction="down", times=3)
            oracle = DeliveryOracle()
            async for event in behind.runs.watch(run.id, start="start"):
                oracle.saw(event)
            assert behind.events.picture.reconnects >= 2
        verdict = oracle.judge(await read_log_async(backend.url, f"run:{run.id}", auth=key))
    assert verdict.ok, verdict.explain()
    assert oracle.seen[-1].type == "run.completed"


async def test_a_lost_answer_is_asked_for_again_and_happens_once(backend: LiveBackend, face: str, name: Namer) -> None:
    stem = name("exactly")
    with FaultProxy(backend.url) as proxy:
        async with open_client(face, proxy.url, auth=ApiKey(backend.api_key)) as behind:
            proxy.cut_after(0, direction="down")  # the backend has done it by the time it answers
            made = await behind.agents.create({"name": stem})
            assert proxy.connections_total == 2
            assert [agent.id async for agent in behind.agents.list() if agent.name == stem] == [made.id]


async def test_a_backend_that_is_away_for_a_while_is_found_again(
    backend: LiveBackend, face: str, name: Namer, client: Any, agent: Any
) -> None:
    """All of the run happens while the client cannot connect."""
    steps = {"use": "wait", "seconds": 0.2}, {"use": "text.stats", "text": "a"}
    playbook = await client.playbooks.create(playbook_of(agent, name("away"), *steps))
    key = ApiKey(backend.api_key)
    with FaultProxy(backend.url) as proxy:
        async with open_client(face, proxy.url, auth=key) as behind:
            run = await behind.playbooks.run(playbook.id)
            oracle = DeliveryOracle()
            async for event in behind.runs.watch(run.id, start="start"):
                oracle.saw(event)
                if event.type == "task.started" and proxy.connections_total < 4:
                    proxy.refuse()
                    proxy.cut()
                    await client.runs.wait(run.id, timeout_seconds=30)
                    proxy.heal()
            assert behind.events.picture.reconnects == 1
        verdict = oracle.judge(await read_log_async(backend.url, f"run:{run.id}", auth=key))
    assert verdict.ok, verdict.explain()


async def test_a_connection_that_fell_silent_is_given_up(
    backend: LiveBackend, face: str, name: Namer, client: Any, agent: Any
) -> None:
    """No byte comes and nothing is closed, as when a cable is pulled: only the missing heartbeats tell."""
    steps = {"use": "wait", "seconds": 0.2}, {"use": "text.stats", "text": "a"}
    playbook = await client.playbooks.create(playbook_of(agent, name("silent"), *steps))
    key = ApiKey(backend.api_key)
    with FaultProxy(backend.url) as proxy:
        async with open_client(face, proxy.url, auth=key) as behind:
            run = await behind.playbooks.run(playbook.id)
            oracle = DeliveryOracle()
            behind.events.on_state(lambda change: proxy.heal() if change.old == "ready" else None)
            async for event in behind.runs.watch(run.id, start="start"):
                oracle.saw(event)
                if event.type == "run.started":
                    proxy.half_open()
            assert behind.events.picture.reconnects == 1
        verdict = oracle.judge(await read_log_async(backend.url, f"run:{run.id}", auth=key))
    assert verdict.ok, verdict.explain()
