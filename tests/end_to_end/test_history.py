"""The log read over HTTP, and the state that is read anew after a gap, both on the real backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playcall import ApiKey
from playcall.errors import EventGapError, InvalidArgumentError, TopicForbiddenError
from playcall.models import Cursor
from playcall.realtime.items import Snapshot
from playcall.services.run_service import RunSnapshot
from playcall.testing import LiveBackend

from .conftest import playbook_of
from .faces import open_client

Namer = Callable[[str], str]


@pytest.fixture
async def run(client: Any, agent: Any, name: Namer) -> Any:
    """A run that has ended."""
    steps = {"use": "text.stats", "text": "a b"}, {"use": "files.write", "path": "out.txt", "content": "done\n"}
    playbook = await client.playbooks.create(playbook_of(agent, name("counted"), *steps))
    started = await client.playbooks.run(playbook.id)
    return await client.runs.wait(started.id, timeout_seconds=30)


async def history(client: Any, *args: Any, **options: Any) -> list[Any]:
    return [event async for event in client.events.history(*args, **options)]


async def test_history_is_the_log_whatever_the_size_of_its_pages(client: Any, run: Any) -> None:
    topic = f"run:{run.id}"
    whole = await history(client, topic)
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    assert whole[-1].terminal
    assert len(whole) > 5
    for size in (1, 2, len(whole), 5_000):
        assert await history(client, topic, page_size=size) == whole
    watched = [event async for event in client.runs.watch(run.id, start="start")]
    assert watched == whole


async def test_history_goes_from_after_one_cursor_up_to_and_with_another(client: Any, run: Any) -> None:
    topic = f"run:{run.id}"
    whole = await history(client, topic)
    [shown] = [each async for each in client.runs.watch(run.id)]
    epoch = shown.cursor.epoch
    start, end = Cursor(epoch, 2, whole[1].id), Cursor(epoch, 5)
    assert await history(client, topic, start, end, page_size=2) == whole[2:5]
    assert await history(client, topic, end, start) == []
    types = {"run.step.finished"}
    assert await history(client, topic, types=types) == [each for each in whole if each.type in types]


async def test_history_that_cannot_be_told_says_why(client: Any, run: Any) -> None:
    topic = f"run:{run.id}"
    with pytest.raises(TopicForbiddenError, match="run:nothing"):
        await history(client, "run:nothing")
    with pytest.raises(EventGapError) as caught:
        await history(client, topic, Cursor("another", 3))
    assert caught.value.code == "epoch"
    with pytest.raises(InvalidArgumentError, match="epoch"):
        await history(client, topic, "start", Cursor("another", 3))
    for wrong in ({"start": "head"}, {"end": 5}, {"types": "run.*"}, {"page_size": 0}):
        with pytest.raises(InvalidArgumentError):
            await history(client, topic, **wrong)


async def test_after_a_gap_a_watcher_is_given_the_run_as_it_stands_where_it_wants_that(client: Any, run: Any) -> None:
    lost = Cursor("another", 3)
    with pytest.raises(EventGapError):
        [each async for each in client.runs.watch(run.id, start=lost)]
    items = [each async for each in client.runs.watch(run.id, start=lost, on_gap="snapshot")]
    assert [type(each) for each in items] == [RunSnapshot]
    assert items[0].data.run == run
    assert items[0].terminal


async def test_after_a_gap_a_feed_is_given_the_state_and_then_what_follows_it(
    client: Any, backend: LiveBackend, name: Namer
) -> None:
    before = await client.agents.create({"name": name("before")})
    async with client.events.subscribe("agents", start=Cursor("another", 3), on_gap="snapshot") as feed:
        after = None
        async for item in feed:
            if isinstance(item, Snapshot):
                assert after is None, "the state comes once"
                assert item.gap.reason == "epoch"
                assert before in item.state
                assert item.state == tuple([each async for each in client.agents.list()])
                after = await client.agents.create({"name": name("after")})
            elif item.data.agent == after:
                break
            else:
                raise AssertionError(f"{item} does not follow the state")
    async with open_client("async", backend.url, auth=ApiKey(backend.api_key)) as other:
        assert await other.agents.get(before.id) == before


async def test_the_state_of_one_agent_is_read_the_same_way(client: Any, agent: Any) -> None:
    async with client.events.subscribe(f"agent:{agent.id}", start=Cursor("another", 3), on_gap="snapshot") as feed:
        async for item in feed:
            assert isinstance(item, Snapshot)
            assert item.state == agent
            break
