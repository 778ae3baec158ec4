"""Topics are per owner: no path shows one user the events of another, and a topic that is gone ends what follows it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete

from playcall.server.store.tables import TopicRow

from ..conftest import Api
from .test_websocket import talking


async def test_topics_of_the_same_name_are_their_owners_alone(api: Api) -> None:
    """From the start, live, and over HTTP."""
    other = await api.other()
    for topic in ("run:1", "agents"):
        await api.server.emit(api.user, topic, data={"of": "mine"})
        await api.server.emit(other.user, topic, count=3, data={"of": "theirs"})
    for topic in ("run:1", "agents"):
        async with talking(api) as talk:
            assert (await talk.subscribe(topic))["head"] == 1
            await api.server.emit(other.user, topic, data={"of": "theirs"})
            await api.server.emit(api.user, topic, data={"of": "mine"})
            seen = await talk.events_to(2)
        seen += await api.events(topic)
        assert [event["data"]["of"] for event in seen] == ["mine"] * 4


async def test_nothing_tells_anothers_topic_from_none(api: Api) -> None:
    other = await api.other()
    await api.server.emit(other.user, "run:theirs", "task:theirs", "agent:theirs")
    cursor = (await other("GET", "/events", params={"topic": "run:theirs"})).headers["X-Event-Cursor"]
    epoch, seq = cursor.split(":")
    for kind in ("run", "task", "agent"):
        answers: list[Any] = []
        for name in (f"{kind}:theirs", f"{kind}:none"):
            for start in ("start", "head", cursor):
                answer = await api("GET", "/events", params={"topic": name, "from": start, "wait_seconds": 1})
                assert answer.status == 403
                answers.append({**answer.json, "request_id": ""})
        assert answers == answers[:1] * 6
        async with talking(api) as talk:
            answers = []
            for sid, name in (("a", f"{kind}:theirs"), ("b", f"{kind}:none")):
                answers.append(await talk.subscribe(name, sid=sid, **{"from": {"epoch": epoch, "seq": int(seq)}}))
                assert answers[-1].pop("sid") == sid
            assert answers == answers[:1] * 2


async def test_anothers_cursor_shows_nothing_of_theirs(api: Api) -> None:
    """It is a place like any other in one's own topic, or a gap where that has not come so far."""
    other = await api.other()
    await api.server.emit(other.user, "agents", count=5, data={"of": "theirs"})
    await api.server.emit(api.user, "agents", count=3, data={"of": "mine"})
    page = (await other("GET", "/events", params={"topic": "agents", "limit": 2})).json
    inside = page["frames"][-1]["events"][-1]
    async with talking(api) as talk:
        plain = {"epoch": page["epoch"], "seq": inside["seq"]}
        assert (await talk.subscribe("agents", sid="a", **{"from": plain}))["op"] == "subscribed"
        assert [event["data"]["of"] for event in await talk.events_to(3, sid="a", prev=2)] == ["mine"]
        named = {**plain, "id": inside["id"]}
        assert (await talk.subscribe("agents", sid="b", **{"from": named}))["op"] == "gap"
        beyond = {"epoch": page["epoch"], "seq": 5}
        assert (await talk.subscribe("agents", sid="c", **{"from": beyond}))["reason"] == "ahead"
    frames = (await api.ok("GET", "/events", params={"topic": "agents", "from": f"{page['epoch']}:5"}))["frames"]
    assert [(frame["op"], frame.get("reason")) for frame in frames] == [("gap", "ahead")]


async def test_anothers_events_end_no_wait(api: Api) -> None:
    other = await api.other()
    waiting = asyncio.create_task(api("GET", "/events", params={"topic": "agents", "from": "head", "wait_seconds": 20}))
    while (api.user.id, "agents") not in api.server.core.database.wakes.watched():
        await asyncio.sleep(0.01)
    await api.server.emit(other.user, "agents", data={"of": "theirs"})
    await api.server.emit(api.user, "agents", data={"of": "mine"})
    frames = (await waiting).json["frames"]
    assert [event["data"]["of"] for frame in frames for event in frame["events"]] == ["mine"]


async def take_away(api: Api, topic: str) -> None:
    async def remove() -> None:
        async with api.server.core.database.write() as tx:
            await tx.session.execute(delete(TopicRow).where(TopicRow.owner_id == api.user.id, TopicRow.name == topic))

    await api.server.acall(remove())


@pytest.mark.parametrize("credit", [1, 100])
async def test_a_topic_that_is_gone_ends_what_follows_it_soon_with_credit_or_without(api: Api, credit: int) -> None:
    await api.server.emit(api.user, "run:1", count=2)
    async with talking(api) as talk:
        await talk.subscribe("run:1", limit=credit)
        await talk.events_to(min(credit, 2))
        await take_away(api, "run:1")
        assert await talk.receive() == {"op": "ended", "sid": "s1", "reason": "forbidden", "retry": False}
        again = await talk.subscribe("run:1", sid="s2")
        assert again["code"] == "forbidden"


async def test_a_topic_that_is_gone_ends_a_long_poll_soon(api: Api) -> None:
    await api.server.emit(api.user, "run:1")
    params = {"topic": "run:1", "from": "head", "wait_seconds": 30}
    waiting = asyncio.create_task(api("GET", "/events", params=params))
    while (api.user.id, "run:1") not in api.server.core.database.wakes.watched():
        await asyncio.sleep(0.01)
    await take_away(api, "run:1")
    async with asyncio.timeout(5):
        frames = (await waiting).json["frames"]
    assert frames == [{"op": "ended", "sid": "run:1", "reason": "forbidden", "retry": False}]
