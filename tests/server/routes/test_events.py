"""The log without a WebSocket: the same frames, as an answer."""

from __future__ import annotations

import asyncio

import pytest

from playcall.models.frames import EventPage
from playcall.server.log import TopicEntry

from ..conftest import Api


async def test_history_is_the_log_in_order_page_by_page(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=300)
    seqs: list[int] = []
    cursor = "start"
    while True:
        answer = await api("GET", "/events", params={"topic": "run:1", "from": cursor, "limit": 130})
        page = EventPage.model_validate(answer.json)
        assert page.head == 300
        seqs += [event.seq for frame in page.frames if frame.op == "events" for event in frame.events]
        cursor = answer.headers["X-Event-Cursor"]
        if not page.frames:
            break
    assert seqs == list(range(1, 301))


async def test_frames_chain_from_where_the_answer_begins(api: Api) -> None:
    await api.server.emit(api.user, "run:1", type="a", count=3)
    await api.server.emit(api.user, "run:1", type="b")
    page = await api.ok("GET", "/events", params=[("topic", "run:1"), ("types", "b"), ("types", "c.*")])
    (frame,) = page["frames"]
    assert (page["seq"], frame["sid"], frame["prev"], frame["to"]) == (0, "run:1", 0, 4)
    assert [event["type"] for event in frame["events"]] == ["b"]


async def test_gaps_and_ends_are_frames(api: Api) -> None:
    await api.server.emit(api.user, TopicEntry("run:1", ends="deleted"))
    ended = await api.ok("GET", "/events", params={"topic": "run:1", "wait_seconds": 5})
    assert [frame["op"] for frame in ended["frames"]] == ["events", "ended"]
    assert ended["frames"][1]["reason"] == "deleted"
    gap = await api.ok("GET", "/events", params={"topic": "run:1", "from": "other:1", "wait_seconds": 5})
    assert [(frame["op"], frame["reason"]) for frame in gap["frames"]] == [("gap", "epoch")]


async def test_a_long_poll_answers_when_something_comes(api: Api) -> None:
    poll = asyncio.create_task(
        api.ok("GET", "/events", params={"topic": "runs", "from": "head", "types": "b", "wait_seconds": 20})
    )
    while (api.user.id, "runs") not in api.server.core.database.wakes.watched():
        await asyncio.sleep(0.01)
    await api.server.emit(api.user, "runs", type="a")
    await api.server.emit(api.user, "runs", type="b")
    page = await asyncio.wait_for(poll, 5)
    assert [event["type"] for frame in page["frames"] for event in frame["events"]] == ["b"]


async def test_a_long_poll_ends_empty_when_its_time_is_over(api: Api) -> None:
    page = await api.ok("GET", "/events", params={"topic": "runs", "from": "head", "wait_seconds": 0.05})
    assert page["frames"] == []
    sooner = await api("GET", "/events?topic=runs&from=head&wait_seconds=30", headers={"X-Request-Timeout-Ms": "100"})
    assert sooner.status == 200, "the caller's own deadline ends the wait, not the request"


async def test_the_limit_counts_events_that_match(api: Api) -> None:
    await api.server.emit(api.user, "run:1", type="a", count=10)
    await api.server.emit(api.user, "run:1", type="b", count=5)
    assert len(await api.events("run:1", types="b", limit=2)) == 2


async def test_an_answer_is_bounded_in_bytes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playcall.server.routes.events.MAX_ANSWER_BYTES", 1_000)
    await api.server.emit(api.user, "run:1", count=1_000)
    assert 0 < len(await api.events("run:1", limit=1_000)) < 1_000


async def test_too_many_patterns_are_refused(api: Api) -> None:
    answer = await api("GET", "/events", params=[("topic", "runs"), ("types", "x" * 300)])
    assert (answer.status, answer.json["errors"][0]["loc"]) == (422, ["query", "types"])


@pytest.mark.parametrize(
    "cursor", ["EPOCH:9007199254740993", f"EPOCH:{2**63}", "EPOCH:" + "9" * 80, "ep\xf6ch:1", "a b:1", "a,b:1", "a:-1"]
)
async def test_a_cursor_that_none_can_be_is_refused(api: Api, cursor: str) -> None:
    """Not a 500 for what no database, and no header, can hold."""
    answer = await api("GET", "/events", params={"topic": "runs", "from": cursor})
    assert (answer.status, answer.json["errors"][0]["loc"]) == (422, ["query", "from"])


async def test_the_largest_cursor_is_a_gap(api: Api) -> None:
    page = await api.ok("GET", "/events", params={"topic": "runs", "from": "EPOCH:9007199254740992"})
    assert [frame["op"] for frame in page["frames"]] == ["gap"]


async def test_a_cursor_that_names_another_event_than_the_one_there_is_a_gap(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=3)
    page = await api.ok("GET", "/events", params={"topic": "run:1"})
    epoch, events = page["epoch"], page["frames"][0]["events"]
    for seq, from_id, ops in (
        (2, events[1]["id"], ["events"]),
        (2, events[0]["id"], ["gap"]),
        (3, "evt_of_another_log", ["gap"]),
        (0, "evt_that_nobody_can_check", ["events"]),
    ):
        params = {"topic": "run:1", "from": f"{epoch}:{seq}", "from_id": from_id}
        answer = await api.ok("GET", "/events", params=params)
        assert [frame["op"] for frame in answer["frames"]] == ops, (seq, from_id)
        if ops == ["gap"]:
            assert answer["frames"][0]["reason"] == "epoch"
            assert answer["frames"][0]["resume"] == {"epoch": epoch, "seq": 0}


async def test_an_answer_names_the_event_that_it_begins_after_and_the_one_that_it_ends_at(api: Api) -> None:
    await api.server.emit(api.user, "run:1", type="a", count=2)
    await api.server.emit(api.user, "run:1", type="b")
    page = await api.ok("GET", "/events", params={"topic": "run:1"})
    ids = [event["id"] for event in page["frames"][0]["events"]]
    assert "at_id" not in page
    filtered = await api.ok("GET", "/events", params={"topic": "run:1", "from": f"{page['epoch']}:1", "types": "a"})
    assert filtered["at_id"] == ids[0]
    (frame,) = filtered["frames"]
    assert (frame["to"], frame["at_id"], frame["head"]) == (3, ids[2], 3)


async def test_a_long_poll_that_is_broken_off_leaves_no_waiter(api: Api) -> None:
    poll = asyncio.create_task(api.ok("GET", "/events", params={"topic": "runs", "from": "head", "wait_seconds": 50}))
    wakes = api.server.core.database.wakes
    async with asyncio.timeout(10):
        while (api.user.id, "runs") not in wakes.watched():
            await asyncio.sleep(0.01)
        poll.cancel()
        while (api.user.id, "runs") in wakes.watched():
            await asyncio.sleep(0.01)
