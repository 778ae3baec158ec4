"""The realtime contract's server half, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from playcall.models import Scope
from playcall.server.auth.tokens import TokenIssuer
from playcall.server.log import TopicEntry
from playcall.server.settings import Settings
from playcall.server.store.tables import SIGNING_KEY, EventRow, TopicRow, UserRow

from ..conftest import Api, RunningServer, User

SUBPROTOCOL = "playcall.v1"


class Talk:
    """A conversation, frame by frame; pings are answered with nothing and passed over unless asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, **frame: Any) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def receive(self, *, pings: bool = False) -> dict[str, Any]:
        while True:
            message = await self.socket.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            frame: dict[str, Any] = json.loads(message.data)
            if pings or frame["op"] != "ping":
                return frame

    async def closed(self) -> int:
        while True:
            message = await self.socket.receive(timeout=5)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return int(message.data)
            assert message.type is aiohttp.WSMsgType.TEXT, message

    async def hello(self, **more: Any) -> dict[str, Any]:
        await self.send(op="hello", v=1, client="test", **more)
        return await self.receive()

    async def subscribe(self, topic: str, *, sid: str = "s1", id: int = 1, limit: int = 100, **more: Any) -> Any:
        await self.send(op="subscribe", id=id, sid=sid, topic=topic, limit=limit, **{"from": "start", **more})
        return await self.receive()

    async def events_to(self, to: int, *, sid: str = "s1", prev: int = 0) -> list[dict[str, Any]]:
        """The events up to `to`, the chain of frames checked."""
        events: list[dict[str, Any]] = []
        while prev < to:
            frame = await self.receive()
            assert (frame["op"], frame["sid"], frame["prev"]) == ("events", sid, prev), frame
            events += frame["events"]
            prev = frame["to"]
        assert prev == to
        return events


@asynccontextmanager
async def open_socket(api: Api, headers: dict[str, str] | None = None) -> AsyncGenerator[Talk]:
    """Not yet hello; `headers` as given, by default the user's key."""
    async with api.session.ws_connect(
        f"{api.server.url}/api/v1/ws",
        headers=api.headers if headers is None else headers,
        protocols=(SUBPROTOCOL,),
        autoping=True,
    ) as socket:
        yield Talk(socket)


@asynccontextmanager
async def talking(api: Api, headers: dict[str, str] | None = None) -> AsyncGenerator[Talk]:
    async with open_socket(api, headers) as talk:
        assert (await talk.hello())["op"] == "welcome"
        yield talk


async def test_hello_is_answered_with_what_holds_for_the_connection(api: Api) -> None:
    async with open_socket(api) as talk:
        assert talk.socket.protocol == SUBPROTOCOL
        welcome = await talk.hello()
        assert welcome.pop("connection_id")
        assert welcome == {"op": "welcome", "v": 1, "heartbeat_seconds": 0.3, "max_frame_bytes": 1_048_576}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X-API-Key": "pk_wrong"}, 401, "unauthenticated"),
        ({"Authorization": "Bearer wrong"}, 401, "unauthenticated"),
        ({"X-API-Key": "pk_a", "Authorization": "Bearer b"}, 400, "ambiguous_credentials"),
    ],
)
async def test_a_refused_upgrade_has_its_true_status(api: Api, headers: dict[str, str], status: int, code: str) -> None:
    async with api.session.get(f"{api.server.url}/api/v1/ws", headers={**headers, **UPGRADE}) as response:
        assert response.status == status
        assert response.headers["Content-Type"] == "application/problem+json"
        assert (await response.json(content_type=None))["code"] == code
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip


async def test_an_upgrade_elsewhere_is_404_and_another_subprotocol_400(api: Api) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(f"{api.server.url}/api/v1/nothing", headers=api.headers)
    assert caught.value.status == 404
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(f"{api.server.url}/api/v1/ws", headers=api.headers, protocols=("other.v9",))
    assert caught.value.status == 400


async def test_credentials_may_come_with_hello_where_headers_cannot(api: Api) -> None:
    async with open_socket(api, {}) as talk:
        assert (await talk.hello(token=api.user.key))["op"] == "welcome"
        await api.agent()
        assert (await talk.subscribe("agents"))["op"] == "subscribed"


@pytest.mark.parametrize(
    ("headers", "hello", "code"),
    [
        ({}, {}, 4401),
        ({}, {"token": "pk_wrong"}, 4401),
        (None, {"token": "pk_wrong"}, 4401),
        (None, {"v": 2}, 4406),
        (None, {"op": "subscribe"}, 4001),
    ],
)
async def test_a_hello_that_cannot_be_taken_closes(
    api: Api, headers: dict[str, str] | None, hello: dict[str, Any], code: int
) -> None:
    async with open_socket(api, headers) as talk:
        await talk.send(**{"op": "hello", "v": 1, **hello})
        assert await talk.closed() == code


async def test_a_hello_that_does_not_come_closes(api: Api) -> None:
    async with open_socket(api) as talk:
        assert await talk.closed() == 4001


async def test_a_subscription_replays_then_goes_on_live(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=300)
    async with talking(api) as talk:
        subscribed = await talk.subscribe("run:1", limit=1_000)
        assert (subscribed["seq"], subscribed["head"]) == (0, 300)
        events = await talk.events_to(300)
        await api.server.emit(api.user, "run:1", count=3)
        events += await talk.events_to(303, prev=300)
        assert [event["seq"] for event in events] == list(range(1, 304))
        assert len({event["id"] for event in events}) == 303


async def test_a_subscription_begins_at_head_or_after_a_cursor(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=10)
    async with talking(api) as talk:
        head = await talk.subscribe("run:1", **{"from": "head"})
        assert head["seq"] == 10
        after = await talk.subscribe("run:1", sid="s2", **{"from": {"epoch": head["epoch"], "seq": 7}})
        assert after["seq"] == 7
        assert [event["seq"] for event in await talk.events_to(10, sid="s2", prev=7)] == [8, 9, 10]


async def test_what_the_filter_leaves_out_moves_the_cursor_and_costs_no_credit(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=5, type="noise.x")
    await api.server.emit(api.user, "run:1", type="task.failed")
    await api.server.emit(api.user, "run:1", count=5, type="noise.y")
    async with talking(api) as talk:
        await talk.subscribe("run:1", types=["task.*"], limit=1)
        assert [event["seq"] for event in await talk.events_to(11)] == [6]


async def test_nothing_is_sent_beyond_the_limit_and_credit_lets_it_go_on(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=10)
    async with talking(api) as talk:
        await talk.subscribe("run:1", limit=4)
        assert len(await talk.events_to(4)) == 4
        await api.server.emit(api.user, "run:1")
        ping = await talk.receive(pings=True)
        assert (ping["op"], ping["at"]) == ("ping", {"s1": 4}), "silence, and a ping that says how far it is"
        await talk.send(op="credit", sid="s1", limit=2)
        await talk.send(op="credit", sid="s1", limit=6)
        assert len(await talk.events_to(6, prev=4)) == 2
        await talk.send(op="credit", sid="s1", limit=100)
        assert len(await talk.events_to(11, prev=6)) == 5


async def test_a_topic_that_ends_ends_its_subscription(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=2)
    async with talking(api) as talk:
        await talk.subscribe("run:1")
        await talk.events_to(2)
        await api.server.emit(api.user, TopicEntry("run:1", ends="finished"))
        (last,) = await talk.events_to(3, prev=2)
        assert last["terminal"] is True
        assert await talk.receive() == {"op": "ended", "sid": "s1", "reason": "finished", "retry": False}
        again = await talk.subscribe("run:1", sid="s2", **{"from": "head"})
        assert (again["op"], (await talk.receive())["op"]) == ("subscribed", "ended")


async def test_somebody_elses_topic_and_none_are_refused_in_the_same_words(api: Api) -> None:
    other = await api.other()
    await api.server.emit(other.user, "run:theirs")
    async with talking(api) as talk:
        theirs = await talk.subscribe("run:theirs", sid="a")
        none = await talk.subscribe("run:none", sid="b")
        assert theirs["code"] == "forbidden"
        assert {**theirs, "sid": ""} == {**none, "sid": ""}
        assert (await talk.subscribe("runs", sid="c"))["op"] == "subscribed", (
            "collections are everyone's from the start"
        )


async def test_a_cursor_of_which_nothing_can_be_said_is_a_gap(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=10)
    await raise_floor(api.server, api.user, "run:1", 5)
    async with talking(api) as talk:
        epoch = (await talk.subscribe("run:1", **{"from": "head"}))["epoch"]
        resume = {"epoch": epoch, "seq": 4}
        for sid, cursor, reason in (
            ("a", {"epoch": epoch, "seq": 3}, "expired"),
            ("b", {"epoch": epoch, "seq": 11}, "ahead"),
            ("c", {"epoch": "old", "seq": 7}, "epoch"),
        ):
            gap = await talk.subscribe("run:1", sid=sid, **{"from": cursor})
            assert gap == {"op": "gap", "sid": sid, "reason": reason, "lost_after": cursor, "resume": resume}
        start = await talk.subscribe("run:1", sid="d")
        assert start["seq"] == 4


async def raise_floor(server: RunningServer, user: User, topic: str, floor: int) -> None:
    """What retention does."""
    from sqlalchemy import delete, select

    async def expire() -> None:
        async with server.core.database.write() as tx:
            row = (
                await tx.session.execute(select(TopicRow).where(TopicRow.owner_id == user.id, TopicRow.name == topic))
            ).scalar_one()
            row.floor = floor
            await tx.session.execute(delete(EventRow).where(EventRow.topic_id == row.id, EventRow.seq < floor))

    await server.acall(expire())


async def test_retention_that_overtakes_a_slow_reader_is_told_as_a_gap(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=10)
    async with talking(api) as talk:
        await talk.subscribe("run:1", limit=2)
        await talk.events_to(2)
        await raise_floor(api.server, api.user, "run:1", 6)
        await talk.send(op="credit", sid="s1", limit=100)
        gap = await talk.receive()
        assert (gap["op"], gap["reason"], gap["lost_after"]["seq"], gap["resume"]["seq"]) == ("gap", "expired", 2, 5)


async def test_unsubscribing_ends_a_subscription_and_its_sid(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=3)
    async with talking(api) as talk:
        await talk.subscribe("run:1")
        await talk.events_to(3)
        await talk.send(op="unsubscribe", id=9, sid="s1")
        assert await talk.receive() == {"op": "unsubscribed", "id": 9, "sid": "s1"}
        await api.server.emit(api.user, "run:1")
        again = await talk.subscribe("run:1", id=10)
        assert (again["op"], again["code"], again["id"]) == ("error", "duplicate_sid", 10)
        assert "sid" not in again
        await talk.send(op="unsubscribe", id=11, sid="unknown")
        assert (await talk.receive())["op"] == "unsubscribed"


async def test_a_blocked_subscription_can_be_ended(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=3)
    async with talking(api) as talk:
        await talk.subscribe("run:1", limit=0)
        await talk.send(op="unsubscribe", id=2, sid="s1")
        assert (await talk.receive())["op"] == "unsubscribed"


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("{", None),
        ("[]", None),
        ('{"op":1}', None),
        ('{"op":"subscribe","id":5}', 5),
        ('{"op":"subscribe","id":5,"sid":"","topic":"runs","from":"start","limit":1}', 5),
        ('{"op":"subscribe","id":5,"sid":"s","topic":"runs","from":"start","limit":-1}', 5),
        ('{"op":"subscribe","id":5,"sid":"s","topic":"runs","from":{"epoch":"e","seq":-1},"limit":1}', 5),
        ('{"op":"subscribe","id":5,"sid":"s","topic":"runs","types":["%s"],"from":"start","limit":1}' % ("a" * 300), 5),
        ('{"op":"hello"}', None),
    ],
)
async def test_a_frame_that_cannot_be_read_is_answered_and_the_connection_goes_on(
    api: Api, text: str, id: int | None
) -> None:
    async with talking(api) as talk:
        await talk.socket.send_str(text)
        error = await talk.receive()
        assert (error["op"], error.get("id")) == ("error", id)
        assert (await talk.subscribe("runs", sid="fine"))["op"] == "subscribed"


async def test_binary_is_refused_an_unknown_op_is_ignored_and_a_ping_answered(api: Api) -> None:
    async with talking(api) as talk:
        await talk.socket.send_bytes(b"{}")
        assert (await talk.receive())["code"] == "invalid_frame"
        await talk.send(op="dance", id=1)
        await talk.send(op="ping", n=7)
        assert await talk.receive() == {"op": "pong", "n": 7}
        await talk.send(op="pong", n=1)
        await talk.send(op="credit", sid="unknown", limit=1)
        await talk.send(op="ping", n=8)
        assert (await talk.receive())["n"] == 8


async def test_a_connection_holds_so_many_subscriptions(api: Api) -> None:
    async with talking(api) as talk:
        for sid in "abc":
            assert (await talk.subscribe("runs", sid=sid))["op"] == "subscribed"
        assert (await talk.subscribe("runs", sid="d"))["code"] == "invalid_subscription"


async def test_too_many_frames_close(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playcall.server.sockets.connection.FRAME_BURST", 5)
    monkeypatch.setattr("playcall.server.sockets.connection.FRAMES_PER_SECOND", 0)
    async with talking(api) as talk:
        for n in range(6):
            await talk.send(op="ping", n=n)
        assert await talk.closed() == 4008


# --- tokens ------------------------------------------------------------------------------------------------------------


async def make_token(server: RunningServer, user: User, seconds: int) -> str:
    """Lives so long."""

    async def issue() -> str:
        database = server.core.database
        issuer = TokenIssuer(await database.meta(SIGNING_KEY), access_seconds=seconds, refresh_seconds=60)
        async with database.write() as tx:
            row = await tx.session.get_one(UserRow, user.id)
            return (await issuer.issue(tx.session, row, Scope.FULL)).access_token

    return await server.acall(issue())


async def test_a_token_that_expires_closes_unless_another_comes_in_time(api: Api) -> None:
    token = await make_token(api.server, api.user, 3)
    async with open_socket(api, {"Authorization": f"Bearer {token}"}) as talk:
        assert 0 < (await talk.hello())["token_expires_in_seconds"] <= 3
        await talk.send(op="auth", id=3, token=await make_token(api.server, api.user, 60))
        renewed = await talk.receive()
        assert (renewed["op"], renewed["id"]) == ("authenticated", 3)
        assert renewed["token_expires_in_seconds"] > 50
        await talk.send(op="auth", id=4, token=await make_token(api.server, api.user, 1))
        assert (await talk.receive())["op"] == "authenticated"
        assert await talk.closed() == 4401


async def test_a_bad_token_in_band_leaves_the_old_one_and_somebody_elses_closes(api: Api) -> None:
    async with talking(api) as talk:
        await talk.send(op="auth", id=1, token="wrong")
        error = await talk.receive()
        assert (error["op"], error["id"], error["code"]) == ("error", 1, "unauthenticated")
        other = await api.server.new_user()
        await talk.send(op="auth", id=2, token=other.key)
        assert await talk.closed() == 4403


async def test_a_revoked_key_closes_what_it_opened(api: Api) -> None:
    key = await api.ok("POST", "/auth/api-keys", json={"name": "k"})
    async with talking(api, {"X-API-Key": key["secret"]}) as talk, talking(api) as mine:
        await api.ok("DELETE", f"/auth/api-keys/{key['id']}")
        assert await talk.closed() == 4401
        assert (await mine.subscribe("runs"))["op"] == "subscribed"


# --- the id at a cursor -----------------------------------------------------------------------------------------------


async def test_subscribed_names_the_event_it_begins_after_and_another_one_there_is_a_gap(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=3)
    async with talking(api) as talk:
        begun = await talk.subscribe("run:1")
        assert "at_id" not in begun
        events = await talk.events_to(3)
        place = {"epoch": begun["epoch"], "seq": 2}
        for sid, there, op in (("a", events[1]["id"], "subscribed"), ("b", events[2]["id"], "gap")):
            answer = await talk.subscribe("run:1", sid=sid, **{"from": {**place, "id": there}})
            assert answer["op"] == op
            if op == "subscribed":
                assert answer["at_id"] == events[1]["id"]
                await talk.events_to(3, sid=sid, prev=2)
            else:
                assert (answer["reason"], answer["lost_after"]["seq"], answer["resume"]["seq"]) == ("epoch", 2, 0)


async def test_what_a_filter_leaves_out_is_named_by_the_frame_that_goes_past_it(api: Api) -> None:
    await api.server.emit(api.user, "run:1", type="a", count=2)
    async with talking(api) as talk:
        await talk.subscribe("run:1", sid="all")
        events = await talk.events_to(2, sid="all")
        await talk.subscribe("run:1", sid="some", types=["b"])
        frame = await talk.receive()
        assert (frame["events"], frame["to"], frame["head"], frame["at_id"]) == ([], 2, 2, events[1]["id"])


# --- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_a_log_that_cannot_be_read_closes_with_try_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    async def fail(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))

    async with talking(api) as talk:
        monkeypatch.setattr("playcall.server.sockets.subscription.read_place", fail)
        await talk.send(op="subscribe", id=1, sid="s", topic="runs", limit=1, **{"from": "start"})
        assert await talk.closed() == 1013


async def test_a_missed_wake_up_is_made_up_for_by_the_poll(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.server.emit(api.user, "run:1")
    async with talking(api) as talk:
        await talk.subscribe("run:1")
        await talk.events_to(1)
        monkeypatch.setattr("playcall.server.log.append.Outbox.wake", lambda _self: None)
        await api.server.emit(api.user, "run:1")
        assert len(await talk.events_to(2, prev=1)) == 1


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(api: Api) -> None:
    await api.server.emit(api.user, "run:1", count=200)
    before = len(api.server.core.sockets)
    async with talking(api) as talk:
        await talk.subscribe("run:1", limit=1_000)
        assert talk.socket._response.connection is not None
        transport = talk.socket._response.connection.transport
        assert transport is not None
        transport.abort()
    async with asyncio.timeout(5):
        while len(api.server.core.sockets) > before:
            await asyncio.sleep(0.01)
    assert (api.user.id, "run:1") not in api.server.core.database.wakes.watched()


async def test_the_end_of_a_server_says_goodbye_and_answers_long_polls(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    async with aiohttp.ClientSession() as session:
        with RunningServer(settings) as server:
            api = Api(server, session, await server.new_user())
            async with talking(api) as talk:
                poll = asyncio.create_task(api("GET", "/events?topic=agents&from=head&wait_seconds=30"))
                await talk.subscribe("runs")
                while (api.user.id, "agents") not in server.core.database.wakes.watched():
                    await asyncio.sleep(0.01)
                server.stop()
                goodbye = await talk.receive()
                assert goodbye == {
                    "op": "goodbye", "reason": "draining", "reconnect_after_ms": 0, "spread_ms": 8,
                }  # fmt: skip
                assert await talk.closed() == 1012
                answer = await poll
                assert (answer.status, answer.json["frames"]) == (200, [])
