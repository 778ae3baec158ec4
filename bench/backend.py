"""What the backend does in a second, on SQLite, on PostgreSQL and with two processes on one PostgreSQL; and how that grows.

Every figure is of real sockets and a real database. In the comparison of databases clients, servers and database share the
machine; where growth is measured, each size has a server and a database of its own, all of them on the last processor, and
they take turns, so that what disturbs one disturbs all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import aiohttp

from playcall import AsyncPlaycall
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.store.database import Database

from .children import pin_client
from .drawing import Axes, drawn
from .real_backend import Kind, RealBackend, RealBackends
from .results import Picture, Results, Table, Target, spread
from .rounds import AsyncTurn, Scale, Tell, take_turns_async

CONCURRENT: Final = 32
WRITERS: Final = 8
SOCKETS: Final = 1_000
OPENED_AT_ONCE: Final = 100
OPENED_A_SECOND: Final = 140
"""The server lets one user connect 150 times a second, once it has let him 400 times."""
HEARD_SECONDS: Final = 15.0
"""A third of the silence after which the server takes its leave."""
RUNS: Final = 32
MOST_ROUNDS_OF_RUNS: Final = 5
"""Each takes some seconds."""
ROWS: Final = (1_000, 10_000, 100_000, 1_000_000)
TOPICS: Final = (10, 100, 1_000, 10_000)
CLIENTS: Final = (1, 10, 100, 1_000)
IN_A_TOPIC: Final = 10
BACK: Final = 10
FLAT: Final = 1.3

TITLE: Final = "The backend"


def _few(number: int, what: str, does: str) -> str:
    return f"{does}: {number:,} {what}"


DOES: Final = (
    "a request that reads",
    "a request that writes",
    "the last ten events",
    "a hundred events from the middle",
)

TARGETS: Final = (
    *(
        Target(
            f"Cost does not grow with history: {does}",
            "backend-by-rows",
            _few(ROWS[-1], "events", does),
            to=_few(ROWS[0], "events", does),
            at_most=FLAT,
        )
        for does in DOES
    ),
    *(
        Target(
            f"Cost does not grow with topics: {does}",
            "backend-by-topics",
            _few(TOPICS[-1], "topics", does),
            to=_few(TOPICS[0], "topics", does),
            at_most=FLAT,
        )
        for does in DOES[:2]
    ),
)


def measure(scale: Scale, tell: Tell) -> Results:
    results = Results()
    _compare(scale, results, lambda part: tell(part * 0.4))
    rows = ROWS[:2] if scale.quick else ROWS
    topics = TOPICS[:2] if scale.quick else TOPICS
    clients = CLIENTS[:3] if scale.quick else CLIENTS
    pin_client()
    grown = {
        "events": _grow(
            "backend-by-rows",
            "events",
            {events: (["agents"], events) for events in rows},
            scale,
            lambda part: tell(0.4 + part * 0.2),
        ),
        "topics": _grow(
            "backend-by-topics",
            "topics",
            {count: ([f"run:{n}" for n in range(count)], IN_A_TOPIC) for count in topics},
            scale,
            lambda part: tell(0.6 + part * 0.2),
        ),
    }
    delivery = _grow_with_clients(clients, scale, lambda part: tell(0.8 + part * 0.2))
    results.tables += [*grown.values(), *delivery]
    results.pictures.append(_draw_growth(grown, delivery, kept=not scale.quick))
    return results


# --- databases side by side -------------------------------------------------------------------------------------------


def _compare(scale: Scale, results: Results, tell: Tell) -> None:
    with RealBackends(pinned=False) as backends:
        setups: dict[str, tuple[Kind, int]] = {"SQLite": ("SQLite", 1)}
        if "PostgreSQL" in backends.kinds:
            setups |= {"PostgreSQL": ("PostgreSQL", 1), "PostgreSQL, two processes": ("PostgreSQL", 2)}
        running = {name: backends.start(kind, workers=workers) for name, (kind, workers) in setups.items()}
        asyncio.run(_compare_by_turns(running, scale, results, tell))


async def _compare_by_turns(running: Mapping[str, RealBackend], scale: Scale, results: Results, tell: Tell) -> None:
    kinds: dict[str, tuple[str, Callable[[RealBackend], Any], int]] = {
        "reads": (f"Requests that read one agent, {CONCURRENT} at once", _reads, 1),
        "writes": (f"Requests that make an agent, {CONCURRENT} at once", _writes, 1),
        "appends": (f"Events appended, one to a transaction, {WRITERS} writers", _appends, 1),
        "batches": (f"Events appended, ten to a transaction, {WRITERS} writers", _batches, 10),
        "runs": (f"Runs of two steps, {RUNS} begun together", _runs, RUNS),
    }
    for done, (key, (title, of, each)) in enumerate(kinds.items(), 1):
        async with AsyncExitStack() as stack:
            turns = {name: await stack.enter_async_context(of(backend)) for name, backend in running.items()}
            few = replace(scale, rounds=min(scale.rounds, MOST_ROUNDS_OF_RUNS))
            taken = await take_turns_async(turns, few if key == "runs" else scale, lambda _part: None)
        a_second = {name: [each * 1e6 / micros for micros in found] for name, found in taken.items()}
        results.tables.append(Table(f"backend-{key}", title, "a second", a_second, against="SQLite", note=_SHARED))
        tell(done / (len(kinds) + 1))
    sockets = SOCKETS // 20 if scale.quick else SOCKETS
    for name, backend in running.items():
        results.tables.append(await _delivered(name, backend, sockets, scale))
    tell(1)


_SHARED: Final = "Clients, servers and database share the processors, so only the rows of one table can be compared."


def _at_once(call: Callable[[int], Awaitable[object]], concurrent: int) -> AsyncTurn:
    """A turn of so many calls, which are numbered, some of them at a time."""
    number = 0

    async def turn(times: int) -> None:
        nonlocal number
        ends = number + times

        async def again_and_again() -> None:
            nonlocal number
            while number < ends:
                number += 1
                await call(number)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(concurrent, times)):
                tasks.create_task(again_and_again())

    return turn


@asynccontextmanager
async def _session(backend: RealBackend) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        f"{backend.url}/api/v1/", headers={"X-API-Key": backend.key}, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield session


async def _made(session: aiohttp.ClientSession, name: str) -> str:
    async with session.post("agents", json={"name": name, "tools": []}) as answer:
        assert answer.status == 201, await answer.text()
        agent: str = (await answer.json())["id"]
        return agent


async def _got(session: aiohttp.ClientSession, path: str) -> bytes:
    async with session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


@asynccontextmanager
async def _reads(backend: RealBackend, concurrent: int = CONCURRENT) -> AsyncGenerator[AsyncTurn]:
    async with _session(backend) as session:
        agent = await _made(session, f"Read again and again {time.time_ns()}")
        yield _at_once(lambda _: _got(session, f"agents/{agent}"), concurrent)


@asynccontextmanager
async def _writes(backend: RealBackend, concurrent: int = CONCURRENT) -> AsyncGenerator[AsyncTurn]:
    async with _session(backend) as session:
        yield _at_once(lambda number: _made(session, f"agent {number} {time.time_ns()}"), concurrent)


@asynccontextmanager
async def _appends(backend: RealBackend, each: int = 1) -> AsyncGenerator[AsyncTurn]:
    """As the server appends them, by this process."""
    database = Database.at(backend.database_url)

    async def append(number: int) -> None:
        topics = (TopicEntry("tasks" if each > 1 else f"task:{number % WRITERS}"),)
        async with database.write() as tx:
            for _ in range(each):
                tx.emit(NewEvent(owner_id=backend.owner, type="bench.happened", data={"n": number}, topics=topics))

    try:
        yield _at_once(append, WRITERS)
    finally:
        await database.close()


def _batches(backend: RealBackend) -> Any:
    return _appends(backend, 10)


@asynccontextmanager
async def _runs(backend: RealBackend) -> AsyncGenerator[AsyncTurn]:
    async with AsyncPlaycall(backend.url, auth=backend.auth, deadline_seconds=300) as client:
        await client.agents.create({"name": "Counter", "tools": ["text.stats"]})
        step = {"type": "standard", "agent": "Counter", "operation": "text.stats", "parameters": {"text": "one two"}}
        steps = [{"id": each, **step} for each in ("first", "second")]
        playbook = await client.playbooks.create({"name": "Two steps", "agents": ["Counter"], "steps": steps})

        async def one() -> None:
            run = await client.playbooks.run(playbook.id)
            ended = await client.runs.wait(run.id)
            assert ended.status == "completed", ended.error

        async def turn(times: int) -> None:
            for _ in range(times):
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(RUNS):
                        tasks.create_task(one())

        yield turn


# --- delivery ---------------------------------------------------------------------------------------------------------


class _Listeners:
    """Sockets that follow one topic with as little work as can be: what they cost is nearly all the server's."""

    def __init__(self, backend: RealBackend, session: aiohttp.ClientSession, topic: str) -> None:
        self._backend = backend
        self._session = session
        self._topic = topic
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def open(self, count: int) -> None:
        """Until there are so many, no faster than the server lets one user come."""
        while len(self._sockets) < count:
            some = min(OPENED_AT_ONCE, count - len(self._sockets))
            self._sockets += await asyncio.gather(*(self._one() for _ in range(some)))
            await asyncio.sleep(some / OPENED_A_SECOND)

    async def _one(self) -> aiohttp.ClientWebSocketResponse:
        socket = await self._session.ws_connect("ws", protocols=("playcall.v1",))
        await socket.send_json({"op": "hello", "v": 1, "client": "bench"})
        subscribe = {"op": "subscribe", "id": 1, "sid": "s1", "topic": self._topic, "from": "head", "limit": 2**50}
        await socket.send_json(subscribe)
        while '"subscribed"' not in await socket.receive_str():
            pass
        return socket

    async def all_have(self, agent: str) -> None:
        """Every socket has been sent the event of this agent."""

        async def one(socket: aiohttp.ClientWebSocketResponse) -> None:
            while agent not in await socket.receive_str():
                pass

        async with asyncio.timeout(120):
            await asyncio.gather(*map(one, self._sockets))

    async def be_heard(self) -> None:
        """Again and again: the server takes its leave of who says nothing for three heartbeats, and turns may be far apart."""
        while True:
            await asyncio.sleep(HEARD_SECONDS)
            for socket in self._sockets:
                await socket.send_str('{"op":"pong","n":0}')

    async def close(self) -> None:
        await asyncio.gather(*(socket.close() for socket in self._sockets))


@asynccontextmanager
async def _listening(backend: RealBackend, topic: str, count: int) -> AsyncGenerator[tuple[_Listeners, AsyncTurn]]:
    """Listeners, and the turn that makes an agent and waits until all of them have its event."""
    async with _session(backend) as session:
        listeners = _Listeners(backend, session, topic)
        await listeners.open(count)

        async def turn(times: int) -> None:
            for _ in range(times):
                await listeners.all_have(await _made(session, f"agent {time.time_ns()}"))

        heard = asyncio.create_task(listeners.be_heard())
        try:
            yield listeners, turn
        finally:
            heard.cancel()
            await asyncio.wait([heard])
            await listeners.close()


async def _delivered(name: str, backend: RealBackend, sockets: int, scale: Scale) -> Table:
    async with _listening(backend, "agents", sockets) as (_, turn):
        taken = await take_turns_async({name: turn}, scale, lambda _part: None)
    return Table(
        f"backend-delivery-{name.lower().replace(', ', '-').replace(' ', '-')}",
        f"An agent is made, and {sockets:,} sockets have its event: deliveries, {name}",
        "a second",
        {name: [sockets * 1e6 / micros for micros in taken[name]]},
        note="Each socket reads the log by itself as far as it can be seen from outside: nothing is kept in memory for it. "
        "The sockets are bare aiohttp, in one process on the same machine.",
    )


# --- growth -----------------------------------------------------------------------------------------------------------


def _grow(key: str, what: str, pasts: Mapping[int, tuple[Sequence[str], int]], scale: Scale, tell: Tell) -> Table:
    """One backend for each size, whose log has this past: topics, and events in each."""
    with RealBackends(pinned=True) as backends:
        running: dict[int, RealBackend] = {}
        for number, (topics, events) in pasts.items():
            running[number] = backends.start()
            running[number].fill(topics, events)
            tell(len(running) / len(pasts) / 2)
        taken = asyncio.run(_grow_by_turns(what, running, pasts, scale, lambda part: tell((1 + part) / 2)))
    return Table(
        key,
        f"With {what}, on SQLite: one request at a time",
        "µs",
        taken,
        note="Each size is a server of its own; they take turns. Events are asked for over HTTP, by bare aiohttp."
        + (" All events are in the topic that the write appends to." if what == "events" else ""),
    )


async def _grow_by_turns(
    what: str,
    running: Mapping[int, RealBackend],
    pasts: Mapping[int, tuple[Sequence[str], int]],
    scale: Scale,
    tell: Tell,
) -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        turns: dict[str, AsyncTurn] = {}
        for number, backend in running.items():
            session = await stack.enter_async_context(_session(backend))
            topics, events = pasts[number]
            ask = f"events?topic={topics[-1]}&limit=100"
            epoch = (await session.get(f"{ask}&from=head")).headers["X-Event-Cursor"].partition(":")[0]
            near, middle = events - BACK, max(0, events // 2 - 50)
            of = {
                DOES[0]: await stack.enter_async_context(_reads(backend, 1)),
                DOES[1]: await stack.enter_async_context(_writes(backend, 1)),
                DOES[2]: _asks(session, f"{ask}&from={epoch}:{near}"),
                DOES[3]: _asks(session, f"{ask}&from={epoch}:{middle}"),
            }
            turns |= {_few(number, what, does): turn for does, turn in of.items() if events > 100 or does != DOES[3]}
        return await take_turns_async(turns, scale, tell)


def _asks(session: aiohttp.ClientSession, path: str) -> AsyncTurn:
    return _at_once(lambda _: _got(session, path), 1)


def _grow_with_clients(counts: Sequence[int], scale: Scale, tell: Tell) -> list[Table]:
    with RealBackends(pinned=True) as backends:
        running = {count: backends.start() for count in counts}
        return asyncio.run(_clients_by_turns(running, scale, tell))


async def _clients_by_turns(running: Mapping[int, RealBackend], scale: Scale, tell: Tell) -> list[Table]:
    async with AsyncExitStack() as stack:
        delivers: dict[str, AsyncTurn] = {}
        reads: dict[str, AsyncTurn] = {}
        for count, backend in running.items():
            _, delivers[f"{count:,} clients"] = await stack.enter_async_context(_listening(backend, "agents", count))
            reads[f"{count:,} clients"] = await stack.enter_async_context(_reads(backend, 1))
        delivered = await take_turns_async(delivers, scale, lambda part: tell(part / 2))
        read = await take_turns_async(reads, scale, lambda part: tell((1 + part) / 2))
    each = {f"{count:,} clients": [micros / count for micros in delivered[f"{count:,} clients"]] for count in running}
    return [
        Table(
            "backend-by-clients",
            "With clients, on SQLite: an agent is made, and all of them have its event",
            "µs",
            delivered,
            note="All clients watch the same topic; they are bare aiohttp, in one process on the first processor.",
        ),
        Table("backend-by-clients-each", "The same, for each client", "µs", each),
        Table("backend-by-clients-read", "A request that reads, while so many clients wait for events", "µs", read),
    ]


def _draw_growth(grown: Mapping[str, Table], delivery: Sequence[Table], *, kept: bool) -> Picture:
    def draw(panels: list[Axes]) -> None:
        for axes, (what, table) in zip(panels, grown.items(), strict=False):
            for does in DOES:
                rows = {row: found for row, found in table.rows.items() if row.startswith(f"{does}:")}
                if rows:
                    _line(axes, [_number(row) for row in rows], rows.values(), does)
            axes.set_title(f"by {what}", loc="left", fontsize=10)
        for table, name in zip(delivery, ("all have an event", "for each client", "a request that reads"), strict=True):
            _line(panels[2], [_number(f": {row}") for row in table.rows], table.rows.values(), name)
        panels[2].set_title("by clients", loc="left", fontsize=10)
        for axes, lowest in zip(panels, (1_000, 1_000, 10), strict=True):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(lowest, 1_000_000)
            axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
            axes.set_ylabel("µs")

    drawn("backend-growth", 3, draw, kept=kept, height=2.6, one_x=False)
    return Picture(
        "backend-growth.svg", "What one thing costs as the log, the number of topics and the number of clients grow."
    )


def _number(row: str) -> int:
    """Of `what: 1,000 events`."""
    return int(row.rpartition(": ")[2].split()[0].replace(",", ""))


def _line(axes: Axes, sizes: Sequence[int], rounds: Any, label: str) -> None:
    """The middle of the rounds, with the quarters."""
    found = [spread(values) for values in rounds]
    (line,) = axes.plot(sizes, [each.median for each in found], marker="o", markersize=4, label=label)
    axes.fill_between(
        sizes,
        [each.low for each in found],
        [each.high for each in found],
        color=line.get_color(),
        alpha=0.2,
        linewidth=0,
    )
