"""A run that stays current, in both faces: what it shows at a place in the log is what a GET at that place gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from playcall import ApiKey, AsyncPlaycall, Playcall, deadline
from playcall.errors import ClientClosedError, DeadlineExceededError, InvalidArgumentError, RunNotFoundError
from playcall.models import Cursor, Run
from playcall.models.event import RunData
from playcall.testing import FaultProxy, LiveBackend
from playcall.testing.oracle import read_log_async

from .conftest import playbook_of

Namer = Callable[[str], str]


@pytest.fixture
async def playbook(client: Any, agent: Any, name: Namer) -> Any:
    steps = [{"use": "wait", "seconds": 0.2}, {"use": "text.stats", "text": "a b"}, {"use": "wait", "seconds": 0.2}]
    return await client.playbooks.create(playbook_of(agent, name("living"), *steps))


async def places_of(url: str, key: str, id: str, face: str) -> list[tuple[Cursor, Run]]:
    """Every value that a live run had, and how far its cursor was; until the run has ended."""
    seen: list[tuple[Cursor, Run]] = []
    if face == "async":
        async with AsyncPlaycall(url, auth=ApiKey(key)) as client, client.runs.live(id) as live:
            seen.append((live.cursor, live.value))
            seen.extend([(live.cursor, run) async for run in live.changes()])
            assert live.value == seen[-1][1]
            assert live.error is None
        return seen

    def on_a_thread() -> None:
        with Playcall(url, auth=ApiKey(key)) as client, client.runs.live(id) as live:
            seen.append((live.cursor, live.value))
            seen.extend((live.cursor, run) for run in live.changes())
            assert live.value == seen[-1][1]

    await asyncio.to_thread(on_a_thread)
    return seen


async def test_it_follows_a_run_to_its_end_across_cuts(
    client: Any, backend: LiveBackend, playbook: Any, face: str
) -> None:
    run = await client.playbooks.run(playbook.id)
    with FaultProxy(backend.url) as proxy:
        following = asyncio.create_task(places_of(proxy.url, backend.api_key, run.id, face))
        while not following.done():
            await asyncio.wait([following], timeout=0.1)
            proxy.cut()
    seen = await following
    assert [each.version for _, each in seen] == sorted({each.version for _, each in seen})
    assert seen[-1][1] == await client.runs.get(run.id)
    assert seen[-1][1].status == "completed"


async def test_at_each_place_of_the_log_the_newest_run_that_an_event_carries_is_what_a_get_gives(
    client: Any, backend: LiveBackend, playbook: Any
) -> None:
    run = await client.playbooks.run(playbook.id)
    taken: dict[int, Run] = {}
    async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as other:
        while True:
            answer = await other.runs.get.raw(run.id)
            taken[Cursor.parse(answer.headers["X-Event-Cursor"]).seq] = answer.value
            if answer.value.ended_at is not None:
                break
    assert len(taken) > 3
    log = await read_log_async(backend.url, f"run:{run.id}", auth=ApiKey(backend.api_key))
    for seq, got in taken.items():
        carried = [each.data.run for each in log if each.seq <= seq and isinstance(each.data, RunData)]
        assert max(carried, key=lambda each: each.version) == got, seq


async def test_a_run_that_has_ended_is_there_and_has_no_changes(
    client: Any, backend: LiveBackend, playbook: Any, face: str
) -> None:
    run = await client.playbooks.run(playbook.id)
    ended = await client.runs.wait(run.id, timeout_seconds=30)
    assert [each for _, each in await places_of(backend.url, backend.api_key, run.id, face)] == [ended]


async def test_a_run_that_is_not_there_is_told_on_entering(backend: LiveBackend, face: str) -> None:
    with pytest.raises(RunNotFoundError):
        await places_of(backend.url, backend.api_key, "nothing", face)


async def test_what_is_not_open_says_so(backend: LiveBackend) -> None:
    async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as client:
        with pytest.raises(InvalidArgumentError, match="is not open"):
            _ = client.runs.live("x").value


async def test_leaving_the_block_or_closing_the_client_ends_whoever_waits_for_changes(
    client: Any, backend: LiveBackend, agent: Any, name: Namer
) -> None:
    playbook = await client.playbooks.create(playbook_of(agent, name("long"), {"use": "wait", "seconds": 60}))
    run = await client.playbooks.run(playbook.id)

    async def drain(changes: Any) -> int:
        return len([each async for each in changes])

    async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as other:
        async with other.runs.live(run.id) as live:
            waiting = asyncio.create_task(drain(live.changes()))
            await asyncio.sleep(0)
        assert await waiting >= 0
        last = live.value
        assert last.id == run.id
        kept = other.runs.live(run.id)
        await kept.open()
        waiting = asyncio.create_task(drain(kept.changes()))
        await asyncio.sleep(0)
    with pytest.raises(ClientClosedError):
        await waiting
    assert isinstance(kept.error, ClientClosedError)
    await kept.close()
    await client.runs.cancel(run.id)


async def test_a_deadline_bounds_waiting_for_a_change_on_the_blocking_face(
    client: Any, backend: LiveBackend, agent: Any, name: Namer
) -> None:
    playbook = await client.playbooks.create(playbook_of(agent, name("long"), {"use": "wait", "seconds": 60}))
    run = await client.playbooks.run(playbook.id)
    async with asyncio.timeout(30):
        while (await client.runs.get(run.id)).status != "running":
            await asyncio.sleep(0.02)

    def on_a_thread() -> None:
        with Playcall(backend.url, auth=ApiKey(backend.api_key)) as other, other.runs.live(run.id) as live:
            with pytest.raises(DeadlineExceededError), deadline(0.3):
                for _ in live.changes():
                    pass
            assert live.value.status == "running"

    await asyncio.to_thread(on_a_thread)
    await client.runs.cancel(run.id)
