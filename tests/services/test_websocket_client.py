"""Both faces of the WebSocket client on a real socket, against a server that behaves, and one that does not."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from playcall import deadline
from playcall.errors import (
    ClientClosedError,
    ConfigurationError,
    EventGapError,
    InvalidArgumentError,
    RealtimeAuthError,
    RealtimeConnectError,
    RealtimeError,
    RealtimeProtocolError,
    RealtimeTimeoutError,
    TopicForbiddenError,
)
from playcall.http.auth import ApiKey, BearerToken
from playcall.http.pool import SessionPool
from playcall.loop_thread import LoopThread
from playcall.models.cursor import Cursor
from playcall.realtime.items import Gap
from playcall.realtime.states import ConnectionState, StateChange, SubscriptionState
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient
from tests.realtime.model_server import Frame, ModelLog
from tests.realtime.scripted_server import Peer, ScriptedServer, refuse

from .websocket_faces import Face, MakeFace, seqs, take, until

# --- subscriptions ----------------------------------------------------------------------------------------------------


async def test_events_arrive_in_order_from_the_start_and_as_they_happen(face: Face, server: ScriptedServer) -> None:
    for n in range(3):
        server.append("tasks", n=n)
    async with face.subscribe("tasks", start="start") as feed:
        server.append("tasks", n=3)
        items = await take(feed, 4)
    assert seqs(items) == [1, 2, 3, 4]
    assert [item.data["n"] for item in items] == [0, 1, 2, 3]


async def test_a_deadline_around_it_ends_the_wait_for_events_and_loses_none(face: Face, server: ScriptedServer) -> None:
    server.append("tasks", n=0)
    async with face.subscribe("tasks", start="start") as feed:
        with deadline(0.1):
            await take(feed, 1)
            with pytest.raises(RealtimeTimeoutError, match="no more events of tasks"):
                await take(feed, 1)
            server.append("tasks", n=1)
            with pytest.raises(RealtimeTimeoutError):
                await take(feed, 1)  # it is over for everything inside, ready or not
        assert seqs(await take(feed, 1)) == [2]


@pytest.mark.parametrize(
    ("topic", "types"),
    [
        ("run:\udcff", None),
        ("run:" + "x" * 97, None),
        ("tasks", ["x" * 201]),
        ("tasks", ["x"] * 101),
        ("tasks", ["\udcff"]),
    ],
)
async def test_what_the_server_would_not_take_is_refused_at_once_and_spoils_nothing(
    face: Face, server: ScriptedServer, topic: str, types: list[str] | None
) -> None:
    async with face.subscribe("tasks") as feed:
        with pytest.raises(InvalidArgumentError):
            face.subscribe(topic, types=types)
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]


def test_a_name_for_the_client_that_cannot_be_sent_is_refused(server: ScriptedServer) -> None:
    with pytest.raises(ConfigurationError, match="not Unicode"):
        WebSocketClient(server.url, user_agent="\udcff")


async def test_head_means_from_now_on_and_a_cursor_from_after_it(face: Face, server: ScriptedServer) -> None:
    for n in range(3):
        server.append("tasks", n=n)
    async with face.subscribe("tasks") as head, face.subscribe("tasks", start=Cursor("e1", 1)) as after:
        server.append("tasks")
        assert seqs(await take(head, 1)) == [4]
        assert seqs(await take(after, 3)) == [2, 3, 4]


async def test_types_are_filtered_by_the_server(face: Face, server: ScriptedServer) -> None:
    async with face.subscribe("tasks", types=["task.f*"], start="start") as feed:
        for each in ("task.created", "task.failed", "task.done", "task.finished"):
            server.append("tasks", each)
        assert [item.type for item in await take(feed, 2)] == ["task.failed", "task.finished"]
    assert server.sent("subscribe")[0]["types"] == ["task.f*"]


async def test_all_subscriptions_share_one_connection(face: Face, server: ScriptedServer) -> None:
    server.change(lambda logs: logs.update(runs=ModelLog()))
    async with face.subscribe("tasks") as tasks, face.subscribe("runs") as runs:
        server.append("runs")
        server.append("tasks")
        assert seqs(await take(tasks, 1)) == seqs(await take(runs, 1)) == [1]
        assert len(server.upgrades) == 1


async def test_leaving_unsubscribes_and_a_feed_is_entered_once(face: Face, server: ScriptedServer) -> None:
    feed = face.subscribe("tasks")
    with pytest.raises(InvalidArgumentError, match="not open"):
        await anext(feed)
    async with feed:
        pass
    await until(lambda: server.sent("unsubscribe"))
    with pytest.raises(InvalidArgumentError, match="already"):
        await feed.open()
    assert [item async for item in feed] == []


async def test_more_events_than_the_window_arrive_as_they_are_taken(face: Face, server: ScriptedServer) -> None:
    for n in range(500):
        server.append("tasks", n=n)
    async with face.subscribe("tasks", start="start", window=16) as feed:
        await until(lambda: feed.buffered == 16)
        assert seqs(await take(feed, 500)) == list(range(1, 501))
    assert server.sent("subscribe")[0]["limit"] == 16
    assert len(server.sent("credit")) >= 20


async def test_a_window_of_one_works(face: Face, server: ScriptedServer) -> None:
    for n in range(20):
        server.append("tasks", n=n)
    async with face.subscribe("tasks", start="start", window=1) as feed:
        assert seqs(await take(feed, 20)) == list(range(1, 21))


async def test_iteration_ends_after_the_terminal_event(face: Face, server: ScriptedServer) -> None:
    server.change(lambda logs: logs.update({"run:1": ModelLog()}))
    async with face.subscribe("run:1", start="start") as feed:
        server.append("run:1", "run.log.line")
        server.append("run:1", "run.vanished", terminal=True)
        assert [item.type async for item in feed] == ["run.log.line", "run.vanished"]
        assert [item async for item in feed] == []


async def test_a_filter_that_hides_the_terminal_event_ends_with_the_topic(face: Face, server: ScriptedServer) -> None:
    server.change(lambda logs: logs.update({"run:1": ModelLog()}))
    async with face.subscribe("run:1", start="start", types=["other"]) as feed:
        server.append("run:1", "run.vanished", terminal=True)
        assert [item async for item in feed] == []


async def test_a_topic_that_is_not_there_is_forbidden(face: Face) -> None:
    with pytest.raises(TopicForbiddenError, match="run:nobody"):
        async with face.subscribe("run:nobody"):
            pass


async def test_without_waiting_a_refusal_comes_when_iterating(face: Face) -> None:
    async with face.subscribe("run:nobody", wait=False) as feed:
        with pytest.raises(TopicForbiddenError):
            await anext(feed)


async def test_permission_lost_meanwhile_is_raised_after_what_was_received(face: Face, server: ScriptedServer) -> None:
    async with face.subscribe("tasks") as feed:
        server.append("tasks")
        server.send({"op": "ended", "sid": "s1", "reason": "forbidden", "retry": False})
        assert seqs(await take(feed, 1)) == [1]
        for _ in range(2):
            with pytest.raises(TopicForbiddenError):
                await anext(feed)


@pytest.mark.parametrize(
    "options",
    [
        {"types": "task.*"},
        {"types": []},
        {"start": "tail"},
        {"on_gap": "ignore"},
        {"window": 0},
        {"window": True},
        {"deadline_seconds": -1},
    ],
)
async def test_arguments_that_make_no_sense_are_refused_at_once(face: Face, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        face.subscribe("tasks", **options)
    with pytest.raises(InvalidArgumentError):
        face.subscribe(" ")


# --- disconnects ------------------------------------------------------------------------------------------------------


async def test_a_cut_connection_resumes_from_the_cursor_without_loss_or_repeat(
    face: Face, server: ScriptedServer
) -> None:
    async with face.subscribe("tasks", start="start") as feed:
        received: list[int] = []
        for cuts in range(1, 4):
            for _ in range(10):
                server.append("tasks")
            received += seqs(await take(feed, 5))
            await until(lambda: server.connected == 1)
            server.cut()
            server.append("tasks")
            received += seqs(await take(feed, 6))
            await until(lambda cuts=cuts: face.client.picture.reconnects == cuts)
        assert received == list(range(1, 34))
        picture = face.client.picture
        assert (picture.received, picture.gaps) == (33, 0)


async def test_a_server_that_stops_and_comes_back_is_found_again(face: Face, server: ScriptedServer) -> None:
    changes: list[StateChange] = []
    stop = face.client.on_state(changes.append)
    async with face.subscribe("tasks") as feed:
        server.stop()
        await until(lambda: face.client.state is ConnectionState.BACKOFF)
        assert face.client.picture.retry_in_seconds is not None
        assert "nothing listens there" in (face.client.picture.problem or "")
        assert face.client.picture.subscriptions[0].state is SubscriptionState.PENDING
        server.append("tasks")
        server.start()
        face.client.wake()
        assert seqs(await take(feed, 1)) == [1]
        stop()
    states = [change.new for change in changes]
    assert states[:3] == [ConnectionState.CONNECTING, ConnectionState.AUTHENTICATING, ConnectionState.READY]
    assert ConnectionState.BACKOFF in states
    assert all(change.why for change in changes)


async def test_a_subscription_made_while_disconnected_waits_and_is_answered_later(
    make: MakeFace, server: ScriptedServer
) -> None:
    server.stop()
    face = make()
    feed = face.subscribe("tasks", wait=False, start="start")
    async with feed:
        server.append("tasks")
        server.start()
        assert seqs(await take(feed, 1)) == [1]


async def test_no_answer_by_the_deadline_withdraws_and_says_what_the_problem_is(
    make: MakeFace, server: ScriptedServer
) -> None:
    server.stop()
    face = make()
    began_at = time.monotonic()
    with pytest.raises(RealtimeTimeoutError, match="nothing listens there"):
        await face.subscribe("tasks", deadline_seconds=0.3).open()
    assert time.monotonic() - began_at < 2
    assert face.client.picture.subscriptions == ()
    await until(lambda: face.client.state in (ConnectionState.IDLE, ConnectionState.CONNECTING))


async def test_a_half_open_connection_is_noticed_and_replaced(make: MakeFace, server: ScriptedServer) -> None:
    server.heartbeat_seconds = 0.2
    face = make()
    async with face.subscribe("tasks") as feed:
        server.silence()
        began_at = time.monotonic()
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
        assert time.monotonic() - began_at < 0.2 * 3 + 1
        assert "nothing was heard" in (face.client.picture.problem or "")


async def test_the_servers_pings_keep_a_quiet_connection_alive(make: MakeFace, server: ScriptedServer) -> None:
    server.heartbeat_seconds = 0.05
    face = make()
    async with face.subscribe("tasks"):
        await until(lambda: len(server.sent("pong")) >= 8)
        assert len(server.upgrades) == 1
        assert face.client.picture.latency_seconds is not None


# --- gaps -------------------------------------------------------------------------------------------------------------


def _expire_under_a_slow_consumer(server: ScriptedServer) -> None:
    def change(logs: dict[str, ModelLog]) -> None:
        for _ in range(50):
            logs["tasks"].append()
        logs["tasks"].expire(40)

    server.cut()
    server.change(change)


async def test_a_gap_is_raised_after_what_came_before_it(face: Face, server: ScriptedServer) -> None:
    server.append("tasks")
    async with face.subscribe("tasks", start="start") as feed:
        await until(lambda: feed.buffered == 1)
        _expire_under_a_slow_consumer(server)
        assert seqs(await take(feed, 1)) == [1]
        with pytest.raises(EventGapError) as raised:
            await anext(feed)
    assert (raised.value.lost_after, raised.value.resume) == (Cursor("e1", 1), Cursor("e1", 39))


async def test_a_gap_is_yielded_where_the_events_would_have_stood(face: Face, server: ScriptedServer) -> None:
    server.append("tasks")
    async with face.subscribe("tasks", start="start", on_gap="yield") as feed:
        await until(lambda: feed.buffered == 1)
        _expire_under_a_slow_consumer(server)
        first, gap, *rest = await take(feed, 14)
        assert first.seq == 1
        assert gap == Gap("tasks", "expired", Cursor("e1", 1), Cursor("e1", 39))
        assert seqs(rest) == list(range(40, 52))
        server.change(lambda logs: logs["tasks"].begin_epoch("e2"))
        server.append("tasks")
        again, event = await take(feed, 2)
        assert (again.reason, again.resume, event.seq) == ("epoch", Cursor("e2", 0), 1)
        assert feed.cursor == Cursor("e2", 1)
    assert face.client.picture.gaps == 2


# --- two cursors ------------------------------------------------------------------------------------------------------


async def test_an_item_is_processed_when_the_next_is_asked_for_or_the_block_is_left_normally(
    face: Face, server: ScriptedServer
) -> None:
    for _ in range(3):
        server.append("tasks")
    async with face.subscribe("tasks", start="start") as feed:
        assert (feed.cursor, feed.processed) == (None, None)
        await take(feed, 2)
        assert (feed.cursor, feed.processed) == (Cursor("e1", 2), Cursor("e1", 1))
    assert feed.processed == Cursor("e1", 2)

    feed = face.subscribe("tasks", start="start")
    with pytest.raises(RuntimeError, match="mine"):
        await _take_two_then_fail(feed)
    assert feed.processed == Cursor("e1", 1)


async def _take_two_then_fail(feed: Any) -> None:
    async with feed:
        await take(feed, 2)
        raise RuntimeError("mine")


# --- misbehaviour -----------------------------------------------------------------------------------------------------


async def _welcomed(peer: Peer) -> Frame:
    await peer.welcome()
    return await peer.receive_op("subscribe")


async def garbage_json(peer: Peer) -> None:
    await _welcomed(peer)
    await peer.socket.send_str("{not json")
    await peer.socket.receive()


async def binary_frame(peer: Peer) -> None:
    await _welcomed(peer)
    await peer.socket.send_bytes(b"\x00\x01")
    await peer.socket.receive()


async def oversized_frame(peer: Peer) -> None:
    await _welcomed(peer)
    await peer.socket.send_str(json.dumps({"op": "x", "pad": "y" * 1_500_000}))
    await peer.socket.receive()


async def no_websocket_frame(peer: Peer) -> None:
    await _welcomed(peer)
    peer.write_raw(b"HTTP/1.1 500 Oops\r\n\r\n" * 5)
    await peer.socket.receive()


async def cut_in_a_frame(peer: Peer) -> None:
    await _welcomed(peer)
    peer.write_raw(b"\x81\x7e\x01\x00" + b'{"op":"events"')
    await asyncio.sleep(0.01)
    peer.cut()


async def wrong_prev(peer: Peer) -> None:
    subscribe = await _welcomed(peer)
    sid = subscribe["sid"]
    await peer.send({"op": "subscribed", "id": subscribe["id"], "sid": sid, "epoch": "e1", "seq": 0, "head": 0})
    for _ in range(3):
        await peer.send({"op": "events", "sid": sid, "prev": 7, "to": 7, "events": []})
        subscribe = await peer.receive_op("subscribe")
        sid = subscribe["sid"]
        await peer.send({"op": "subscribed", "id": subscribe["id"], "sid": sid, "epoch": "e1", "seq": 0, "head": 0})


async def half_a_known_frame(peer: Peer) -> None:
    subscribe = await _welcomed(peer)
    await peer.send({"op": "subscribed", "sid": subscribe["sid"]})
    await peer.socket.receive()


async def accept_then_close(peer: Peer) -> None:
    await peer.socket.close()


async def welcome_then_cut(peer: Peer) -> None:
    await _welcomed(peer)
    peer.cut()


@pytest.mark.parametrize(
    "misbehave",
    [
        garbage_json,
        binary_frame,
        oversized_frame,
        no_websocket_frame,
        cut_in_a_frame,
        wrong_prev,
        half_a_known_frame,
        accept_then_close,
        welcome_then_cut,
    ],
)
async def test_a_connection_that_misbehaves_once_is_replaced_and_nothing_is_lost(
    face: Face, server: ScriptedServer, misbehave: Callable[[Peer], Any]
) -> None:
    server.append("tasks")
    server.next(misbehave)
    async with face.subscribe("tasks", start="start") as feed:
        server.append("tasks")
        assert seqs(await take(feed, 2)) == [1, 2]
    assert len(server.upgrades) == 2


async def test_old_sids_unknown_ops_and_unknown_types_are_no_misbehaviour(face: Face, server: ScriptedServer) -> None:
    async with face.subscribe("tasks") as feed:
        server.send({"op": "events", "sid": "s0", "prev": 0, "to": 9, "events": []})
        server.send({"op": "aurora", "sid": "s1"})
        server.append("tasks", "task.transmogrified", into="a newt")
        (event,) = await take(feed, 1)
        assert (event.type, event.data) == ("task.transmogrified", {"into": "a newt"})
    assert len(server.upgrades) == 1


async def test_garbage_instead_of_welcome_is_fatal_after_three_times(face: Face, server: ScriptedServer) -> None:
    async def garbage(peer: Peer) -> None:
        await peer.socket.send_str("hello?")
        await peer.socket.receive()

    server.next(*[garbage] * 3)
    with pytest.raises(RealtimeProtocolError, match="3 times"):
        await face.subscribe("tasks").open()
    assert len(server.upgrades) == 3
    assert face.client.state is ConnectionState.FAILED


async def test_a_server_without_our_subprotocol_is_not_ours(face: Face) -> None:
    from aiohttp import web

    async def upgrade(request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        await socket_.receive()
        return socket_

    app = web.Application()
    app.router.add_get("/api/v1/ws", upgrade)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    other = type(face)(f"http://127.0.0.1:{runner.addresses[0][1]}")  # type: ignore[call-arg]
    try:
        with pytest.raises(RealtimeConnectError, match=r"playcall\.v1"):
            await other.subscribe("tasks").open()
    finally:
        await other.close()
        await runner.cleanup()


# --- refused upgrades -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, RealtimeAuthError), (404, RealtimeConnectError), (405, RealtimeConnectError), (501, RealtimeConnectError)],
)
async def test_what_cannot_heal_fails_fast_and_says_what_the_server_said(
    face: Face, server: ScriptedServer, status: int, error: type[RealtimeError]
) -> None:
    server.next(refuse(status, detail="the reason why"))
    with pytest.raises(error, match="the reason why"):
        await face.subscribe("tasks").open()
    assert len(server.upgrades) == 1


async def test_403_is_about_the_caller_or_about_the_path(face: Face, server: ScriptedServer) -> None:
    server.next(refuse(403))
    with pytest.raises(RealtimeConnectError, match="although HTTP accepts"):
        await face.subscribe("tasks").open()
    server.me_status = 401
    server.next(refuse(403))
    with pytest.raises(RealtimeAuthError):
        await face.subscribe("tasks").open()


@pytest.mark.parametrize("status", [429, 503])
async def test_the_client_waits_as_long_as_it_was_told(face: Face, server: ScriptedServer, status: int) -> None:
    server.next(refuse(status, {"Retry-After": "1"}))
    began_at = time.monotonic()
    async with face.subscribe("tasks"):
        assert 1 <= time.monotonic() - began_at < 3
    assert len(server.upgrades) == 2


async def test_a_redirect_is_not_followed_with_the_credentials(make: MakeFace, server: ScriptedServer) -> None:
    with ScriptedServer() as elsewhere:
        server.next(refuse(307, {"Location": f"{elsewhere.url}/api/v1/ws"}))
        face = make(auth=ApiKey("pk_secret"))
        with pytest.raises(RealtimeConnectError, match="307"):
            await face.subscribe("tasks").open()
        assert elsewhere.upgrades == []


async def test_nothing_listening_is_retried_until_the_deadline_and_a_bad_name_is_not(make: MakeFace) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(RealtimeTimeoutError):
            await make(f"http://127.0.0.1:{port}").subscribe("tasks", deadline_seconds=0.2).open()
    with pytest.raises(ConfigurationError):
        make("ftp://127.0.0.1")


async def test_no_tls_at_an_https_address_fails_fast(make: MakeFace, server: ScriptedServer) -> None:
    face = make(server.url.replace("http:", "https:"))
    with pytest.raises(RealtimeConnectError, match="TLS"):
        await face.subscribe("tasks").open()


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_credentials_go_in_the_header_and_nowhere_else(make: MakeFace, server: ScriptedServer) -> None:
    face = make(auth=ApiKey("pk_secret"))
    async with face.subscribe("tasks"):
        pass
    assert server.upgrades[0]["X-API-Key"] == "pk_secret"
    assert "pk_secret" not in json.dumps(server.frames) + repr(face.client) + repr(face.client.picture)


async def test_a_refused_token_is_renewed_once_and_the_provider_is_asked_on_every_connect(
    make: MakeFace, server: ScriptedServer
) -> None:
    given: list[str] = []

    def provider() -> str:
        given.append(f"t{len(given)}")
        return given[-1]

    server.next(refuse(401))
    face = make(auth=BearerToken(provider))
    async with face.subscribe("tasks"):
        pass
    assert [each["Authorization"] for each in server.upgrades] == ["Bearer t0", "Bearer t1"]


async def test_tokens_are_renewed_in_band_without_a_disconnect(make: MakeFace, server: ScriptedServer) -> None:
    server.token_seconds = 0.25
    made = iter(range(1_000))
    face = make(auth=BearerToken(lambda: f"t{next(made)}"))
    async with face.subscribe("tasks") as feed:
        await until(lambda: len(server.sent("auth")) >= 4)
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
    tokens = [frame["token"] for frame in server.sent("auth")]
    assert tokens[:4] == ["t1", "t2", "t3", "t4"]
    assert len(server.upgrades) == 1


async def test_a_provider_that_raises_is_asked_again_and_its_text_is_not_shown(
    make: MakeFace, server: ScriptedServer
) -> None:
    calls = 0

    def provider() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("vault password hunter2")
        return "token"

    face = make(auth=BearerToken(provider))
    async with face.subscribe("tasks"):
        assert face.client.picture.problem == "no credentials: OSError"


async def test_a_provider_that_gives_no_token_is_fatal(make: MakeFace, server: ScriptedServer) -> None:
    face = make(auth=BearerToken(lambda: ""))
    with pytest.raises(RealtimeAuthError):
        await face.subscribe("tasks").open()
    assert server.upgrades == []


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_close_ends_a_consumer_that_waits(face: Face) -> None:
    async with face.subscribe("tasks") as feed:
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0.02)
        await face.close()
        with pytest.raises(ClientClosedError):
            await waiting
    assert face.client.state is ConnectionState.CLOSED
    assert face.client.closed
    await face.close()
    with pytest.raises(ClientClosedError):
        face.subscribe("tasks")
    with pytest.raises(ClientClosedError):
        await face.on("task.*", print)


async def test_close_tells_the_server(face: Face, server: ScriptedServer) -> None:
    codes: list[int | None] = []

    async def remember(peer: Peer) -> None:
        await _welcomed(peer)
        await peer.socket.receive()
        await peer.socket.receive()
        codes.append(peer.socket.close_code)

    server.next(remember)
    async with face.subscribe("tasks", wait=False):
        await until(lambda: face.client.state is ConnectionState.READY)
        await face.close()
    await until(lambda: codes)
    assert codes == [1000]


async def test_an_unused_client_has_an_idle_picture_and_closes(face: Face) -> None:
    assert face.client.state is ConnectionState.IDLE
    assert face.client.picture.attempts == 0
    await face.close()
    assert face.client.picture.state is ConnectionState.CLOSED


async def test_callbacks_that_raise_are_logged_and_change_nothing(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    def callback(change: StateChange) -> None:
        raise ValueError("mine")

    face.client.on_state(callback)
    async with face.subscribe("tasks"):
        pass
    assert "a callback for realtime states raised" in caplog.text


# --- the async face alone ---------------------------------------------------------------------------------------------


async def test_cancelling_a_consumer_leaves_the_feed_usable(server: ScriptedServer) -> None:
    async with WebSocketClient(server.url) as client, client.subscribe("tasks") as feed:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(feed)
        server.append("tasks")
        assert (await anext(feed)).seq == 1


async def test_cancelling_while_opening_withdraws(server: ScriptedServer) -> None:
    server.bend = lambda frame: None if frame["op"] == "subscribed" else frame
    async with WebSocketClient(server.url) as client:
        opening = asyncio.create_task(client.subscribe("tasks").open())
        await until(lambda: server.sent("subscribe"))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert client.picture.subscriptions == ()


def test_one_client_serves_one_loop_after_another(server: ScriptedServer) -> None:
    client = WebSocketClient(server.url)
    server.append("tasks")

    async def first() -> int:
        async with client.subscribe("tasks", start="start") as feed:
            return (await anext(feed)).seq

    assert [asyncio.run(first()), asyncio.run(first())] == [1, 1]

    async def last() -> None:
        await client.close()

    asyncio.run(last())


# --- the blocking face alone ------------------------------------------------------------------------------------------


async def test_closing_on_one_loop_ends_what_runs_on_others(server: ScriptedServer) -> None:
    client = WebSocketClient(server.url)
    ready = threading.Event()
    ended: list[object] = []

    async def consume() -> None:
        try:
            async with client.subscribe("tasks") as feed:
                ready.set()
                async with asyncio.timeout(5):
                    await anext(feed)
        except Exception as error:
            ended.append(type(error))

    other = threading.Thread(target=lambda: asyncio.run(consume()))
    other.start()
    await asyncio.to_thread(ready.wait, 5)
    await client.close()
    await asyncio.to_thread(other.join, 5)
    assert ended == [ClientClosedError]
    await until(lambda: server.connected == 0)
    assert len(server.upgrades) == 1


async def test_a_closed_pool_ends_the_connection_and_is_no_defect(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    pool = SessionPool()
    async with WebSocketClient(server.url, pool=pool) as client:
        await pool.close()
        with pytest.raises(ClientClosedError):
            await client.subscribe("tasks", deadline_seconds=2).open()
        assert client.state is ConnectionState.CLOSED
    assert "inside the client" not in caplog.text


def test_a_feed_can_be_closed_from_another_thread(server: ScriptedServer) -> None:
    with BlockingWebSocketClient(server.url) as client, client.subscribe("tasks") as feed:
        threading.Timer(0.05, feed.close).start()
        assert list(feed) == []


def test_iterating_takes_what_is_ready_without_a_hop(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(256):
        server.append("tasks")
    with BlockingWebSocketClient(server.url) as client, client.subscribe("tasks", start="start") as feed:
        deadline = time.monotonic() + 5
        while feed.buffered < 256 and time.monotonic() < deadline:
            time.sleep(0.005)
        posts = 0
        original = LoopThread.post

        def counting(self: LoopThread, callback: Callable[[], None]) -> None:
            nonlocal posts
            posts += 1
            original(self, callback)

        monkeypatch.setattr(LoopThread, "post", counting)
        for _ in range(255):
            next(feed)
        assert posts <= 4


def test_arguments_of_the_blocking_client(server: ScriptedServer) -> None:
    with pytest.raises(ConfigurationError):
        BlockingWebSocketClient()
    with pytest.raises(ConfigurationError):
        BlockingWebSocketClient(server.url, awaiting=WebSocketClient(server.url))
    assert repr(BlockingWebSocketClient(server.url)) == f"BlockingWebSocketClient('{server.url}')"


# --- processes --------------------------------------------------------------------------------------------------------


def run_script(server: ScriptedServer, script: str, *, interrupt_after: str | None = None) -> tuple[int, str, str]:
    """Runs a program of the blocking client; Ctrl-C is pressed once it has printed `interrupt_after`."""
    head = (
        "import os, sys, time, threading\n"
        "from playcall.services.blocking_websocket_client import BlockingWebSocketClient\n"
        f"client = BlockingWebSocketClient({server.url!r})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    before = ""
    if interrupt_after is not None:
        while interrupt_after not in before:
            line = process.stdout.readline()
            assert line, process.communicate()
            before += line
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    return process.returncode, before + out, err


def test_ctrl_c_ends_a_waiting_iterator_at_once(server: ScriptedServer) -> None:
    script = """
        with client.subscribe("tasks") as feed:
            print("waiting", flush=True)
            try:
                next(feed)
            except KeyboardInterrupt:
                print("interrupted", time.monotonic(), flush=True)
        client.close()
        print("closed", client.state)
    """
    began_at = time.monotonic()
    code, out, err = run_script(server, script, interrupt_after="waiting")
    assert (code, err) == (0, "")
    assert out.endswith("closed closed\n")
    assert time.monotonic() - began_at < 10


def test_a_program_that_ends_without_closing_ends_quietly(server: ScriptedServer) -> None:
    script = """
        seen = threading.Event()
        client.on("task.*", lambda event: seen.set(), start="start")
        feed = client.subscribe("tasks")
        feed.open()
        print("ready", flush=True)
    """
    code, out, err = run_script(server, script)
    assert (code, out, err) == (0, "ready\n", "")


def test_a_forked_child_has_a_connection_of_its_own(server: ScriptedServer) -> None:
    server.append("tasks")
    script = """
        def first():
            with client.subscribe("tasks", start="start") as feed:
                return next(feed).seq
        print("parent", first(), flush=True)
        inherited = client.subscribe("tasks")
        inherited.open()
        pid = os.fork()
        if pid == 0:
            print("child", first(), flush=True)
            try:
                next(inherited)
            except Exception as error:
                print("child", type(error).__name__, flush=True)
            client.close()
            os._exit(0)
        os.waitpid(pid, 0)
        print("parent", first(), client.picture.reconnects, flush=True)
        client.close()
    """
    code, out, err = run_script(server, script)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["parent 1", "child 1", "child ClientClosedError", "parent 1 0"]
