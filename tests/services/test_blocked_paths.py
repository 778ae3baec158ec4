"""Both faces of the WebSocket client on paths that let no upgrade through, before the real backend: events come all the same.

Rule 8 of docs/realtime-protocol.md. What stands in the way is played where the upgrade arrives; everything else of the
backend is itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from playcall.errors import RealtimeAuthError, RealtimeConnectError
from playcall.http.auth import ApiKey
from playcall.realtime.states import ConnectionState
from playcall.server.middleware import deny_socket
from playcall.server.problems import problem_response
from playcall.server.settings import Settings
from playcall.server.sockets.endpoint import WebSocketEndpoint
from playcall.testing.fault_proxy import FaultProxy
from playcall.testing.oracle import DeliveryOracle, read_log_async
from tests.server.conftest import RunningServer, User

from .websocket_faces import MakeFace, take, until

TOPIC = "run:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Settings(data_dir=tmp_path_factory.mktemp("blocked"), port=0)) as running:
        yield running


@pytest.fixture
async def user(server: RunningServer) -> User:
    return await server.new_user()


class Way:
    """What an upgrade meets: nothing (`None`), an answer with a status, or no answer. `asked` counts upgrades."""

    def __init__(self) -> None:
        self.answer: int | Literal["none"] | None = None
        self.asked = 0


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch, server: RunningServer) -> Way:
    way = Way()
    original = WebSocketEndpoint.__call__

    async def meet(endpoint: WebSocketEndpoint, scope: Any, receive: Any, send: Any) -> None:
        way.asked += 1
        if way.answer is None:
            await original(endpoint, scope, receive, send)
        elif way.answer == "none":
            while (await receive())["type"] != "websocket.disconnect":
                pass
        else:
            headers = {"Location": f"{server.url}/login"} if way.answer == 302 else None
            refusal = problem_response(way.answer, "blocked", "in the way", request_id="r", headers=headers)
            await deny_socket(refusal, scope, receive, send, request_id="r")

    monkeypatch.setattr(WebSocketEndpoint, "__call__", meet)
    return way


async def judge(server: RunningServer, user: User, oracle: DeliveryOracle, count: int) -> None:
    log = await read_log_async(server.url, TOPIC, auth=ApiKey(user.key))
    assert len(log) == count
    verdict = oracle.judge(log)
    assert verdict.ok, verdict.explain()


@pytest.mark.parametrize("status", [302, 403, 404, 405, 426, 501])
async def test_a_path_that_refuses_upgrades_is_gone_round_at_once_and_the_refusal_is_named(
    make: MakeFace, server: RunningServer, user: User, way: Way, status: int
) -> None:
    """403 too: over HTTP the caller is known, so it is the path that refuses."""
    way.answer = status
    oracle = DeliveryOracle()
    await server.emit(user, TOPIC, count=3)
    face = make(auth=ApiKey(user.key), deadline_seconds=10)
    async with face.subscribe(TOPIC, start="start") as feed:
        for event in await take(feed, 3):
            oracle.saw(event)
        await server.emit(user, TOPIC)
        oracle.saw((await take(feed, 1))[0])
        picture = face.client.picture
        assert (picture.state, picture.transport) == (ConnectionState.READY, "long_poll")
        assert str(status) in (picture.fallback or "")
    await judge(server, user, oracle, 4)
    assert way.asked == 1


async def test_403_for_a_caller_whom_nobody_knows_is_the_callers_affair(
    make: MakeFace, server: RunningServer, way: Way
) -> None:
    way.answer = 403
    with pytest.raises(RealtimeAuthError, match="also over HTTP"):
        await make(auth=ApiKey("pk_nobody"), deadline_seconds=10).subscribe(TOPIC).open()
    assert way.asked == 1


async def test_a_path_that_never_answers_an_upgrade_is_gone_round(
    monkeypatch: pytest.MonkeyPatch, make: MakeFace, server: RunningServer, user: User, way: Way
) -> None:
    monkeypatch.setattr("playcall.realtime.lifeline.HANDSHAKE_SECONDS", 1.0)
    way.answer = "none"
    await server.emit(user, TOPIC)
    face = make(auth=ApiKey(user.key), deadline_seconds=10)
    async with face.subscribe(TOPIC, start="start") as feed:
        assert [event.seq for event in await take(feed, 1)] == [1]
        assert face.client.picture.transport == "long_poll"
        assert "not opened within 1 s" in (face.client.picture.fallback or "")


@pytest.mark.parametrize("status", [403, 404, 501])
async def test_where_only_the_websocket_is_wanted_a_blocked_path_is_an_error_that_says_what_was_answered(
    make: MakeFace, user: User, way: Way, status: int
) -> None:
    way.answer = status
    face = make(auth=ApiKey(user.key), via="websocket", deadline_seconds=10)
    with pytest.raises(RealtimeConnectError, match=str(status)):
        await face.subscribe(TOPIC).open()
    assert way.asked == 1


async def test_a_path_that_has_worked_is_asked_again_and_then_gone_round_from_the_cursor(
    make: MakeFace, server: RunningServer, user: User, way: Way
) -> None:
    """A proxy that restarts refuses for a moment; one that goes on refusing blocks the path."""
    oracle = DeliveryOracle()
    await server.emit(user, TOPIC, count=3)
    with FaultProxy(server.url) as proxy:
        face = make(proxy.url, auth=ApiKey(user.key), deadline_seconds=10)
        async with face.subscribe(TOPIC, start="start") as feed:
            for event in await take(feed, 3):
                oracle.saw(event)
            assert face.client.picture.transport == "websocket"
            way.answer = 404
            proxy.cut()
            await server.emit(user, TOPIC, count=2)
            for event in await take(feed, 2, seconds=10):
                oracle.saw(event)
            assert face.client.picture.transport == "long_poll"
            await server.emit(user, TOPIC)
            oracle.saw((await take(feed, 1))[0])
    await judge(server, user, oracle, 6)
    assert way.asked == 1 + 3


async def test_a_path_that_opens_again_is_taken_again_and_the_change_loses_and_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch, make: MakeFace, server: RunningServer, user: User, way: Way
) -> None:
    monkeypatch.setattr("playcall.realtime.fallback.FIRST_PROBE_SECONDS", 0.2)
    monkeypatch.setattr("playcall.realtime.fallback.LAST_PROBE_SECONDS", 0.2)
    oracle = DeliveryOracle()
    way.answer = 404
    await server.emit(user, TOPIC)
    face = make(auth=ApiKey(user.key), deadline_seconds=10)

    async def append() -> None:
        """Before the change, while it happens, and after it."""
        while len(sent) < 40:
            sent.append(None)
            await server.emit(user, TOPIC)
            if len(sent) == 10:
                way.answer = None
            if len(sent) == 20:
                await until(lambda: face.client.picture.transport == "websocket")

    sent: list[None] = []
    async with face.subscribe(TOPIC, start="start") as feed:
        oracle.saw((await take(feed, 1))[0])
        assert face.client.picture.transport == "long_poll"
        appending = asyncio.create_task(append())
        for event in await take(feed, 40, seconds=20):
            oracle.saw(event)
        await appending
        assert (face.client.picture.transport, face.client.picture.fallback) == ("websocket", None)
    await judge(server, user, oracle, 41)
