"""Runs over a real socket: started, watched, waited for, steered, and what they leave."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playcall import ApiKey, deadline
from playcall.errors import (
    ArtifactNotFoundError,
    InputsInvalidError,
    RealtimeTimeoutError,
    RunEndedError,
    RunFailedError,
    RunNotEndedError,
    RunNotFoundError,
    TopicForbiddenError,
)
from playcall.models import Cursor
from playcall.services.run_service import RunSnapshot
from playcall.testing import DeliveryOracle, LiveBackend
from playcall.testing.oracle import read_log_async

from .conftest import playbook_of

Namer = Callable[[str], str]


@pytest.fixture
async def counting(client: Any, agent: Any, name: Namer) -> Any:
    """A playbook of two quick steps."""
    steps = {"use": "text.stats", "text": "a b"}, {"use": "files.write", "path": "out.txt", "content": "done\n"}
    return await client.playbooks.create(playbook_of(agent, name("counting"), *steps))


@pytest.fixture
async def waiting(client: Any, agent: Any, name: Namer) -> Any:
    """A playbook that a test must end."""
    steps = {"use": "wait", "seconds": 120}, {"use": "wait", "seconds": 0}
    return await client.playbooks.create(playbook_of(agent, name("waiting"), *steps))


async def until(items: Any, type: str) -> Any:
    """The first item of that type."""
    async for item in items:
        if item.type == type:
            return item
    raise AssertionError(f"it ended without {type}")


async def test_a_run_is_watched_from_its_first_event_to_its_last(
    client: Any, backend: LiveBackend, counting: Any
) -> None:
    run = await client.playbooks.run(counting.id)
    oracle = DeliveryOracle()
    async for event in client.runs.watch(run.id, start="start"):
        oracle.saw(event)
    types = [event.type for event in oracle.seen]
    assert types[0] == "run.created"
    assert types[-1] == "run.completed"
    assert types.count("run.step.finished") == 2
    log = await read_log_async(backend.url, f"run:{run.id}", auth=ApiKey(backend.api_key))
    verdict = oracle.judge(log)
    assert verdict.ok, verdict.explain()

    # From any place in between, what follows is the same.
    async with client.events.subscribe(f"run:{run.id}", start="start") as feed:
        assert [event async for event in feed] == log
    done = await client.runs.get(run.id)
    assert (done.status, done.steps_finished) == ("completed", 2)


async def test_a_watch_begins_with_where_the_run_stands(client: Any, counting: Any) -> None:
    run = await client.playbooks.run(counting.id)
    items = [item async for item in client.runs.watch(run.id)]
    assert isinstance(items[0], RunSnapshot)
    assert [event.seq for event in items[1:]] == [items[0].cursor.seq + number for number in range(1, len(items))]
    (last,) = [item async for item in client.runs.watch(run.id)]
    assert last.terminal
    assert last.data.run.status == "completed"


async def test_a_watch_goes_on_after_a_cursor(client: Any, counting: Any) -> None:
    run = await client.playbooks.run(counting.id)
    first = [item async for item in client.runs.watch(run.id)]
    cursor = Cursor(first[0].cursor.epoch, 2)
    events = [event async for event in client.runs.watch(run.id, start=cursor)]
    assert events[0].seq == 3
    assert events[-1].terminal


async def test_waiting_gives_the_run_as_it_ended(client: Any, counting: Any) -> None:
    run = await client.playbooks.run(counting.id)
    done = await client.runs.wait(run.id, timeout_seconds=30, check=True)
    assert done.status == "completed"
    assert done.output["artifact"] == "out.txt"


async def test_a_failed_run_says_why_and_is_retried_from_there(client: Any, agent: Any, name: Namer) -> None:
    steps = {"use": "text.stats", "text": "a"}, {"use": "text.search", "path": "nowhere", "pattern": "x"}
    playbook = await client.playbooks.create(playbook_of(agent, name("failing"), *steps))
    run = await client.playbooks.run(playbook.id)
    with pytest.raises(RunFailedError, match="nowhere") as caught:
        await client.runs.wait(run.id, timeout_seconds=30, check=True)
    assert caught.value.run.error.code == "not_found"

    again = await client.runs.retry(run.id)
    assert again.retry_of == run.id
    await client.runs.wait(again.id, timeout_seconds=30)
    steps_of_it = [(step.id, step.status) async for step in client.runs.steps(again.id)]
    assert steps_of_it == [("s1", "reused"), ("s2", "failed")]


async def test_a_run_leaves_steps_and_artifacts(client: Any, counting: Any, tmp_path: Path) -> None:
    run = await client.playbooks.run(counting.id)
    await client.runs.wait(run.id, timeout_seconds=30)
    assert [step.status async for step in client.runs.steps(run.id, page_size=1)] == ["completed", "completed"]
    (artifact,) = [artifact async for artifact in client.runs.artifacts(run.id)]
    content = await client.runs.read_artifact(run.id, artifact.name)
    assert content == b"done\n"
    assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    file = await client.runs.download_artifact(run.id, "out.txt", tmp_path / "copy.txt")
    assert file.read_bytes() == content
    with pytest.raises(ArtifactNotFoundError):
        await client.runs.download_artifact(run.id, "other.txt", tmp_path / "other.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["copy.txt"]


async def test_a_run_is_cancelled_while_it_works(client: Any, waiting: Any) -> None:
    run = await client.playbooks.run(waiting.id)
    await until(client.runs.watch(run.id, start="start"), "task.progress")
    with pytest.raises(RunNotEndedError):
        await client.runs.delete(run.id)
    await client.runs.cancel(run.id)
    done = await client.runs.wait(run.id, timeout_seconds=30)
    assert done.status == "cancelled"
    with pytest.raises(RunEndedError):
        await client.runs.cancel(run.id)
    assert [run.id async for run in client.runs.list(status="cancelled", playbook=waiting.id)] == [run.id]

    await client.runs.delete(run.id)
    with pytest.raises(RunNotFoundError):
        await client.runs.get(run.id)


async def test_a_paused_run_waits_and_goes_on(client: Any, agent: Any, name: Namer) -> None:
    steps = {"use": "wait", "seconds": 0.3}, {"use": "wait", "seconds": 0}
    playbook = await client.playbooks.create(playbook_of(agent, name("pausing"), *steps))
    run = await client.playbooks.run(playbook.id)
    await until(client.runs.watch(run.id, start="start"), "task.started")
    await client.runs.pause(run.id)
    paused = await until(client.runs.watch(run.id, start="start"), "run.paused")
    assert paused.data.run.steps_finished == 1
    await client.runs.resume(run.id)
    done = await client.runs.wait(run.id, timeout_seconds=30)
    assert (done.status, done.steps_finished) == ("completed", 2)


async def test_waiting_has_an_end_and_the_run_goes_on(client: Any, waiting: Any) -> None:
    run = await client.playbooks.run(waiting.id)
    with pytest.raises(TimeoutError):
        await client.runs.wait(run.id, timeout_seconds=0.2)
    assert (await client.runs.get(run.id)).ended_at is None
    await client.runs.cancel(run.id)
    await client.runs.wait(run.id, timeout_seconds=30)


async def test_a_deadline_bounds_everything_inside_it(client: Any, waiting: Any) -> None:
    run = await client.playbooks.run(waiting.id)
    with deadline(0.5), pytest.raises(TimeoutError):
        await client.runs.wait(run.id)
    with deadline(0.5), pytest.raises(RealtimeTimeoutError):
        async for _ in client.runs.watch(run.id):
            pass
    assert (await client.runs.get(run.id)).ended_at is None
    await client.runs.cancel(run.id)
    await client.runs.wait(run.id, timeout_seconds=30)


async def test_inputs_are_checked_before_anything_runs(client: Any, agent: Any, name: Namer) -> None:
    spec = playbook_of(agent, name("inputs"), {"use": "wait", "seconds": "{{ inputs.pause }}"})
    spec["inputs"] = {"pause": {"type": "float", "max": 1}}
    playbook = await client.playbooks.create(spec)
    with pytest.raises(InputsInvalidError) as caught:
        await client.playbooks.run(playbook.id, inputs={"pause": 5})
    assert caught.value.errors[0].loc[-1] == "pause"
    assert [run.id async for run in client.runs.list(playbook=playbook.id)] == []
    run = await client.playbooks.run(playbook.id, inputs={"pause": 0})
    assert (await client.runs.wait(run.id, timeout_seconds=30)).output == {"seconds": 0}


async def test_what_is_not_there_cannot_be_watched(client: Any) -> None:
    with pytest.raises(RunNotFoundError):
        await until(client.runs.watch("run_nothing"), "run.created")
    with pytest.raises(TopicForbiddenError):
        async with client.events.subscribe("run:run_nothing", start="start"):
            raise AssertionError("there is nothing to see")
