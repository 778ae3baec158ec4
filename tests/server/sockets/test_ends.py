"""However a connection ends, or does not begin, its client is told by a status or a close code of the contract."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from playcall.server.auth.gate import Gate
from playcall.server.sockets import connection

from ..conftest import Api
from .test_doorkeeper import a_server, refusal
from .test_vanishing import protocols
from .test_websocket import open_socket, talking


async def cannot_read(*_args: Any, **_kwargs: Any) -> None:
    raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))


async def test_a_database_that_cannot_be_read_refuses_the_upgrade_with_503(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "caller", cannot_read)
    assert await refusal(api) == (503, "database_unavailable", 1)


async def test_a_refused_upgrade_is_no_error_of_the_server(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever comes too often would fill its log."""
    assert (await refusal(api, {"X-API-Key": "pk_wrong"}))[0] == 401
    async with asyncio.timeout(5):
        while protocols(api.server):
            await asyncio.sleep(0.01)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("what", ["caller", "is_revoked"])
async def test_a_database_that_cannot_be_read_at_hello_closes_with_try_again(
    api: Api, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with open_socket(api, {}) as talk:
        monkeypatch.setattr(Gate, what, cannot_read)
        await talk.send(op="hello", v=1, token=api.user.key)
        assert await talk.closed() == 1013


async def test_a_database_that_cannot_be_read_at_auth_closes_with_try_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(api) as talk:
        await talk.subscribe("runs")
        monkeypatch.setattr(Gate, "caller", cannot_read)
        await talk.send(op="auth", id=1, token="x")
        assert await talk.closed() == 1013


async def test_a_key_revoked_after_auth_brought_another_closes_nothing(api: Api) -> None:
    """The connection is the new credential's; the new one's end is the connection's."""
    old, new = [await api.ok("POST", "/auth/api-keys", json={"name": name}) for name in ("old", "new")]
    async with talking(api, {"X-API-Key": old["secret"]}) as talk:
        await talk.send(op="auth", id=1, token=new["secret"])
        assert (await talk.receive())["op"] == "authenticated"
        await api.ok("DELETE", f"/auth/api-keys/{old['id']}")
        await talk.send(op="ping", n=1)
        assert (await talk.receive())["op"] == "pong"
        await api.ok("DELETE", f"/auth/api-keys/{new['id']}")
        assert await talk.closed() == 4401


async def test_an_upgrade_that_is_looked_at_while_the_server_begins_to_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be opened after the goodbyes, and closed without one."""
    async with a_server(tmp_path) as api:
        look = Gate.caller

        async def meanwhile(gate: Gate, credential: str | None) -> Any:
            caller = await look(gate, credential)
            await api.server.core.sockets.drain(timeout_seconds=1, spread_ms=0)
            return caller

        monkeypatch.setattr(Gate, "caller", meanwhile)
        assert await refusal(api) == (503, "draining", 1)


@pytest.mark.parametrize(("most", "told"), [(8_000, 24), (10, 10)])
async def test_all_that_are_told_goodbye_are_told_the_same_spread_by_how_many_they_are(
    tmp_path: Path, most: int, told: int
) -> None:
    async with a_server(tmp_path, goodbye_spread_ms=most) as api, AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(talking(api)) for _ in range(3)]
        api.server.stop()
        goodbyes = await asyncio.gather(*(talk.receive() for talk in talks))
        assert [(frame["op"], frame["spread_ms"]) for frame in goodbyes] == [("goodbye", told)] * 3
        assert await asyncio.gather(*(talk.closed() for talk in talks)) == [1012] * 3


async def test_a_connection_does_not_remember_sids_without_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_SIDS", 2)
    async with talking(api) as talk:
        for sid in ("a", "b"):
            assert (await talk.subscribe("runs", sid=sid))["op"] == "subscribed"
            await talk.send(op="unsubscribe", id=2, sid=sid)
            assert (await talk.receive())["op"] == "unsubscribed"
        await talk.send(op="subscribe", id=3, sid="c", topic="runs", limit=1, **{"from": "start"})
        assert await talk.closed() == 1013


async def test_what_is_no_number_is_not_given_back_as_an_id(api: Api) -> None:
    async with talking(api) as talk:
        await talk.socket.send_str('{"op":"unsubscribe","id":true}')
        assert "id" not in await talk.receive()


@pytest.mark.parametrize("frames", [5, 6])
async def test_frames_beyond_the_burst_close_and_up_to_it_do_not(
    api: Api, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """Whatever they are: unknown ones, garbage and those that nobody answers count."""
    monkeypatch.setattr(connection, "FRAME_BURST", 5)
    monkeypatch.setattr(connection, "FRAMES_PER_SECOND", 0)
    async with talking(api) as talk:
        for text in ('{"op":"dance"}', "garbage", '{"op":"pong","n":1}', '{"op":"credit","sid":"x","limit":1}'):
            await talk.socket.send_str(text)
        for n in range(frames - 4):
            await talk.send(op="ping", n=n)
        assert (await talk.receive())["code"] == "invalid_frame"
        assert (await talk.receive())["op"] == "pong"
        if frames > 5:
            assert await talk.closed() == 4008
        else:
            monkeypatch.setattr(connection, "FRAMES_PER_SECOND", 1e9)
            await talk.send(op="ping", n=9)
            assert (await talk.receive())["n"] == 9
