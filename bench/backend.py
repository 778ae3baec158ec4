"""How much the backend does in a second: on SQLite, on PostgreSQL, and with two processes on one PostgreSQL.

    .venv/bin/python -m bench.server
    .venv/bin/python -m bench.server --seconds 2

Every figure is of real sockets and a real database of this machine, which the clients share with the servers: compare the
columns with each other, not with another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from tests.postgresql import PostgreSQL

from playcall import ApiKey, AsyncPlaycall
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.store.database import Database
from playcall.server.store.tables import UserRow
from playcall.testing import LiveBackend

CONCURRENT: Final = 32
WRITERS: Final = 8
BACKLOG: Final = 20_000
RUNS: Final = 40
DURABLE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "shared_buffers": "128MB",
    "autovacuum": "on",
}
"""As durable as PostgreSQL is by default: what was committed outlives a power cut, which SQLite in WAL mode leaves to the next checkpoint."""


@dataclass
class Setup:
    """One column: a backend, and the database behind it."""

    name: str
    backend: LiveBackend
    database_url: str
    figures: dict[str, float] = field(default_factory=dict)


async def a_second(call: Callable[[int], Awaitable[int]], concurrent: int, seconds: float) -> float:
    """How often `call` ends in a second, `concurrent` of them at a time; it says how much each has done."""
    for warm in range(concurrent):
        await call(warm)
    done = 0
    numbers = itertools.count(concurrent)
    began_at = time.perf_counter()
    ends_at = began_at + seconds

    async def again_and_again() -> None:
        nonlocal done
        while time.perf_counter() < ends_at:
            each = await call(next(numbers))
            done += each  # not in one line: `done` would be read before the wait

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrent):
            tasks.create_task(again_and_again())
    return done / (time.perf_counter() - began_at)


async def requests(setup: Setup, seconds: float) -> None:
    headers = {"X-API-Key": setup.backend.api_key}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"{setup.backend.url}/api/v1/", headers=headers, connector=connector) as session:
        async with session.post("agents", json={"name": "Read again and again", "tools": ["text.stats"]}) as answer:
            agent = (await answer.json())["id"]

        async def read(_: int) -> int:
            async with session.get(f"agents/{agent}") as answer:
                await answer.read()
                assert answer.status == 200, answer.status
                return 1

        async def write(number: int) -> int:
            async with session.post("agents", json={"name": f"agent {number}", "tools": []}) as answer:
                await answer.read()
                assert answer.status == 201, answer.status
                return 1

        setup.figures["requests that read"] = await a_second(read, CONCURRENT, seconds)
        setup.figures["requests that write"] = await a_second(write, CONCURRENT, seconds)


async def events(setup: Setup, seconds: float) -> None:
    """Appended as the server appends them, by this process; delivered over a socket, a backlog to one client."""
    database = Database.at(setup.database_url)
    try:
        async with database.read() as session:
            owner = (await session.scalars(select(UserRow.id))).first()
        assert owner is not None

        async def append(number: int, each: int) -> int:
            async with database.write() as tx:
                for _ in range(each):
                    topic = TopicEntry("tasks" if each > 1 else f"task:{number % WRITERS}")
                    tx.emit(NewEvent(owner_id=owner, type="bench.happened", data={"n": number}, topics=(topic,)))
            return each

        setup.figures["events appended, one to a transaction"] = await a_second(
            lambda number: append(number, 1), WRITERS, seconds
        )
        setup.figures["events appended, ten to a transaction"] = await a_second(
            lambda number: append(number, 10), WRITERS, seconds
        )
        for _ in range(BACKLOG // 100):
            await append(0, 100)
    finally:
        await database.close()
    async with (
        AsyncPlaycall(setup.backend.url, auth=ApiKey(setup.backend.api_key)) as client,
        client.events.subscribe("tasks", start="start") as feed,
    ):
        await anext(feed)
        began_at = time.perf_counter()
        for _ in range(BACKLOG):
            await anext(feed)
        setup.figures["events delivered to one client"] = BACKLOG / (time.perf_counter() - began_at)


async def runs(setup: Setup) -> None:
    async with AsyncPlaycall(setup.backend.url, auth=ApiKey(setup.backend.api_key), deadline_seconds=300) as client:
        await client.agents.create({"name": "Counter", "tools": ["text.stats"]})
        step = {"type": "standard", "agent": "Counter", "operation": "text.stats", "parameters": {"text": "one two"}}
        steps = [{"id": each, **step} for each in ("first", "second")]
        playbook = await client.playbooks.create({"name": "Two steps", "agents": ["Counter"], "steps": steps})

        async def one() -> None:
            run = await client.playbooks.run(playbook.id)
            ended = await client.runs.wait(run.id)
            assert ended.status == "completed", ended.error

        await one()
        began_at = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(RUNS):
                tasks.create_task(one())
        setup.figures["runs of two steps, begun together"] = RUNS / (time.perf_counter() - began_at)


@asynccontextmanager
async def setups(postgresql: PostgreSQL) -> AsyncIterator[Callable[[str, int], Awaitable[Setup]]]:
    async with AsyncExitStack() as stack:

        async def start(name: str, workers: int) -> Setup:
            options = ["--requests-per-second=0", f"--workers={workers}"]
            url = None if name == "SQLite" else postgresql.new_database(migrated=False)
            served = None if url is None else url.replace("postgresql+asyncpg", "postgresql")
            backend = LiveBackend(database_url=served, options=options)
            stack.push_async_callback(asyncio.to_thread, backend.close)
            await asyncio.to_thread(backend.start)
            path = backend.data_dir / "playcall.sqlite3"
            return Setup(name, backend, url or f"sqlite+aiosqlite:///{path}")

        yield start


async def measure(seconds: float) -> list[Setup]:
    found: list[Setup] = []
    with PostgreSQL(DURABLE) as postgresql:
        for name, workers in (("SQLite", 1), ("PostgreSQL", 1), ("PostgreSQL, two processes", 2)):
            async with setups(postgresql) as start:
                print(f"{name} …", file=sys.stderr, flush=True)
                setup = await start(name, workers)
                await requests(setup, seconds)
                await events(setup, seconds)
                await runs(setup)
                found.append(setup)
    return found


def show(found: list[Setup]) -> None:
    table = Table(title="in a second; in brackets, against the first column")
    table.add_column("")
    for setup in found:
        table.add_column(setup.name, justify="right")
    for what, base in found[0].figures.items():
        table.add_row(what, *(f"{setup.figures[what]:,.0f} ({setup.figures[what] / base:.2f})" for setup in found))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each of the figures is measured")
    show(asyncio.run(measure(parser.parse_args().seconds)))


if __name__ == "__main__":
    main()
