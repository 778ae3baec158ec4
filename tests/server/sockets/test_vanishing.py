"""A client that is silent, gone, or does not read: it is let go of in bounded time, and holds bounded memory until then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Scope

from playcall.server.sockets import endpoint, uvicorn_protocol
from playcall.server.sockets.channel import ChannelClosedError
from playcall.server.sockets.endpoint import _SocketChannel
from playcall.server.sockets.uvicorn_protocol import ABORT, BoundedProtocol

from ..conftest import Api, RunningServer
from .raw_socket import CLOSE, PING, TEXT, RawSocket, frame_bytes
from .test_doorkeeper import a_server
from .test_websocket import talking

SOON = {"heartbeat_seconds": 0.2}
"""So three heartbeats are 0.6 s."""


def protocols(server: RunningServer) -> list[BoundedProtocol]:
    """The server's end of each WebSocket that the operating system still knows of."""
    uvicorn = server._server._uvicorn
    assert uvicorn is not None
    return [held for held in uvicorn.server_state.connections if isinstance(held, BoundedProtocol)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def let_go(api: Api) -> None:
    """Nothing of any socket is left."""
    await until(lambda: len(api.server.core.sockets) == 0 and not protocols(api.server))
    assert api.server.core.database.wakes.watched() == []


@asynccontextmanager
async def raw(api: Api, headers: dict[str, str] | None = None) -> AsyncIterator[RawSocket]:
    socket = await RawSocket.open(api, headers)
    try:
        await socket.hello()
        yield socket
    finally:
        socket.close()


@asynccontextmanager
async def stalled(api: Api, headers: dict[str, str] | None = None) -> AsyncIterator[RawSocket]:
    """A client that has much to read, and reads nothing."""
    await api.server.emit(api.user, "run:big", count=150, data={"text": "x" * 60_000})
    async with raw(api, headers) as socket:
        for sid in ("a", "b", "c"):
            await socket.send(op="subscribe", id=1, sid=sid, topic="run:big", limit=1_000, **{"from": "start"})
        await until(lambda: any(not held.writable.is_set() for held in protocols(api.server)))
        yield socket


async def test_a_client_that_is_silent_for_three_heartbeats_is_asked_and_then_closed(tmp_path: Path) -> None:
    async with a_server(tmp_path, **SOON) as api, talking(api) as talk:
        asked = [await talk.receive(pings=True) for _ in range(2)]
        assert [frame["op"] for frame in asked] == ["ping", "ping"]
        assert await talk.closed() == 1001
        await let_go(api)


@pytest.mark.parametrize("op", ["pong", "ping", "dance"])
async def test_any_frame_is_a_sign_of_life(tmp_path: Path, op: str) -> None:
    async with a_server(tmp_path, **SOON) as api, talking(api) as talk:
        for n in range(8):
            while (await talk.receive(pings=True))["op"] != "ping":
                pass
            await talk.send(op=op, n=n)


async def test_a_server_that_was_held_up_itself_closes_nobody_for_it(tmp_path: Path) -> None:
    """What came meanwhile is still to be read; and who was asked meanwhile could not answer."""

    async def hold_up() -> None:
        time.sleep(1.5)

    async with a_server(tmp_path, **SOON) as api, talking(api) as talk:
        for n in range(4):
            await api.server.acall(hold_up())
            await talk.send(op="ping", n=n)
            while (frame := await talk.receive(pings=True))["op"] != "pong":
                assert frame["op"] == "ping"


async def test_silence_is_asked_about_while_events_are_sent_all_the_time(tmp_path: Path) -> None:
    """Else a client that has nothing to say but its answers would seem gone."""
    async with a_server(tmp_path, **SOON) as api, talking(api) as talk:
        await api.server.emit(api.user, "run:1")
        await talk.subscribe("run:1", limit=100_000)
        ends = asyncio.Event()

        async def emit() -> None:
            while not ends.is_set():
                await api.server.emit(api.user, "run:1")
                await asyncio.sleep(0.02)

        emitting = asyncio.create_task(emit())
        try:
            for _ in range(5):
                while (frame := await talk.receive(pings=True))["op"] != "ping":
                    assert frame["op"] == "events"
                await talk.send(op="pong", n=frame["n"])
        finally:
            ends.set()
            await emitting


async def test_a_client_that_vanishes_without_a_word_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not even answer the close frame."""
    monkeypatch.setattr(uvicorn_protocol, "CLOSE_SECONDS", 0.2)
    async with a_server(tmp_path, **SOON) as api, raw(api) as socket:
        await socket.send(op="subscribe", id=1, sid="s", topic="runs", limit=1, **{"from": "start"})
        await let_go(api)


async def test_a_client_that_reads_nothing_holds_little_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it goes on sending, so that it is there: what cannot be sent for three heartbeats is not waited for."""
    monkeypatch.setattr(endpoint, "CLOSE_SECONDS", 0.1)
    async with a_server(tmp_path, **SOON) as api, stalled(api) as socket:
        (held,) = protocols(api.server)
        most = 0
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                while len(api.server.core.sockets):
                    await socket.send(op="pong", n=1)
                    most = max(most, held.transport.get_write_buffer_size())
                    await asyncio.sleep(0.01)
        await let_go(api)
        assert 0 < most < 1_000_000


async def test_a_client_that_does_not_read_delays_nobodys_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a bound of our own, uvicorn gives such a socket up after `drain_seconds`, and logs an error."""
    async with a_server(tmp_path, drain_seconds=4) as api, stalled(api):
        api.server.stop()
        await asyncio.to_thread(api.server._thread.join, 20)
        assert not api.server._thread.is_alive()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_key_is_revoked_at_once_though_a_client_of_it_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "CLOSE_SECONDS", 0.2)
    async with a_server(tmp_path) as api:
        key = await api.ok("POST", "/auth/api-keys", json={"name": "k"})
        async with stalled(api, {"X-API-Key": key["secret"]}):
            async with asyncio.timeout(10):
                await api.ok("DELETE", f"/auth/api-keys/{key['id']}")
            await let_go(api)


async def test_pings_of_the_websocket_itself_pile_up_no_answers_in_memory(tmp_path: Path) -> None:
    async with a_server(tmp_path, silent_heartbeats=1_000) as api, stalled(api) as socket:
        (held,) = protocols(api.server)
        before = held.transport.get_write_buffer_size()
        many = frame_bytes(PING, b"x" * 125) * 1_000
        for _ in range(20):
            await socket.send_bytes(many)
        # Once this has been read, all of them have.
        await socket.send(op="subscribe", id=2, sid="d", topic="runs", limit=1, **{"from": "start"})
        await until(lambda: (api.user.id, "runs") in api.server.core.database.wakes.watched())
        assert held.transport.get_write_buffer_size() <= before + 1_000


async def test_empty_parts_of_a_message_pile_up_nothing_either(tmp_path: Path) -> None:
    async with a_server(tmp_path) as api, raw(api) as socket:
        await socket.send_frame(TEXT, b'{"op":"ping",', is_last=False)
        await socket.send_bytes(frame_bytes(0, is_last=False) * 10_000)
        (held,) = protocols(api.server)
        await socket.send_frame(0, b'"n":', is_last=False)
        await until(lambda: len(held.frames) >= 2)
        assert len(held.frames) == 2
        await socket.send_frame(0, b"7}")
        assert await socket.read_frame() == (TEXT, b'{"op":"pong","n":7}')


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame_bytes(TEXT, b" " * 1_048_577)], 1009),
        ([frame_bytes(TEXT, b" " * 700_000, is_last=False), frame_bytes(0, b" " * 700_000)], 1009),
        ([frame_bytes(TEXT, b"\xff\xfe")], 1007),
        ([frame_bytes(3, b"")], 1002),
        ([b"\x81\x02{}"], 1002),  # not masked
    ],
)
async def test_what_is_no_websocket_closes_in_the_websockets_own_words(
    api: Api, frames: list[bytes], code: int
) -> None:
    async with raw(api) as socket:
        with suppress(ConnectionError):
            for frame in frames:
                await socket.send_bytes(frame)
        assert await socket.close_code() == code


async def test_a_frame_as_large_as_it_may_be_is_read(api: Api) -> None:
    async with raw(api) as socket:
        text = b'{"op":"ping","n":1}'
        await socket.send_frame(TEXT, text + b" " * (1_048_576 - len(text)))
        assert await socket.read_frame() == (TEXT, b'{"op":"pong","n":1}')
        await socket.send_frame(CLOSE, b"\x03\xe8")
        assert await socket.close_code() == 1000


async def test_frames_go_out_one_after_the_other_and_none_after_the_close() -> None:
    """Else all that wait for a slow client would be buffered at once when there is room for one."""
    room = asyncio.Semaphore(0)
    sending = most = 0
    sent: list[str] = []

    async def send(message: Message) -> None:
        nonlocal sending, most
        sending += 1
        most = max(most, sending)
        await room.acquire()
        sending -= 1
        sent.append(message["type"])

    async def receive() -> Message:
        raise AssertionError

    channel = _SocketChannel({"type": "websocket"}, receive, send, stall_seconds=60)
    frames = [asyncio.create_task(channel.send("x")) for _ in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(channel.close(1000, ""))
    for _ in range(20):
        room.release()
        await asyncio.sleep(0)
    await closing
    results = await asyncio.gather(*frames, return_exceptions=True)
    assert most == 1
    assert sent == ["websocket.send", "websocket.close"]
    assert results[0] is None
    assert all(isinstance(result, ChannelClosedError) for result in results[1:])


@pytest.mark.parametrize("act", ["send", "close"])
async def test_a_peer_that_takes_nothing_is_cut_off(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "CLOSE_SECONDS", 0.01)
    cut: list[bool] = []
    scope: Scope = {"type": "websocket", "extensions": {ABORT: {"call": lambda: cut.append(True)}}}

    async def never(*_args: Any) -> Any:
        await asyncio.Event().wait()

    channel = _SocketChannel(scope, never, never, stall_seconds=0.01)
    if act == "send":
        with pytest.raises(ChannelClosedError):
            await channel.send("x")
    else:
        await channel.close(1000, "")
    assert cut == [True]
    assert await channel.receive() is None
