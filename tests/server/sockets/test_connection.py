"""A connection over a channel that does what no well-behaved socket does at the right moment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from playcall.server.auth.caller import Caller
from playcall.server.auth.gate import Gate
from playcall.server.sockets.channel import ChannelClosedError
from playcall.server.sockets.connection import BAD_TOKEN, Connection

from ..conftest import Api


class ScriptedChannel:
    """Gives the messages, then waits until it is closed. After `sends` texts the peer is gone."""

    def __init__(self, *messages: dict[str, Any], sends: int = 1_000) -> None:
        self._messages = list(messages)
        self._sends = sends
        self._closed = asyncio.Event()
        self.sent: list[str] = []
        self.code: int | None = None

    async def receive(self) -> str | None:
        if self._messages and not self._closed.is_set():
            return json.dumps(self._messages.pop(0))
        await self._closed.wait()
        return None

    async def send(self, text: str) -> None:
        if self._closed.is_set() or len(self.sent) >= self._sends:
            raise ChannelClosedError
        self.sent.append(json.loads(text)["op"])

    async def close(self, code: int, reason: str) -> None:
        if not self._closed.is_set():
            self.code = code
            self._closed.set()


async def run(api: Api, channel: ScriptedChannel, caller: Caller | None, gate: Gate | None = None) -> None:
    core = api.server.core
    connection = Connection(channel, caller, settings=core.settings, database=core.database, gate=gate or core.gate)
    with core.sockets.holding(connection):
        async with asyncio.timeout(5):
            await connection.run()


HELLO = {"op": "hello", "v": 1}


async def test_a_peer_that_goes_while_it_is_answered_ends_the_connection_and_nothing_else(api: Api) -> None:
    async def scene() -> list[str]:
        channel = ScriptedChannel(HELLO, {"op": "ping", "n": 1}, sends=1)
        await run(api, channel, await api.server.core.gate.caller(api.user.key))
        return channel.sent

    assert await api.server.acall(scene()) == ["welcome"]


class RevokingGate(Gate):
    """The key is revoked right after it has been found good: nobody has it on a socket yet."""

    api: Api

    async def caller(self, credential: str | None) -> Caller:
        core = self.api.server.core
        caller = await core.gate.caller(credential)
        if caller.credential_id is not None and credential != self.api.user.key:
            from sqlalchemy import delete

            from playcall.server.store.tables import ApiKeyRow

            async with core.database.write() as tx:
                await tx.session.execute(delete(ApiKeyRow).where(ApiKeyRow.id == caller.credential_id))
            await core.sockets.revoke(caller.credential_id)
        return caller


@pytest.mark.parametrize("where", ["upgrade", "hello", "auth"])
async def test_a_key_revoked_while_its_socket_opens_opens_nothing(api: Api, where: str) -> None:
    secret = (await api.ok("POST", "/auth/api-keys", json={"name": "short-lived"}))["secret"]

    async def scene() -> tuple[int | None, list[str]]:
        core = api.server.core
        gate = RevokingGate(core.database, core.tokens)
        gate.api = api
        caller = None
        messages: list[dict[str, Any]] = [HELLO | {"token": secret}]
        if where == "upgrade":
            caller, messages = await gate.caller(secret), [HELLO]
        elif where == "auth":
            caller, messages = await gate.caller(api.user.key), [HELLO, {"op": "auth", "id": 1, "token": secret}]
        channel = ScriptedChannel(*messages)
        await run(api, channel, caller, gate)
        return channel.code, channel.sent

    assert await api.server.acall(scene()) == (BAD_TOKEN, ["welcome"] if where == "auth" else [])
