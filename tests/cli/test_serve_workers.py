"""`playcall serve --workers 2` on PostgreSQL, as processes: who answers, who is replaced, how all of them end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.xdist_group("postgresql")


class Several:
    """A parent, and what it has announced."""

    def __init__(self, data: Path, database_url: str) -> None:
        self.data = data
        announcement = data.with_name("announce.json")
        announcement.unlink(missing_ok=True)
        command = [sys.executable, "-m", "playcall", "serve", "--port=0", "--workers=2", f"--data={data}"]
        self.process = subprocess.Popen(
            [*command, f"--announce={announcement}"],
            env={**os.environ, "PLAYCALL_DATABASE_URL": database_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ends_at = time.monotonic() + 60
        while not announcement.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        self.facts: dict[str, Any] = json.loads(announcement.read_text())

    @property
    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> tuple[str, str]:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.communicate(timeout=60)


def peer(connection: socket.socket) -> int | None:
    """The process at the other end; None: not accepted yet."""
    here, there = (f"0100007F:{name[1]:04X}" for name in (connection.getsockname(), connection.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines():
        words = line.split()
        if words[1:3] == [there, here]:
            name = f"socket:[{words[9]}]"
            for link in Path("/proc").glob("[0-9]*/fd/*"):
                try:
                    if os.readlink(link) == name:
                        return int(link.parts[2])
                except OSError:
                    continue
    return None


@pytest.fixture(scope="module")
def database_url(postgresql: PostgreSQL) -> str:
    return postgresql.new_database(migrated=False).replace("+asyncpg", "").replace("playcall@", "playcall:geheim@")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Several]:
    running = Several(tmp_path_factory.mktemp("several") / "data", database_url)
    try:
        yield running
    finally:
        running.end()


@asynccontextmanager
async def connected(several: Several) -> AsyncIterator[tuple[int, aiohttp.ClientSession]]:
    """A session of one connection, and the process at its other end."""
    made: list[socket.socket] = []

    def make(address: Any) -> socket.socket:
        made.append(socket.socket(*address[:3]))
        return made[-1]

    connector = aiohttp.TCPConnector(limit=1, socket_factory=make)
    headers = {"X-API-Key": several.facts["api_key"]}
    async with aiohttp.ClientSession(several.facts["url"], connector=connector, headers=headers) as session:
        async with session.get("/api/v1/auth/me") as answer:
            assert answer.status == 200
        (connection,) = made
        pid = peer(connection)
        assert pid is not None
        yield pid, session


@asynccontextmanager
async def one_to_each(several: Several) -> AsyncIterator[dict[int, aiohttp.ClientSession]]:
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        sessions: dict[int, aiohttp.ClientSession] = {}
        while sessions.keys() != set(several.children):
            pid, session = await stack.enter_async_context(connected(several))
            sessions.setdefault(pid, session)
        yield sessions


async def test_both_answer_on_one_port(several: Several) -> None:
    async with one_to_each(several) as sessions:
        assert len(sessions) == 2
        assert several.process.pid not in sessions
        assert several.facts["pid"] == several.process.pid


async def test_what_one_of_them_writes_the_other_reads_and_tells_its_sockets(several: Several) -> None:
    async with one_to_each(several) as sessions, one_to_each(several) as watchers:
        for pid, other in (several.children, several.children[::-1]):
            async with asyncio.timeout(20), watchers[other].ws_connect("/api/v1/ws") as watching:
                await watching.send_json({"op": "hello", "v": 1})
                subscribe = {"op": "subscribe", "id": 1, "sid": "s", "topic": "agents", "from": "start", "limit": 99}
                await watching.send_json(subscribe)
                while (await watching.receive_json())["op"] != "subscribed":
                    pass
                async with sessions[pid].post("/api/v1/agents", json={"name": f"of {pid}", "tools": []}) as answer:
                    assert answer.status == 201, await answer.text()
                    made = await answer.json()
                while made["id"] not in await watching.receive_str():
                    pass
            async with sessions[other].get(f"/api/v1/agents/{made['id']}") as answer:
                assert answer.status == 200


async def test_one_that_is_killed_is_replaced_and_requests_go_on(several: Several) -> None:
    killed, left = several.children
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(60):
        while len(set(several.children) - {killed}) < 2:
            # A connection of its own each time: whoever lives takes it.
            async with connected(several) as (pid, _):
                assert pid != killed
    assert left in several.children
    async with one_to_each(several) as sessions:  # the new one too
        assert killed not in sessions


async def test_asked_to_end_they_finish_what_is_under_way_and_the_password_was_nowhere(several: Several) -> None:
    """The last of this file: the server of all of them ends here."""
    body = json.dumps({"name": "last", "tools": []}).encode()
    half_sent = asyncio.Event()
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:5]
        half_sent.set()
        await go_on.wait()
        yield body[5:]

    async with one_to_each(several) as sessions:
        session = next(iter(sessions.values()))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        request = asyncio.create_task(session.post("/api/v1/agents", data=slowly(), headers=headers).__aenter__())
        await half_sent.wait()
        for child in several.children:
            assert b"geheim" not in Path(f"/proc/{child}/cmdline").read_bytes()
            assert b"geheim" not in Path(f"/proc/{child}/environ").read_bytes()
        several.process.terminate()
        # Nobody listens any more once both have heard of it.
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", several.facts["port"])
                except OSError:
                    break
                writer.close()
                await asyncio.sleep(0.02)
        go_on.set()
        answer = await request
        assert answer.status == 201
        answer.release()
    began = time.monotonic()
    out, err = await asyncio.to_thread(several.end)
    assert several.process.returncode == 0
    assert time.monotonic() - began < 20
    assert out.splitlines() == [
        f"playcall serves at {several.facts['url']}",
        f"API key of admin, shown this once: {several.facts['api_key']}",
    ]
    assert "Traceback" not in err
    assert "geheim" not in out + err


def test_they_end_with_a_parent_that_is_killed(several: Several, database_url: str) -> None:
    several.end()
    orphaned = Several(several.data, database_url)
    assert len(orphaned.children) == 2
    assert orphaned.facts["api_key"] is None
    orphaned.process.kill()
    orphaned.process.communicate(timeout=60)  # its pipes are theirs too, and are at an end when the last of them is
