"""Catching up with a log that is already there: events a second, what both processes grow by, and what resuming costs.

The past is written into the database before anybody looks (`history`). Server and client are processes of their own, on
processors of their own; the client is the real one on a real socket, and every event is typed. Nothing is compared with
other people's clients here: they have no log to catch up with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import aiohttp

from playcall import ApiKey, Cursor
from playcall.models.event import RunLog
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient

from .children import pin_client
from .real_backend import Kind, RealBackend, RealBackends
from .results import Results, Table, Target
from .rounds import AsyncTurn, Scale, Tell, take_turns_async
from .usage import Usage

Face: TypeAlias = Literal["async", "blocking"]

FACES: Final[tuple[Face, ...]] = ("async", "blocking")
FEW, MANY = 10_000, 100_000
SHORT, LONG = 1_000, 1_000_000
"""Events in the log of a topic that is resumed near its head."""
BACK: Final = 10
"""Events that whoever resumes has missed."""
KEY: Final = "BENCH_API_KEY"
PAST: Final = "run:past"
WARM: Final = "run:warm"
MORE_MIB: Final = 8.0

TITLE: Final = "Catching up"


def _more(kind: Kind, who: str) -> str:
    return f"{kind}, {who}: {MANY:,} over {FEW:,}"


TARGETS: Final = (
    *(
        Target(
            f"Catching up with {MANY:,} events takes a {who} at most {MORE_MIB:.0f} MiB more than with {FEW:,}, {face} face",
            "catch-up-memory",
            _more("SQLite", f"{who}, {face}"),
            at_most=MORE_MIB,
        )
        for face in FACES
        for who in ("client", "server")
    ),
    *(
        Target(
            f"Resuming costs the same with {LONG:,} events in the log as with {SHORT:,}, on {kind}: {what}",
            f"catch-up-resume-{kind.lower()}",
            f"{what}, {LONG:,} in the log",
            to=f"{what}, {SHORT:,} in the log",
            at_most=1.3,
        )
        for kind in ("SQLite", "PostgreSQL")
        for what in ("connect anew", "subscribe again", "ask over HTTP")
    ),
)


def measure(scale: Scale, tell: Tell) -> Results:
    results = Results()
    with RealBackends(pinned=True) as backends:
        kinds = backends.kinds[:1] if scale.quick else backends.kinds
        results.tables += _catch_up(backends, kinds, 1 if scale.quick else 5, lambda part: tell(part / 2))
        for number, kind in enumerate(kinds):
            results.tables.append(_resume(backends, kind, scale, _later(tell, number, len(kinds))))
    return results


def _later(tell: Tell, number: int, of: int) -> Tell:
    return lambda part: tell(0.5 + (number + part) / 2 / of)


# --- from the start ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What one client said in the end, and what its server grew by meanwhile."""

    events_per_second: float
    client_mib: float
    server_mib: float
    client_micros: float
    """Of a processor, for each event."""
    server_micros: float


def _catch_up(backends: RealBackends, kinds: tuple[Kind, ...], rounds: int, tell: Tell) -> list[Table]:
    speed = Table(
        "catch-up-events",
        f"Catching up with {MANY:,} events",
        "events/s",
        note="From the first event to the last, one client of one server; both are on processors of their own, and the "
        "server reads each event from its database.",
    )
    memory = Table(
        "catch-up-memory",
        "What the processes grow by while a client catches up",
        "MiB",
        note="The most resident memory that the kernel saw, less what there was after 1,000 events of the same kind. "
        "A new client for each figure; the server is the same, and its first client is told apart.",
    )
    busy = Table(
        "catch-up-busy",
        f"What each of {MANY:,} events takes of a processor",
        "µs",
        note="All threads of a process, in user and system. On PostgreSQL the database's own processes are not counted.",
    )
    running: dict[Kind, RealBackend] = {kind: backends.start(kind) for kind in kinds}
    for backend in running.values():
        backend.fill([WARM], 1_000)
        backend.fill([f"{PAST}-{FEW}"], FEW)
        backend.fill([f"{PAST}-{MANY}"], MANY)
    for kind, backend in running.items():
        first = _client(backend, "async", MANY)
        memory.rows[f"{kind}, server, the first client of its life: {MANY:,}"] = [first.server_mib]
    tell(0.1)
    for done in range(rounds):
        for kind, backend in running.items():
            for face in FACES if done % 2 else FACES[::-1]:
                few, many = _client(backend, face, FEW), _client(backend, face, MANY)
                speed.rows.setdefault(f"{kind}, {face}", []).append(many.events_per_second)
                busy.rows.setdefault(f"{kind}, client, {face}", []).append(many.client_micros)
                busy.rows.setdefault(f"{kind}, server, {face}", []).append(many.server_micros)
                for who in ("client", "server"):
                    grown: dict[int, float] = {}
                    for events, found in ((FEW, few), (MANY, many)):
                        grown[events] = found.client_mib if who == "client" else found.server_mib
                        memory.rows.setdefault(f"{kind}, {who}, {face}: {events:,}", []).append(grown[events])
                    memory.rows.setdefault(_more(kind, f"{who}, {face}"), []).append(grown[MANY] - grown[FEW])
        tell(0.1 + 0.9 * (done + 1) / rounds)
    return [speed, busy, memory]


def _client(backend: RealBackend, face: Face, events: int) -> CaughtUp:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.catch_up", "--consume", backend.url, face, str(events)],
        env={**os.environ, KEY: backend.key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the client did not start")
        server = Usage(backend.live.pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        said: dict[str, float] = json.loads(process.stdout.readline() or "{}")
        server_mib, server_micros = server.grown_mib, server.busy_seconds / events * 1e6
    if process.returncode or not said:
        raise RuntimeError("the client failed")
    return CaughtUp(**said, server_mib=server_mib, server_micros=server_micros)


def _consume(url: str, face: Face, events: int) -> None:
    """In a process of its own."""
    pin_client()
    auth = ApiKey(os.environ[KEY])
    if face == "async":
        asyncio.run(_consume_async(WebSocketClient(url, auth=auth), events))
        return
    with BlockingWebSocketClient(url, auth=auth) as client:

        def read(topic: str, count: int) -> float:
            with client.subscribe(topic, start="start") as feed:
                _is(next(feed), 1)
                began = time.perf_counter()
                for n in range(2, count + 1):
                    _is(next(feed), n)
                return (count - 1) / (time.perf_counter() - began)

        read(WARM, 1_000)
        usage = _told_to_go()
        _say(read(f"{PAST}-{events}", events), events, usage)


async def _consume_async(client: WebSocketClient, events: int) -> None:
    async def read(topic: str, count: int) -> float:
        async with client.subscribe(topic, start="start") as feed:
            _is(await anext(feed), 1)
            began = time.perf_counter()
            for n in range(2, count + 1):
                _is(await anext(feed), n)
            return (count - 1) / (time.perf_counter() - began)

    async with client:
        await read(WARM, 1_000)
        usage = _told_to_go()
        _say(await read(f"{PAST}-{events}", events), events, usage)


def _is(event: object, seq: int) -> None:
    if not isinstance(event, RunLog) or event.seq != seq:
        raise SystemExit(f"event {seq} is {event}")


def _told_to_go() -> Usage:
    print("ready", flush=True)
    sys.stdin.readline()
    return Usage()


def _say(events_per_second: float, events: int, usage: Usage) -> None:
    """The client's part of `CaughtUp`."""
    said = {
        "events_per_second": events_per_second,
        "client_mib": usage.grown_mib,
        "client_micros": usage.busy_seconds / events * 1e6,
    }
    print(json.dumps(said), flush=True)


# --- near the head ----------------------------------------------------------------------------------------------------


def _resume(backends: RealBackends, kind: Kind, scale: Scale, tell: Tell) -> Table:
    """Two servers, each with a database of its own: one has seen little, one much."""
    running = {events: backends.start(kind) for events in (SHORT, LONG)}
    for events, backend in running.items():
        backend.fill([PAST], events)
    pin_client()
    taken = asyncio.run(_resume_by_turns(running, scale, tell))
    return Table(
        f"catch-up-resume-{kind.lower()}",
        f"Resuming {BACK} events before the head, on {kind}",
        "µs",
        taken,
        note="From a cursor to the last event there is. `connect anew` makes a client, a connection and a subscription; "
        "`subscribe again` is on a connection that is there; `ask over HTTP` is `GET /events`, by bare aiohttp.",
    )


async def _resume_by_turns(running: Mapping[int, RealBackend], scale: Scale, tell: Tell) -> dict[str, list[float]]:
    turns: dict[str, AsyncTurn] = {}
    clients = {events: WebSocketClient(backend.url, auth=backend.auth) for events, backend in running.items()}
    async with aiohttp.ClientSession() as session:
        try:
            for events, backend in running.items():
                cursor = await _near_head(session, backend, events)
                turns[f"connect anew, {events:,} in the log"] = _connect_anew(backend, cursor)
                turns[f"subscribe again, {events:,} in the log"] = _subscribe_again(clients[events], cursor)
                turns[f"ask over HTTP, {events:,} in the log"] = _ask(session, backend, cursor)
            return await take_turns_async(turns, scale, tell)
        finally:
            for client in clients.values():
                await client.close()


async def _near_head(session: aiohttp.ClientSession, backend: RealBackend, events: int) -> Cursor:
    async with session.get(
        f"{backend.url}/api/v1/events", params={"topic": PAST, "from": "head"}, headers={"X-API-Key": backend.key}
    ) as answer:
        head = Cursor.parse(answer.headers["X-Event-Cursor"])
    assert head.seq == events
    return Cursor(head.epoch, head.seq - BACK)


async def _take(client: WebSocketClient, cursor: Cursor) -> None:
    async with client.subscribe(PAST, start=cursor) as feed:
        for n in range(1, BACK + 1):
            _is(await anext(feed), cursor.seq + n)


def _connect_anew(backend: RealBackend, cursor: Cursor) -> AsyncTurn:
    async def turn(times: int) -> None:
        for _ in range(times):
            async with WebSocketClient(backend.url, auth=backend.auth) as client:
                await _take(client, cursor)

    return turn


def _subscribe_again(client: WebSocketClient, cursor: Cursor) -> AsyncTurn:
    async def turn(times: int) -> None:
        for _ in range(times):
            await _take(client, cursor)

    return turn


def _ask(session: aiohttp.ClientSession, backend: RealBackend, cursor: Cursor) -> AsyncTurn:
    params, headers = {"topic": PAST, "from": str(cursor)}, {"X-API-Key": backend.key}

    async def turn(times: int) -> None:
        for _ in range(times):
            async with session.get(f"{backend.url}/api/v1/events", params=params, headers=headers) as answer:
                assert f'"to":{cursor.seq + BACK}' in await answer.text()

    return turn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One client of the measurement; it is started by it.")
    parser.add_argument("--consume", nargs=3, metavar=("URL", "FACE", "EVENTS"), required=True)
    url, face, events = parser.parse_args().consume
    _consume(url, face, int(events))
