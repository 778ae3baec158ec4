"""Both faces of the WebSocket client against far ends that fall silent, refuse, storm or talk nonsense, on real sockets.

What each of them must lead to is rules 1, 6, 7 and 8 of docs/realtime-protocol.md; as data they are tested in
tests/realtime. Here: that aiohttp, two event loops and a kernel between both ends change nothing about it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from playcall.errors import RealtimeAuthError, RealtimeProtocolError
from playcall.http.auth import ApiKey, BearerToken
from playcall.models.cursor import Cursor
from playcall.realtime.states import ConnectionState, StateChange, SubscriptionState
from tests.realtime.model_server import Frame, ModelLog
from tests.realtime.scripted_server import Peer, ScriptedServer, refuse

from .websocket_faces import AsyncFace, BlockingFace, Face, MakeFace, seqs, take, until

# --- silence ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_falls_silent_is_given_up_after_a_heartbeat_and_two_more_and_no_sooner(
    face: Face, server: ScriptedServer
) -> None:
    """Rule 6 at heartbeats of one second: 3 s after the last frame, whatever TCP says. What was missed comes then."""
    server.heartbeat_seconds = 1.0
    left_ready_at: list[float] = []

    def watch(change: StateChange) -> None:
        if change.old is ConnectionState.READY:
            left_ready_at.append(time.monotonic())

    face.client.on_state(watch)
    async with face.subscribe("tasks") as feed:
        silent_from = time.monotonic()
        server.silence()
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
        assert 2.5 < left_ready_at[0] - silent_from < 4
        assert "nothing was heard" in (face.client.picture.problem or "")
    assert len(server.upgrades) == 2


async def test_a_server_that_answers_pings_alone_is_alive(face: Face, server: ScriptedServer) -> None:
    """Any frame counts, so one that has no events to send, and none of its own pings, is not given up."""
    server.heartbeat_seconds = 0.2
    server.bend = lambda frame: None if frame["op"] == "ping" else frame
    async with face.subscribe("tasks") as feed:
        await until(lambda: len(server.sent("ping")) >= 6)
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
    assert len(server.upgrades) == 1


# --- refused upgrades -------------------------------------------------------------------------------------------------


async def test_a_key_revoked_while_connected_ends_the_feed_after_what_it_had_received(
    make: MakeFace, server: ScriptedServer
) -> None:
    face = make(auth=ApiKey("pk_revoked"), deadline_seconds=10)
    async with face.subscribe("tasks") as feed:
        server.append("tasks")
        await until(lambda: feed.buffered == 1)
        server.next(refuse(401, detail="the key was revoked"))
        server.close_all(4401, "the API key has been revoked")
        assert seqs(await take(feed, 1)) == [1]
        async with asyncio.timeout(10):
            with pytest.raises(RealtimeAuthError):
                await anext(feed)
    assert len(server.upgrades) == 1  # a key has no newer one, so it is not tried a second time
    assert face.client.state is ConnectionState.FAILED


async def test_a_token_refused_at_a_later_connect_is_renewed_and_nothing_is_lost(
    make: MakeFace, server: ScriptedServer
) -> None:
    numbers = iter(range(100))
    face = make(auth=BearerToken(lambda: f"t{next(numbers)}"), deadline_seconds=10)
    async with face.subscribe("tasks") as feed:
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
        server.next(refuse(401))
        server.cut()
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [2]
    tokens = [each["Authorization"] for each in server.upgrades]
    assert len(tokens) == 3
    assert tokens[1] != tokens[2], "the token that was refused was sent again"


@pytest.mark.parametrize("status", [401, 403])
async def test_403_is_fatal_where_http_refuses_the_caller_too(face: Face, server: ScriptedServer, status: int) -> None:
    server.me_status = status
    server.next(refuse(403))
    with pytest.raises(RealtimeAuthError, match="also over HTTP"):
        await face.subscribe("tasks").open()
    assert len(server.upgrades) == 1


async def test_403_is_tried_again_where_http_cannot_say_who_the_caller_is(face: Face, server: ScriptedServer) -> None:
    server.me_status = 500
    server.next(refuse(403))
    async with face.subscribe("tasks"):
        pass
    assert len(server.upgrades) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_reconnect_waits_as_long_as_it_was_told_and_a_success_over_http_does_not_hurry_it(
    face: Face, server: ScriptedServer, status: int
) -> None:
    async with face.subscribe("tasks") as feed:
        server.next(refuse(status, {"Retry-After": "1"}))
        server.cut()
        await until(lambda: face.client.state is ConnectionState.BACKOFF)
        began_at = time.monotonic()
        face.client.wake()
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
        assert time.monotonic() - began_at > 0.9
    assert len(server.upgrades) == 3


async def test_a_server_that_welcomes_and_closes_at_once_sees_at_most_eight_attempts_in_ten_seconds() -> None:
    """Rule 7: a handshake proves nothing. Both faces at once, because it takes these ten seconds."""

    async def welcome_then_close(peer: Peer) -> None:
        await peer.welcome()
        await peer.socket.close(code=1001)

    with ScriptedServer() as one, ScriptedServer() as other:
        faces: list[Face] = [AsyncFace(one.url), BlockingFace(other.url)]
        for server in (one, other):
            server.next(*[welcome_then_close] * 100)
        feeds = [face.subscribe("tasks", wait=False) for face in faces]
        try:
            for feed in feeds:
                await feed.open()
            await asyncio.sleep(10)
            attempts = [len(one.upgrades), len(other.upgrades)]
        finally:
            for face in faces:
                await face.close()
    assert all(5 <= each <= 8 for each in attempts), attempts


# --- nonsense ---------------------------------------------------------------------------------------------------------


async def _owed(peer: Peer) -> str:
    """Takes the client in, and says that there is an event to come; returns the subscription's sid."""
    await peer.welcome()
    frame = await peer.receive_op("subscribe")
    await peer.send({"op": "subscribed", "id": frame["id"], "sid": frame["sid"], "epoch": "e1", "seq": 0, "head": 1})
    return str(frame["sid"])


async def garbage(peer: Peer) -> None:
    await _owed(peer)
    await peer.socket.send_str("{not json")
    await peer.socket.receive()


async def binary(peer: Peer) -> None:
    await _owed(peer)
    await peer.socket.send_bytes(b"\x00\x01")
    await peer.socket.receive()


async def oversized(peer: Peer) -> None:
    sid = await _owed(peer)
    await peer.send({"op": "events", "sid": sid, "prev": 0, "to": 1, "events": [], "pad": "y" * 1_500_000})
    await peer.socket.receive()


async def no_text(peer: Peer) -> None:
    """A text frame that is no UTF-8."""
    await _owed(peer)
    peer.write_raw(b"\x81\x02\xff\xfe")
    await peer.socket.receive()


async def another_prev(peer: Peer) -> None:
    sid = await _owed(peer)
    for _ in range(3):
        await peer.send({"op": "events", "sid": sid, "prev": 7, "to": 7, "events": []})
        frame = await peer.receive_op("subscribe")
        sid = frame["sid"]
        await peer.send({"op": "subscribed", "id": frame["id"], "sid": sid, "epoch": "e1", "seq": 0, "head": 1})


NONSENSE = [garbage, binary, oversized, no_text, another_prev]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_on_three_connections_ends_the_subscription_that_it_came_for_and_the_client_stays_usable(
    face: Face, server: ScriptedServer, nonsense: Callable[[Peer], Awaitable[None]]
) -> None:
    server.next(*[nonsense] * 3)
    async with face.subscribe("tasks", start="start", wait=False) as feed, asyncio.timeout(10):
        with pytest.raises(RealtimeProtocolError):
            await anext(feed)
    assert len(server.upgrades) == 3
    server.append("tasks")
    async with face.subscribe("tasks", start="start") as feed:
        assert seqs(await take(feed, 1)) == [1]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_on_two_connections_costs_nothing_but_time(
    face: Face, server: ScriptedServer, nonsense: Callable[[Peer], Awaitable[None]]
) -> None:
    server.append("tasks")
    server.next(*[nonsense] * 2)
    async with face.subscribe("tasks", start="start") as feed:
        server.append("tasks")
        assert seqs(await take(feed, 2)) == [1, 2]
    assert len(server.upgrades) == 3


async def test_nonsense_for_one_subscription_spares_the_other(face: Face, server: ScriptedServer) -> None:
    server.change(lambda logs: logs.update(runs=ModelLog()))
    topics: dict[str, str] = {}

    def bend(frame: Frame) -> Frame:
        for each in server.sent("subscribe"):
            topics[each["sid"]] = each["topic"]
        if frame["op"] == "events" and topics[frame["sid"]] == "runs":
            return {"op": "events", "sid": frame["sid"]}
        return frame

    server.bend = bend
    async with face.subscribe("tasks") as tasks, face.subscribe("runs", start="start") as runs:
        server.append("runs")
        async with asyncio.timeout(10):
            with pytest.raises(RealtimeProtocolError):
                await anext(runs)
        server.append("tasks")
        assert seqs(await take(tasks, 1)) == [1]


# --- a chain that breaks, on one connection ---------------------------------------------------------------------------


class Once:
    """Bends the first frame of events that ends at `to`, and no other."""

    def __init__(self, to: int, bent: Callable[[Frame], Frame | None]) -> None:
        self._to = to
        self._bent = bent
        self.done = False

    def __call__(self, frame: Frame) -> Frame | None:
        if self.done or frame["op"] != "events" or frame["to"] != self._to:
            return frame
        self.done = True
        return self._bent(frame)


@pytest.mark.parametrize(
    "bent",
    [
        pytest.param(lambda frame: None, id="a frame is missing"),
        pytest.param(lambda frame: {**frame, "prev": frame["to"], "events": []}, id="its prev is too far on"),
        pytest.param(lambda frame: {**frame, "events": frame["events"] * 2}, id="an event stands in it twice"),
        pytest.param(lambda frame: {**frame, "to": frame["to"] + 1}, id="it claims more than it brings"),
    ],
)
@pytest.mark.parametrize("what_tells", ["the next frame", "a ping"])
async def test_a_broken_chain_is_mended_on_the_same_connection_and_every_event_comes_once(
    face: Face, server: ScriptedServer, bent: Callable[[Frame], Frame | None], what_tells: str
) -> None:
    server.heartbeat_seconds = 0.3 if what_tells == "a ping" else 15.0
    server.bend = once = Once(2, bent)
    async with face.subscribe("tasks") as feed:
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
        server.append("tasks")
        if what_tells == "the next frame":
            server.append("tasks")
        else:
            assert seqs(await take(feed, 1)) == [2]
            server.append("tasks")
        rest = await take(feed, 2 if what_tells == "the next frame" else 1)
        assert seqs(rest) == ([2, 3] if what_tells == "the next frame" else [3])
        assert feed.cursor == Cursor("e1", 3)
    assert once.done
    assert len(server.sent("subscribe")) == 2
    assert len(server.upgrades) == 1


async def test_a_frame_that_comes_twice_is_delivered_once(face: Face, server: ScriptedServer) -> None:
    async with face.subscribe("tasks") as feed:
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [1]
        (sid,) = {frame["sid"] for frame in server.sent("subscribe")}
        entry = server.logs["tasks"].entries[0]
        server.send({"op": "events", "sid": sid, "prev": 0, "to": 1, "events": [entry]})
        server.append("tasks")
        assert seqs(await take(feed, 1)) == [2]
        assert face.client.picture.repeated == 1
    assert len(server.sent("subscribe")) == 1


async def test_events_for_an_old_sid_reach_nobody(face: Face, server: ScriptedServer) -> None:
    async with face.subscribe("tasks") as before:
        server.append("tasks")
        assert seqs(await take(before, 1)) == [1]
    old = server.sent("subscribe")[-1]["sid"]
    async with face.subscribe("tasks") as feed:
        entry = {**server.logs["tasks"].entries[0], "seq": 2, "id": "e1-for nobody"}
        server.send({"op": "events", "sid": old, "prev": 1, "to": 2, "events": [entry]})
        server.append("tasks")
        (event,) = await take(feed, 1)
        assert (event.seq, event.id) == (2, "e1-2")
        assert feed.cursor == Cursor("e1", 2)
    assert len(server.upgrades) == 1


async def test_what_a_later_version_may_add_changes_nothing(face: Face, server: ScriptedServer) -> None:
    """Fields in every frame and event, an op, an event's type: all unknown, none of them a fault."""

    def later(frame: Frame) -> Frame:
        events = [{**each, "aura": "green"} for each in frame.get("events", [])]
        return {**frame, "aura": {"of": ["what", "comes"]}, **({"events": events} if events else {})}

    server.bend = later
    async with face.subscribe("tasks") as feed:
        server.send({"op": "aurora", "sid": "s1", "prev": "not a number"})
        server.append("tasks", "task.transmogrified", into="a newt")
        (event,) = await take(feed, 1)
        assert (event.type, event.data) == ("task.transmogrified", {"into": "a newt"})
        await until(lambda: face.client.picture.subscriptions[0].state is SubscriptionState.LIVE)
    assert len(server.upgrades) == 1
    assert "aura" not in json.dumps(server.frames)
