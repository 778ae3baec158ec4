"""The long-poll link alone, against the real backend on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from playcall import Playcall
from playcall.errors import ConfigurationError
from playcall.http.pool import SessionPool
from playcall.models.agent import Agent, AgentSpec
from playcall.realtime.transports.base import Closed, UpgradeRefusedError
from playcall.realtime.transports.long_poll import LongPollTransport
from playcall.testing import LiveBackend

from .talk import FRAME_BYTES, Headers, Talk, talking, waiting_requests

_numbers = itertools.count()


@pytest.fixture
async def talk(backend: LiveBackend, api_key: str) -> AsyncIterator[Talk]:
    async with talking(backend.url, Headers(api_key)) as talk:
        yield talk


def create(client: Playcall) -> Agent:
    """One event in `agents`."""
    return client.agents.create(AgentSpec(name=f"agent-{next(_numbers)}", tools=["text.stats"]))


async def make(client: Playcall, count: int) -> list[Agent]:
    return [await asyncio.to_thread(create, client) for _ in range(count)]


def seqs(events: list[dict[str, object]]) -> list[object]:
    return [event["seq"] for event in events]


async def test_hello_is_answered_by_a_welcome_whose_heartbeat_is_the_wait(talk: Talk) -> None:
    await talk.send("hello", v=1, client="test")
    welcome = await talk.receive()
    assert (welcome["op"], welcome["heartbeat_seconds"], welcome["max_frame_bytes"]) == ("welcome", 25, FRAME_BYTES)
    assert welcome["connection_id"].startswith("poll-")
    assert "token_expires_in_seconds" not in welcome


async def test_a_ping_is_answered_when_the_backend_was_there(talk: Talk) -> None:
    await talk.send("ping", n=7)
    assert await talk.receive() == {"op": "pong", "n": 7}


async def test_a_new_token_is_taken_for_known_since_every_request_brings_its_own(talk: Talk) -> None:
    await talk.send("auth", id=3, token="new")
    assert await talk.receive() == {"op": "authenticated", "id": 3}


async def test_what_is_no_frame_is_answered_and_the_link_goes_on(talk: Talk) -> None:
    await talk.send("sing")
    assert (await talk.receive())["code"] == "invalid_frame"
    await talk.send("ping", n=1)
    assert (await talk.receive())["op"] == "pong"


async def test_a_subscription_from_the_start_is_answered_then_given_history_then_what_comes(
    talk: Talk, direct: Playcall
) -> None:
    await make(direct, 3)
    await talk.subscribe("agents")
    answer = await talk.receive()
    assert (answer["op"], answer["id"], answer["sid"]) == ("subscribed", 1, "s1")
    assert (answer["seq"], answer["head"]) == (0, 3)
    frame = await talk.receive()
    assert (frame["op"], frame["sid"], frame["prev"], frame["to"]) == ("events", "s1", 0, 3)
    assert seqs(frame["events"]) == [1, 2, 3]
    agents = await make(direct, 2)
    events = await talk.events(2)
    assert [event["data"]["agent"]["id"] for event in events] == [agent.id for agent in agents]


async def test_a_subscription_from_the_head_leaves_out_what_was_before(talk: Talk, direct: Playcall) -> None:
    await make(direct, 2)
    await talk.subscribe("agents", "head")
    answer = await talk.receive()
    assert (answer["seq"], answer["head"]) == (2, 2)
    await make(direct, 1)
    assert seqs(await talk.events(1)) == [3]


async def test_a_subscription_from_a_cursor_begins_after_it(talk: Talk, direct: Playcall) -> None:
    await make(direct, 3)
    await talk.subscribe("agents", "head")
    epoch = (await talk.receive())["epoch"]
    await talk.subscribe("agents", {"epoch": epoch, "seq": 1, "id": None}, sid="s2", id=2)
    answer = await talk.receive()
    assert (answer["sid"], answer["epoch"], answer["seq"], answer["head"]) == ("s2", epoch, 1, 3)
    assert seqs(await talk.events(2)) == [2, 3]


async def test_what_is_appended_while_a_request_waits_is_told_at_once(
    backend: LiveBackend, api_key: str, direct: Playcall
) -> None:
    async with talking(backend.url, Headers(api_key), wait_seconds=60) as talk:
        await talk.subscribe("agents", "head")
        await talk.receive()
        for seq in (1, 2, 3):
            await make(direct, 1)
            # The patience for one frame is far below the wait.
            assert seqs(await talk.events(1)) == [seq]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["agent.deleted"], ["agent.deleted", "agent.deleted"]),
        (["*.created", "agent.del*"], ["agent.created", "agent.deleted", "agent.created", "agent.deleted"]),
        (["a&b=%41+#", "*.deleted"], ["agent.deleted", "agent.deleted"]),
    ],
)
async def test_a_filter_lets_its_types_through_and_moves_past_the_others(
    talk: Talk, direct: Playcall, types: list[str], expected: list[str]
) -> None:
    for _ in range(2):
        (agent,) = await make(direct, 1)
        await asyncio.to_thread(direct.agents.delete, agent.id)
    await talk.subscribe("agents", types=types)
    await talk.receive()
    frame = await talk.receive()
    assert (frame["prev"], frame["to"]) == (0, 4)
    assert [event["type"] for event in frame["events"]] == expected


async def test_no_type_at_all_matches_nothing_and_moves_the_cursor(talk: Talk, direct: Playcall) -> None:
    await make(direct, 2)
    await talk.subscribe("agents", types=[])
    await talk.receive()
    frame = await talk.receive()
    assert (frame["prev"], frame["to"], frame["events"]) == (0, 2, [])


async def test_credit_is_kept_and_more_of_it_brings_more(backend: LiveBackend, api_key: str, direct: Playcall) -> None:
    await make(direct, 5)
    async with talking(backend.url, Headers(api_key), wait_seconds=0.05) as talk:
        await talk.subscribe("agents", limit=2)
        await talk.receive()
        assert seqs(await talk.events(2)) == [1, 2]
        # Two round trips later nothing was asked for: nothing waits, or there would be pings too.
        for n in (1, 2):
            await talk.send("ping", n=n)
            assert await talk.receive() == {"op": "pong", "n": n}
        await talk.send("credit", sid="s1", limit=3)
        assert seqs(await talk.events(1)) == [3]
        await talk.send("credit", sid="s1", limit=10)
        await talk.send("credit", sid="s1", limit=4)  # a limit never falls
        await talk.send("credit", sid="nobody", limit=9)
        assert seqs(await talk.events(2)) == [4, 5]


async def test_more_credit_than_a_request_may_ask_for_is_used_by_the_next(talk: Talk, direct: Playcall) -> None:
    await make(direct, 2)
    await talk.subscribe("agents", limit=5_000)
    await talk.receive()
    assert seqs(await talk.events(2)) == [1, 2]


async def test_unsubscribing_is_answered_and_nothing_follows(
    talk: Talk, direct: Playcall, backend: LiveBackend
) -> None:
    await talk.subscribe("agents", "head")
    await talk.receive()
    await talk.subscribe("agents", "head", sid="s2", id=2)
    await talk.receive()
    await talk.send("unsubscribe", id=5, sid="s1")
    assert await talk.receive() == {"op": "unsubscribed", "id": 5, "sid": "s1"}
    await make(direct, 2)
    frames = [await talk.receive()]
    while frames[-1]["to"] < 2:
        frames.append(await talk.receive())
    await talk.send("ping", n=1)
    _, before = await talk.until("pong")
    assert {frame["sid"] for frame in [*frames, *before]} == {"s2"}


async def test_unsubscribing_before_the_answer_came_is_answered_and_leaves_none(talk: Talk) -> None:
    await talk.subscribe("agents")
    await talk.send("unsubscribe", id=5, sid="s1")
    await talk.send("unsubscribe", id=6, sid="never")
    await talk.send("ping", n=1)
    assert [(await talk.receive())["op"] for _ in range(3)] == ["unsubscribed", "unsubscribed", "pong"]


async def test_a_sid_in_use_is_refused_without_naming_it(talk: Talk) -> None:
    await talk.subscribe("agents", id=1)
    await talk.subscribe("agents", id=2)
    first, second = await talk.receive(), await talk.receive()
    assert (first["op"], first["code"], first["id"], first.get("sid")) == ("error", "duplicate_sid", 2, None)
    assert second["op"] == "subscribed"


async def test_a_topic_that_is_not_there_is_forbidden_and_spares_the_others(talk: Talk, direct: Playcall) -> None:
    await talk.subscribe("agents", "head", sid="s1", id=1)
    await talk.receive()
    await talk.subscribe("run:nobody", sid="s2", id=2)
    refused = await talk.receive()
    assert (refused["op"], refused["id"], refused["sid"], refused["code"]) == ("error", 2, "s2", "forbidden")
    assert "not yours" in refused["message"]
    await make(direct, 1)
    assert seqs(await talk.events(1)) == [1]


async def test_a_question_that_is_wrong_is_an_invalid_subscription(talk: Talk) -> None:
    await talk.subscribe("agents", types=["x" * 201], id=4)
    refused = await talk.receive()
    assert (refused["op"], refused["id"], refused["sid"]) == ("error", 4, "s1")
    assert (refused["code"], "200 characters" in refused["message"]) == ("invalid_subscription", True)


async def test_a_topic_that_ends_says_so_last(talk: Talk, direct: Playcall) -> None:
    (agent,) = await make(direct, 1)
    await talk.subscribe(f"agent:{agent.id}")
    assert (await talk.receive())["op"] == "subscribed"
    await talk.events(1)
    await asyncio.to_thread(direct.agents.delete, agent.id)
    (last,) = await talk.events(1)
    assert (last["type"], last["terminal"]) == ("agent.deleted", True)
    assert await talk.receive() == {"op": "ended", "sid": "s1", "reason": "deleted", "retry": False}
    await talk.subscribe(f"agent:{agent.id}", "head", sid="s2", id=2)
    assert [(await talk.receive())["op"] for _ in range(2)] == ["subscribed", "ended"]


async def test_a_cursor_of_another_epoch_is_a_gap_and_no_subscription(talk: Talk, direct: Playcall) -> None:
    await make(direct, 2)
    await talk.subscribe("agents", {"epoch": "lost", "seq": 1})
    gap = await talk.receive()
    assert (gap["op"], gap["sid"], gap["reason"], gap["lost_after"]["epoch"]) == ("gap", "s1", "epoch", "lost")
    assert gap["resume"]["seq"] == 0
    await talk.subscribe("agents", gap["resume"], sid="s2", id=2)
    assert (await talk.receive())["op"] == "subscribed"
    assert seqs(await talk.events(2)) == [1, 2]


async def test_events_that_expire_while_credit_is_awaited_are_a_gap(
    talk: Talk, direct: Playcall, backend: LiveBackend
) -> None:
    agents = await make(direct, 6)
    await talk.subscribe("agents", limit=2)
    await talk.receive()
    assert seqs(await talk.events(2)) == [1, 2]
    with closing(sqlite3.connect(backend.data_dir / "playcall.sqlite3", timeout=10)) as database, database:
        (topic,) = database.execute(
            "SELECT topic_id FROM events JOIN topics ON topics.id = topic_id WHERE name = 'agents' AND data LIKE ?",
            (f"%{agents[0].id}%",),
        ).fetchone()
        database.execute("UPDATE topics SET floor = 5 WHERE id = ?", (topic,))
        database.execute("DELETE FROM events WHERE topic_id = ? AND seq < 5", (topic,))
    await talk.send("credit", sid="s1", limit=256)
    gap = await talk.receive()
    assert (gap["op"], gap["reason"], gap["lost_after"]["seq"], gap["resume"]["seq"]) == ("gap", "expired", 2, 4)


async def test_an_answer_that_moved_nothing_is_a_ping(backend: LiveBackend, api_key: str, direct: Playcall) -> None:
    await make(direct, 1)
    async with talking(backend.url, Headers(api_key), wait_seconds=0.05) as talk:
        await talk.subscribe("agents", "head")
        await talk.receive()
        assert await talk.receive() == {"op": "ping", "n": 0, "at": {"s1": 1}}
        await talk.send("pong", n=0)
        assert (await talk.receive())["op"] == "ping"


async def test_what_the_filter_leaves_out_moves_the_cursor_when_the_wait_is_over(
    backend: LiveBackend, api_key: str, direct: Playcall
) -> None:
    async with talking(backend.url, Headers(api_key), wait_seconds=0.05) as talk:
        await talk.subscribe("agents", "head", types=["agent.deleted"])
        await talk.receive()
        await make(direct, 1)
        frame, before = await talk.until("events")
        assert (frame["prev"], frame["to"], frame["events"]) == (0, 1, [])
        assert {each["op"] for each in before} <= {"ping"}


async def test_credentials_are_asked_for_anew_for_each_request(backend: LiveBackend, api_key: str) -> None:
    headers = Headers(api_key)
    async with talking(backend.url, headers) as talk:
        assert headers.asked == 1
        await talk.send("ping", n=1)
        await talk.receive()
        assert headers.asked == 2


async def test_credentials_that_are_refused_end_the_link_with_their_status_for_good(
    backend: LiveBackend, api_key: str
) -> None:
    headers = Headers(api_key)
    async with talking(backend.url, headers) as talk:
        headers.given = {"X-API-Key": "pk_revoked"}
        await talk.subscribe("agents")
        for _ in range(2):
            with pytest.raises(UpgradeRefusedError) as refused:
                await talk.receive()
            assert refused.value.status == 401
            assert "pk_revoked" not in str(refused.value) + refused.value.detail
            await talk.send("ping", n=1)  # too late, and no error: receive has the word


async def test_what_the_provider_of_credentials_raises_comes_out_as_it_is(backend: LiveBackend, api_key: str) -> None:
    headers = Headers(api_key)
    async with talking(backend.url, headers) as talk:
        headers.given = LookupError("no credentials now")
        await talk.subscribe("agents")
        with pytest.raises(LookupError, match="no credentials now"):
            await talk.receive()


async def test_dialling_with_credentials_that_are_refused_is_a_refused_upgrade(backend: LiveBackend) -> None:
    pool = SessionPool()
    with pytest.raises(UpgradeRefusedError) as refused:
        await LongPollTransport(backend.url, pool).dial(Headers("pk_wrong"), max_frame_bytes=FRAME_BYTES)
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")
    assert refused.value.detail
    await pool.close()


async def test_who_is_known_can_be_asked_beside_any_link(backend: LiveBackend, api_key: str) -> None:
    pool = SessionPool()
    transport = LongPollTransport(backend.url, pool)
    assert await transport.identity({"X-API-Key": api_key}) == "known"
    assert await transport.identity({"X-API-Key": "pk_wrong"}) == "expired"
    await pool.close()


async def test_closing_breaks_off_what_waits_and_may_be_done_twice(talk: Talk) -> None:
    for n in range(20):
        await talk.subscribe("agents", "head", sid=f"s{n}", id=n)
    for _ in range(20):
        await talk.receive()
    assert waiting_requests()
    await talk.link.close(1000, "done")
    assert not waiting_requests()
    await talk.link.close(1000, "done")
    assert isinstance(await talk.link.receive(), Closed)
    await talk.subscribe("agents", sid="late")
    assert isinstance(await talk.link.receive(), Closed)


@pytest.mark.parametrize("seconds", [0, -1, 60.5, float("nan")])
def test_a_wait_that_the_backend_would_not_grant_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="at most 60"):
        LongPollTransport("http://127.0.0.1:1", SessionPool(), wait_seconds=seconds)
