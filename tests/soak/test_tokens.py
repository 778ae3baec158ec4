"""Tokens that live for six seconds, renewed in the middle of everything: nobody is disconnected, no event is missed."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from playcall import ApiKey, AsyncPlaycall, OAuth2Password
from playcall.realtime.states import ConnectionState, StateChange
from playcall.testing import DeliveryOracle, LiveBackend, read_log_async
from tests.end_to_end.faces import FACES, open_client

from .notes import Notes
from .scale import scaled

TOKEN_SECONDS = 6
"""Half of it is what a renewal may take on a loaded machine; it has 5 s where tokens live for minutes."""
LOAD_SECONDS = scaled(short=8.0, full=60.0)
CALLERS = 3
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBackend]:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text(PASSWORD + "\n")
    options = [f"--admin-password-file={secret}", f"--access-token-seconds={TOKEN_SECONDS}"]
    with LiveBackend(options=options) as running:
        yield running


class CountedLogin:
    """A password login that counts how often it was asked for tokens."""

    def __init__(self) -> None:
        self._login = OAuth2Password("admin", PASSWORD)
        self._lock = threading.Lock()
        self.tokens = 0

    async def fetch(self, *args: Any) -> Any:
        got = await self._login.fetch(*args)
        with self._lock:
            self.tokens += 1
        return got


async def test_renewing_tokens_under_load_disconnects_nobody_and_loses_nothing(
    backend: LiveBackend, notes: Notes
) -> None:
    await asyncio.gather(*(under_load(backend, face, notes) for face in FACES))


async def under_load(backend: LiveBackend, face: str, notes: Notes) -> None:
    login, oracle = CountedLogin(), DeliveryOracle()
    changes: list[StateChange] = []
    key = ApiKey(backend.api_key)
    numbers = itertools.count(1)
    calls = 0
    async with (
        open_client(face, backend.url, auth=login, deadline_seconds=30) as client,
        AsyncPlaycall(backend.url, auth=key) as other,
    ):
        ends_at = time.monotonic() + LOAD_SECONDS

        async def call() -> None:
            nonlocal calls
            while time.monotonic() < ends_at:
                agent = await client.agents.create({"name": f"{face} {next(numbers)}", "tools": ["wait"]})
                await client.agents.delete(agent.id)
                calls += 2

        async def progress() -> None:
            while time.monotonic() < ends_at:
                await asyncio.sleep(min(10, LOAD_SECONDS))
                notes.progress(f"{face}: {calls} calls, {len(oracle.seen)} events, {login.tokens} tokens")

        async with asyncio.timeout(LOAD_SECONDS + 60), client.events.subscribe("agents", start="start") as feed:
            client.events.on_state(changes.append)

            async def see() -> None:
                async for event in feed:
                    oracle.saw(event)
                    if event.type == "agent.created" and event.data.agent.name == f"{face} is done":
                        return

            seeing = asyncio.create_task(see())
            async with asyncio.TaskGroup() as load:
                for _ in range(CALLERS):
                    load.create_task(call())
                load.create_task(progress())
            await other.agents.create({"name": f"{face} is done", "tools": ["wait"]})
            await seeing
        picture = client.events.picture
    # What the other face does goes on meanwhile.
    log = await read_log_async(backend.url, "agents", auth=key)
    verdict = oracle.judge([each for each in log if each.seq <= oracle.seen[-1].seq])
    assert verdict.ok, verdict.explain()
    assert (picture.attempts, picture.reconnects, picture.outages) == (1, 0, ())
    # Closing the client is the only change.
    assert [each.old for each in changes[:1]] in ([], [ConnectionState.READY])
    assert {each.new for each in changes} <= {ConnectionState.CLOSING, ConnectionState.CLOSED}
    assert login.tokens >= LOAD_SECONDS / TOKEN_SECONDS
    notes.measured(f"{face}: seconds of load, tokens that live {TOKEN_SECONDS} s", f"{LOAD_SECONDS:g}, {login.tokens}")
    notes.measured(
        f"{face}: calls, events each once, disconnects", f"{calls}, {len(oracle.seen)}, {picture.reconnects}"
    )
