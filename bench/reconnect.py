"""After an outage: how soon the first event comes, a crowd on the real backend, and a million clients by the schedule alone.

The crowd shares one process and one processor; what it and the server take of theirs is told beside the times.
The million is arithmetic, and takes no network: `scheduled` asks the client's own schedule, and a test holds it against what
the client's session does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, Self, TypeAlias

from tests.soak.storm import exponential, fixed, scheduled

from playcall import ApiKey, AsyncPlaycall
from playcall.models.event import AnyEvent
from playcall.realtime.feed import Feed
from playcall.realtime.states import ConnectionState, StateChange
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.store.database import Database
from playcall.services.websocket_client import WebSocketClient
from playcall.testing import FaultProxy

from .children import pin_client
from .drawing import Axes, drawn
from .real_backend import RealBackend, RealBackends
from .results import Picture, Results, Table
from .rounds import Scale, Tell
from .usage import Usage

End: TypeAlias = Literal["killed", "told goodbye"]

AWAY_SECONDS: Final = (0.5, 2.0, 8.0)
WATCHERS: Final = 100
"""Clients that an outage is measured with."""
CROWD: Final = 1_000
TOPIC: Final = "agents"
OPENED_AT_ONCE: Final = 100
USERS: Final = 10
"""The crowd is theirs: the server lets one user connect 400 times at once, and 150 times a second after that."""
MILLION: Final = 1_000_000
GONE_SECONDS: Final = 10.0
"""How long the million's server is away."""
SPREAD_MS: Final = 8_000
"""What the server tells a crowd of this size with `goodbye`, unless it is set otherwise."""
SHOWN_SECONDS: Final = 20.0
BIN_SECONDS: Final = 0.1
SEED: Final = 7

TITLE: Final = "Reconnecting"
TARGETS: Final = ()


def measure(scale: Scale, tell: Tell) -> Results:
    results = Results()
    clients = MILLION // 100 if scale.quick else MILLION
    _simulated(clients, results, lambda part: tell(part * 0.2), kept=not scale.quick)
    pin_client()
    with RealBackends(pinned=True) as backends:
        backend = backends.start()
        results.tables.append(
            asyncio.run(_outages(backend, 10 if scale.quick else WATCHERS, scale, lambda part: tell(0.2 + part * 0.3)))
        )
        size = CROWD // 20 if scale.quick else CROWD
        asyncio.run(_storms(backend, size, results, lambda part: tell(0.5 + part * 0.5), kept=not scale.quick))
    return results


# --- by the schedule alone --------------------------------------------------------------------------------------------


def _simulated(clients: int, results: Results, tell: Tell, *, kept: bool) -> None:
    chance = Random(SEED)
    crowds: dict[str, Iterable[list[float]]] = {
        "every second": [fixed(GONE_SECONDS, chance)],
        "doubling pauses": [exponential(GONE_SECONDS, chance)],
        "playcall, killed": (scheduled(GONE_SECONDS, chance.random) for _ in range(clients)),
        "playcall, told goodbye": (scheduled(GONE_SECONDS, chance.random, spread_ms=SPREAD_MS) for _ in range(clients)),
        "playcall, told goodbye, another server is there": (
            scheduled(0.0, chance.random, spread_ms=SPREAD_MS) for _ in range(clients)
        ),
    }
    worst = Table(
        "reconnect-simulated",
        f"{clients:,} clients whose server is away for {GONE_SECONDS:.0f} s: the most attempts in 100 ms",
        "attempts",
        against="every second",
        note="By the schedules alone, from the first instant on. A client that saw its connection break tries once at once; "
        "one that was told goodbye does not. With another server there is no time away.",
    )
    later = Table(
        "reconnect-simulated-later",
        f"{clients:,} clients whose server is away for {GONE_SECONDS:.0f} s: the most attempts in 100 ms after the first instant",
        "attempts",
        against="every second",
    )
    ends = Table("reconnect-simulated-back", "When the last of them is back, after the server is", "s")
    counts: dict[str, list[int]] = {}
    for done, (name, crowd) in enumerate(crowds.items(), 1):
        counts[name], last = _counted(crowd, clients if isinstance(crowd, list) else 1)
        worst.rows[name] = [max(counts[name])]
        later.rows[name] = [max(counts[name][1:])]
        ends.rows[name] = [last - (0.0 if name.endswith("there") else GONE_SECONDS)]
        tell(done / len(crowds))
    results.tables += [worst, later, ends]
    results.pictures.append(_draw_million(clients, counts, kept=kept))


def _counted(crowd: Iterable[Sequence[float]], each: int) -> tuple[list[int], float]:
    """Attempts in each bin of what is shown, and the moment of the last attempt of all.

    Args:
        each: How many clients do the same: all of them, where there is no chance.
    """
    bins = [0] * round(SHOWN_SECONDS / BIN_SECONDS)
    shown, latest = SHOWN_SECONDS, 0.0
    for attempts in crowd:
        for moment in attempts:
            if moment < shown:
                bins[int(moment / BIN_SECONDS + 1e-9)] += each
        latest = max(latest, attempts[-1])
    return bins, latest


def _draw_million(clients: int, counts: dict[str, list[int]], *, kept: bool) -> Picture:
    def draw(panels: list[Axes]) -> None:
        edges = [number * BIN_SECONDS for number in range(round(SHOWN_SECONDS / BIN_SECONDS) + 1)]
        colours = ("#bf8700", "#e5534b", "#3b8eea", "#3b8eea", "#2da44e")
        for axes, (name, bins), colour in zip(panels, counts.items(), colours, strict=True):
            axes.stairs(bins, edges, fill=True, color=colour)
            axes.set_yscale("symlog", linthresh=100)
            axes.set_ylim(0, clients * 2)
            axes.set_yticks([100, 10_000, 1_000_000], ["100", "10 k", "1 M"])
            axes.set_xlim(0, SHOWN_SECONDS)
            axes.set_xticks(range(0, round(SHOWN_SECONDS) + 1, 2))
            axes.set_title(name, loc="left", fontsize=10)
            axes.set_title(f"at most {max(bins):,} in 100 ms", loc="right", fontsize=9)
            if not name.endswith("there"):
                axes.axvline(GONE_SECONDS, color="#8250df", linestyle="--", linewidth=1)
        panels[0].annotate("the server is back", (GONE_SECONDS + 0.2, clients / 4), color="#8250df", fontsize=9)
        panels[-1].set_xlabel("seconds after the server ended")
        panels[len(panels) // 2].set_ylabel("attempts to connect in each 100 ms")

    drawn("reconnect-storm", len(counts), draw, kept=kept, height=1.5)
    return Picture(
        "reconnect-storm.svg",
        f"Attempts to connect of {clients:,} clients whose server was away for {GONE_SECONDS:.0f} s, by five schedules; "
        "the scale is logarithmic.",
    )


# --- on the real backend ----------------------------------------------------------------------------------------------


async def _outages(backend: RealBackend, watchers: int, scale: Scale, tell: Tell) -> Table:
    table = Table(
        "reconnect-first-event",
        f"From listening again to the first event, {watchers} clients at once",
        "s",
        note="Connections are cut and refused for so long. Each client is one figure: what it has waited for is chance, "
        "up to the pause that the schedule had come to.",
    )
    away = AWAY_SECONDS[:2] if scale.quick else AWAY_SECONDS
    for done, seconds in enumerate(away, 1):
        with FaultProxy(backend.url) as proxy:
            users = await _users(backend)
            async with _Crowd(proxy.url, users, watchers) as crowd:
                hearing = asyncio.create_task(crowd.heard())
                proxy.refuse()
                proxy.cut()
                await _happen(backend, users)
                await asyncio.sleep(seconds)
                proxy.heal()
                healed_at = time.perf_counter()
                table.rows[f"away for {seconds:g} s"] = [at - healed_at for at in await hearing]
        tell(done / len(away))
    return table


async def _storms(backend: RealBackend, size: int, results: Results, tell: Tell, *, kept: bool) -> None:
    ends: tuple[tuple[End, Callable[[], object]], ...] = (
        ("killed", backend.live.kill),
        ("told goodbye", backend.live.stop),
    )
    table = Table(
        "reconnect-storm",
        f"{size:,} clients of {USERS} users, and the real backend that was ended and started again",
        "s",
        note="From when it listens again, for each client; all clients share one process and one processor. "
        "`ready` is the handshake, `first event` what happened meanwhile.",
    )
    worst = Table("reconnect-storm-worst", f"The most attempts of {size:,} clients in 100 ms", "attempts")
    busy = Table(
        "reconnect-storm-busy",
        "What each client that comes back takes of a processor, until it has what it missed",
        "µs",
        note="The server's part ends when the last client has its event; its own start is not counted.",
    )
    lives: dict[str, _Life] = {}
    for done, (name, end) in enumerate(ends, 1):
        users = await _users(backend)
        async with _Crowd(backend.url, users, size) as crowd:
            crowd.watch()
            ended_at = time.perf_counter()
            hearing = asyncio.create_task(crowd.heard())
            await asyncio.to_thread(end)
            await _happen(backend, users)
            await asyncio.to_thread(backend.live.start)
            back_at = time.perf_counter()
            server, clients = Usage(backend.live.pid), Usage()
            events = await hearing
            busy.rows[f"{name}: server"] = [server.busy_seconds / size * 1e6]
            busy.rows[f"{name}: client"] = [clients.busy_seconds / size * 1e6]
            table.rows[f"{name}: ready"] = [max(0.0, at - back_at) for at in crowd.ready]
            table.rows[f"{name}: first event"] = [max(0.0, at - back_at) for at in events]
            bins = _binned([at - ended_at for at in crowd.tried])
            worst.rows[name] = [max(bins)]
            lives[name] = (back_at - ended_at, bins, sorted(at - ended_at for at in events))
        tell(done / len(ends))
    results.tables += [table, worst, busy]
    results.pictures.append(_draw_storm(size, lives, kept=kept))


_Life: TypeAlias = tuple[float, list[int], list[float]]
"""When the server was back, attempts in each bin, and when each client had its first event; seconds after the end."""


def _binned(moments: Iterable[float]) -> list[int]:
    bins = [0] * round(SHOWN_SECONDS / BIN_SECONDS)
    for moment in moments:
        if 0 <= moment < SHOWN_SECONDS:
            bins[int(moment / BIN_SECONDS)] += 1
    return bins


def _draw_storm(size: int, lives: dict[str, _Life], *, kept: bool) -> Picture:
    def draw(panels: list[Axes]) -> None:
        tries, back = panels
        for (name, (back_at, bins, events)), colour in zip(lives.items(), ("#e5534b", "#3b8eea"), strict=True):
            moments = [number * BIN_SECONDS for number in range(len(bins))]
            tries.step(moments, bins, where="post", color=colour, label=name)
            back.step([*events], [100 * (n + 1) / size for n in range(size)], where="post", color=colour, label=name)
            back.axvline(back_at, color=colour, linestyle="--", linewidth=1)
        latest = max(events[-1] for _, _, events in lives.values())
        for axes in panels:
            axes.set_xlim(0, min(SHOWN_SECONDS, latest * 1.1))
            axes.legend(frameon=False, fontsize=9)
        tries.set_ylabel("attempts in 100 ms")
        back.set_ylabel("% with the next event")
        back.set_xlabel("seconds after the server ended; it listens again at the dashed lines")

    drawn("reconnect-real", 2, draw, kept=kept, height=2.0)
    return Picture(
        "reconnect-real.svg",
        f"{size:,} clients and the real backend, killed or ended in good order, and started again.",
    )


@dataclass(frozen=True, slots=True)
class _User:
    id: str
    key: str


async def _users(backend: RealBackend) -> list[_User]:
    """New ones."""
    users: list[_User] = []
    for _ in range(USERS):
        key = await asyncio.to_thread(backend.live.add_user)
        async with AsyncPlaycall(backend.url, auth=ApiKey(key)) as client:
            users.append(_User((await client.account.me()).id, key))
    return users


async def _happen(backend: RealBackend, users: Sequence[_User]) -> None:
    """An event for everybody, whether or not there is a server: straight into the log, by the server's own code."""
    database = Database.at(backend.database_url)
    try:
        async with database.write() as tx:
            for user in users:
                tx.emit(NewEvent(owner_id=user.id, type="bench.happened", data={}, topics=(TopicEntry(TOPIC),)))
    finally:
        await database.close()


class _Crowd:
    """Clients that each watch the agents of their user; none of them knows of the others."""

    def __init__(self, url: str, users: Sequence[_User], size: int) -> None:
        self._clients = [WebSocketClient(url, auth=ApiKey(users[number % len(users)].key)) for number in range(size)]
        self._feeds: list[Feed[AnyEvent]] = []
        self._stack = AsyncExitStack()
        self.tried: list[float] = []
        self.ready: list[float] = []

    async def __aenter__(self) -> Self:
        for client in self._clients:
            self._stack.push_async_callback(client.close)
            self._feeds.append(client.subscribe(TOPIC, start="head"))
            self._stack.push_async_callback(self._feeds[-1].close)
        for first in range(0, len(self._feeds), OPENED_AT_ONCE):
            await asyncio.gather(*(feed.open() for feed in self._feeds[first : first + OPENED_AT_ONCE]))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def watch(self) -> None:
        """From now on `tried` and `ready` are filled."""
        for client in self._clients:
            client.on_state(self._changed)

    def _changed(self, change: StateChange) -> None:
        if change.new is ConnectionState.CONNECTING:
            self.tried.append(time.perf_counter())
        elif change.new is ConnectionState.READY:
            self.ready.append(time.perf_counter())

    async def heard(self) -> list[float]:
        """When each client had its next event."""

        async def one(feed: Feed[AnyEvent]) -> float:
            await anext(feed)
            return time.perf_counter()

        async with asyncio.timeout(300):
            return list(await asyncio.gather(*map(one, self._feeds)))
