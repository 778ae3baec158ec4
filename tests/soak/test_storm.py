"""A crowd whose server is gone comes back spread over time: its schedule as data, then the crowd itself."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from itertools import chain
from random import Random

import pytest

from playcall import ApiKey, AsyncPlaycall
from playcall.realtime.schedule import CAP_SECONDS, FIRST_SECONDS
from playcall.realtime.states import ConnectionState, StateChange
from playcall.services.websocket_client import WebSocketClient
from playcall.testing import DeliveryOracle, LiveBackend, read_log_async

from .log_writer import append_events
from .notes import Notes, spread_of
from .scale import scaled
from .storm import Client, exponential, fixed, playcall, playcall_told_goodbye, scheduled, storm, worst_window

SEED = 7
AWAY_SECONDS = 30.0
WINDOW_SECONDS = 0.1
SIGMAS = 5
"""What a count may exceed its expectation by; the seed is fixed, so this is no matter of luck."""


def bound(clients: int, within_seconds: float) -> float:
    """How many of `clients` a window may hold, each of which is anywhere within that time with equal chance."""
    share = min(1.0, WINDOW_SECONDS / within_seconds)
    return clients * share + SIGMAS * math.sqrt(clients * share * (1 - share))


@pytest.mark.parametrize("clients", [200, 10_000])
def test_each_round_of_attempts_is_spread_over_twice_the_time_of_the_one_before(clients: int, notes: Notes) -> None:
    crowd = storm(playcall, clients, AWAY_SECONDS, seed=SEED)
    assert {attempts[0] for attempts in crowd} == {0.0}, "the first is at once"
    assert all(attempts[-1] >= AWAY_SECONDS for attempts in crowd)
    worst = []
    for number in range(1, min(map(len, crowd)) - 1):  # the last is the one that succeeds, for some
        worst.append(worst_window([attempts[number] for attempts in crowd], WINDOW_SECONDS))
        spread_over = min(CAP_SECONDS, FIRST_SECONDS * 2**number) / 2
        assert worst[-1] <= bound(clients, spread_over), f"attempt {number + 1}"
    assert len(worst) >= 5
    notes.measured(f"{clients} clients, most in 100 ms by round", ", ".join(map(str, worst)))


@pytest.mark.parametrize("clients", [200, 10_000])
def test_after_the_first_instant_no_tenth_of_a_second_sees_the_crowd_that_other_schedules_send(
    clients: int, notes: Notes
) -> None:
    def most(client: Client, *, after: float = 0.0) -> int:
        crowd = chain.from_iterable(storm(client, clients, AWAY_SECONDS, seed=SEED))
        return worst_window([moment for moment in crowd if moment > after], WINDOW_SECONDS)

    assert most(fixed) == clients
    assert most(exponential) == clients
    ours = most(playcall)
    # The first pause is the shortest: half of twice 250 ms.
    assert ours <= bound(clients, FIRST_SECONDS)
    # The third attempt comes by 1.5 s; from then on the shortest pause is half of two seconds.
    later = most(playcall, after=1.5)
    assert later <= bound(clients, 1.0)
    told = most(playcall_told_goodbye, after=-1.0)
    notes.measured(f"{clients} clients, most in 100 ms, every second", clients)
    notes.measured(f"{clients} clients, most in 100 ms, doubling without chance", clients)
    notes.measured(f"{clients} clients, most in 100 ms, playcall after the first instant", ours)
    notes.measured(f"{clients} clients, most in 100 ms, playcall after 1.5 s", later)
    notes.measured(f"{clients} clients, most in 100 ms, playcall told goodbye, from the first", told)


@pytest.mark.parametrize("clients", [200, 10_000])
def test_a_crowd_that_was_told_goodbye_sends_nobody_at_once(clients: int) -> None:
    crowd = storm(playcall_told_goodbye, clients, 0.0, seed=SEED)
    assert all(len(attempts) == 1 for attempts in crowd), "the server is there again: the first attempt succeeds"
    assert worst_window([attempts[0] for attempts in crowd], WINDOW_SECONDS) <= bound(clients, 8.0)
    assert all(0 <= attempts[0] <= 8.0 for attempts in crowd)


@pytest.mark.parametrize("away_seconds", [0.0, 0.4, 10.0, 90.0])
def test_the_schedule_alone_says_what_a_client_does(away_seconds: float) -> None:
    """So a crowd of a million can be counted without a million clients (bench/reconnect.py)."""
    for number in range(50):
        seed = f"{SEED} {number}"
        alone = scheduled(away_seconds, Random(seed).random)
        assert alone == pytest.approx(playcall(away_seconds, Random(seed)))
        told = scheduled(away_seconds, Random(seed).random, spread_ms=8_000)
        assert told == pytest.approx(playcall_told_goodbye(away_seconds, Random(seed)))


async def test_a_crowd_of_clients_finds_a_killed_server_again_and_each_sees_every_event_once(notes: Notes) -> None:
    size = scaled(short=40, full=200)
    tried: list[list[float]] = [[] for _ in range(size)]
    ready: list[float] = []

    def changed(number: int, change: StateChange) -> None:
        if change.new is ConnectionState.CONNECTING:
            tried[number].append(time.monotonic())
        elif change.new is ConnectionState.READY:
            ready.append(time.monotonic())

    backend = LiveBackend()
    await asyncio.to_thread(backend.start)
    clients = [WebSocketClient(backend.url, auth=ApiKey(backend.api_key)) for _ in range(size)]
    oracles = [DeliveryOracle() for _ in clients]
    feeds = [client.subscribe("agents", start="start") for client in clients]
    try:
        async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as caller:
            owner = (await caller.account.me()).id
        await asyncio.gather(*(feed.open() for feed in feeds))
        await append_events(backend, owner, "agents", 10)

        async def see(number: int, count: int) -> None:
            while len(oracles[number].seen) < count:
                oracles[number].saw(await anext(feeds[number]))

        async with asyncio.timeout(120):
            await asyncio.gather(*(see(number, 10) for number in range(size)))
            for number, client in enumerate(clients):
                client.on_state(partial(changed, number))
            killed_at = time.monotonic()
            await asyncio.to_thread(backend.kill)
            await asyncio.to_thread(backend.restart)
            back_at = time.monotonic()
            await append_events(backend, owner, "agents", 10)
            await asyncio.gather(*(see(number, 20) for number in range(size)))
        log = await read_log_async(backend.url, "agents", auth=ApiKey(backend.api_key))
        for oracle in oracles:
            verdict = oracle.judge(log)
            assert verdict.ok, verdict.explain()
        assert len(ready) == size
        # All of them share this process and its event loop: whenever it is held up, what the schedule spreads comes together.
        rounds = [worst_window([each[number] for each in tried if len(each) > number]) for number in range(1, 5)]
        notes.measured("clients, all with every event once", size)
        notes.measured("the server was away for", f"{back_at - killed_at:.2f} s")
        notes.measured("attempts to connect", sum(map(len, tried)))
        notes.measured("most in 100 ms by round, all in one process", ", ".join(map(str, rounds)))
        notes.measured("connected again after the server was back", spread_of([max(0.0, at - back_at) for at in ready]))
    finally:
        await asyncio.gather(*(feed.close() for feed in feeds))
        await asyncio.gather(*(client.close() for client in clients))
        await asyncio.to_thread(backend.close)
