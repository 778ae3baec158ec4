"""`kill -9` of the server, again and again, in the middle of runs: each run ends, and each watcher sees every event once."""

from __future__ import annotations

import asyncio
import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from playcall import ApiKey, AsyncPlaycall, Playcall, RetryPolicy
from playcall.realtime.schedule import SETTLED_SECONDS
from playcall.realtime.states import ConnectionState, StateChange
from playcall.testing import DeliveryOracle, LiveBackend, read_log_async

from .notes import Notes, spread_of
from .scale import chosen_seed, scaled

KILLS = scaled(short=2, full=30)
RUNS = scaled(short=3, full=20)
WATCHERS_A_FACE = scaled(short=2, full=10)
"""The first of each face watches all runs, and so until the last of them has ended."""
UP_SECONDS = scaled(short=(0.3, 1.2), full=(0.1, 15.0))
"""How long the server is up before it is killed again: up to longer than it takes a connection to count as settled."""
ROUNDS = scaled(short=2, full=14)
"""Of four steps each, in a run."""
WAIT_SECONDS = scaled(short=0.4, full=2.0)
DEADLINE_SECONDS = scaled(short=120, full=1_500)
PATIENT: dict[str, Any] = {
    "deadline_seconds": 120,
    "retry": RetryPolicy(attempts=1_000, max_seconds=1.0, budget=None),
}
"""A call may meet a server that is away, and that is killed again when it has hardly come back."""


def steps() -> list[dict[str, Any]]:
    """Real work of four kinds, with enough waiting for a run to live through several kills."""
    each: list[tuple[str, dict[str, Any]]] = []
    for number in range(ROUNDS):
        each += [
            ("text.stats", {"text": f"round {number} of {{{{ inputs.name }}}}"}),
            ("wait", {"seconds": WAIT_SECONDS}),
            ("files.write", {"path": f"{number}.txt", "content": f"round {number}\n"}),
            ("template.render", {"template_path": f"{number}.txt", "path": f"out/{number}.txt"}),
        ]
    return [
        {"id": f"s{number}", "type": "standard", "agent": "Survivor", "operation": use, "parameters": parameters}
        for number, (use, parameters) in enumerate(each, 1)
    ]


@dataclass
class Watcher:
    """One client of its own, which watches one topic until it, or with it the last run, has ended."""

    face: str
    how: str
    run_id: str | None
    oracle: DeliveryOracle = field(default_factory=DeliveryOracle)
    arrivals: list[float] = field(default_factory=list)
    ended_at: float = float("inf")
    reconnects: int = 0
    states: list[tuple[float, ConnectionState]] = field(default_factory=list)
    _client: Playcall | None = None

    @property
    def topic(self) -> str:
        return "runs" if self.run_id is None else f"run:{self.run_id}"

    async def watch(self, url: str, key: ApiKey) -> None:
        if self.face == "blocking":
            await asyncio.to_thread(self._watch, url, key)
        else:
            async with AsyncPlaycall(url, auth=key, **PATIENT) as client:
                client.events.on_state(self._changed)
                if self.how == "runs.watch":
                    async for event in client.runs.watch(str(self.run_id), start="start"):
                        self._saw(event)
                else:
                    async with client.events.subscribe(
                        self.topic, start="start", deadline_seconds=DEADLINE_SECONDS
                    ) as feed:
                        async for event in feed:
                            if self._saw(event):
                                break
                self.reconnects = client.events.picture.reconnects
        self.ended_at = time.monotonic()

    def _watch(self, url: str, key: ApiKey) -> None:
        with Playcall(url, auth=key, **PATIENT) as client:
            self._client = client
            client.events.on_state(self._changed)
            if self.how == "runs.watch":
                for event in client.runs.watch(str(self.run_id), start="start"):
                    self._saw(event)
            else:
                with client.events.subscribe(self.topic, start="start", deadline_seconds=DEADLINE_SECONDS) as feed:
                    for event in feed:
                        if self._saw(event):
                            break
            self.reconnects = client.events.picture.reconnects

    def stop(self) -> None:
        """For when the test has failed: nothing cancels a thread."""
        if self._client is not None:
            self._client.close()

    def _saw(self, event: Any) -> bool:
        """Whether all runs have ended, as the topic of all runs tells."""
        self.arrivals.append(time.monotonic())
        self.oracle.saw(event)
        if self.run_id is not None:
            return False
        ended = {each.data.run.id for each in self.oracle.seen if getattr(each.data.run, "ended_at", None) is not None}
        return len(ended) == RUNS

    def _changed(self, change: StateChange) -> None:
        self.states.append((time.monotonic(), change.new))

    def is_settled(self, moment: float) -> bool:
        """Whether it had been connected for so long that failures before do not count any more."""
        before = [(at, state) for at, state in self.states if at < moment]
        return bool(before) and before[-1][1] is ConnectionState.READY and moment - before[-1][0] > SETTLED_SECONDS

    def first_after(self, moment: float, before: float) -> float | None:
        """Seconds from `moment` to the first event, None if none came `before` the next kill."""
        return next((at - moment for at in self.arrivals if moment <= at < before), None)


class Killer:
    """Kills at random moments, once the server is up again; `back_at` is when it served again, after each kill."""

    def __init__(self, backend: LiveBackend, chance: random.Random, notes: Notes) -> None:
        self.killed_at: list[float] = []
        self.moments: list[datetime] = []
        """Of the kills, by the clock on the wall."""
        self.back_at: list[float] = []
        self.stop = threading.Event()
        self.ended = threading.Event()
        self._backend, self._chance, self._notes = backend, chance, notes

    def kill(self) -> None:
        """On a thread of its own."""
        try:
            self._kill()
        finally:
            self.ended.set()

    def _kill(self) -> None:
        for number in range(1, KILLS + 1):
            if self.stop.wait(self._chance.uniform(*UP_SECONDS)):  # the random moment itself
                return
            self.killed_at.append(time.monotonic())
            self.moments.append(datetime.now(UTC))
            self._backend.kill()
            self._backend.restart()
            self.back_at.append(time.monotonic())
            away = self.back_at[-1] - self.killed_at[-1]
            self._notes.progress(f"killed {number} of {KILLS} times, back after {away:.1f} s")


async def test_a_server_killed_again_and_again_ends_every_run_and_no_watcher_misses_or_repeats_an_event(
    notes: Notes,
) -> None:
    seed = chosen_seed()
    print(f"PLAYCALL_SOAK_SEED={seed}")
    backend = LiveBackend()
    # A thread for each blocking watcher, and one that kills: by default there are no more than processors and four.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(WATCHERS_A_FACE + 4))
    await asyncio.to_thread(backend.start)
    try:
        key = ApiKey(backend.api_key)
        killer = Killer(backend, random.Random(seed), notes)
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            AsyncPlaycall(backend.url, auth=key, **PATIENT) as client,
        ):
            tools = ["wait", "text.stats", "files.write", "template.render"]
            await client.agents.create({"name": "Survivor", "tools": tools})
            playbook = await client.playbooks.create(
                {
                    "name": "Through it",
                    "agents": ["Survivor"],
                    "inputs": {"name": {"type": "string"}},
                    "steps": steps(),
                }
            )
            watchers, runs = await live_through(client, playbook.id, backend.url, key, killer)
            ended = [await client.runs.get(run_id) for run_id in runs]
            assert [(run.status, run.steps_finished) for run in ended] == [("completed", 4 * ROUNDS)] * RUNS
            logs = {each.topic: await read_log_async(backend.url, each.topic, auth=key) for each in watchers}
        amid = sum(any(run.created_at < at < run.ended_at for run in ended if run.ended_at) for at in killer.moments)
        assert amid >= KILLS / 2, "kills while nothing runs prove nothing"
        for watcher in watchers:
            verdict = watcher.oracle.judge(logs[watcher.topic])
            assert verdict.ok, f"seed {seed}, {watcher.face} {watcher.how} {watcher.topic}: {verdict.explain()}"
        report(notes, watchers, killer, seed)
        notes.measured("kills in the middle of a run", amid)
    finally:
        await asyncio.to_thread(backend.close)


async def live_through(
    client: AsyncPlaycall, playbook_id: str, url: str, key: ApiKey, killer: Killer
) -> tuple[list[Watcher], list[str]]:
    """Starts runs from the first kill to the last, a watcher for each as long as there are any; returns when all are done."""
    watchers: list[Watcher] = []
    runs: list[str] = []
    async with AsyncExitStack() as at_the_end, asyncio.TaskGroup() as tasks:

        def begin(watcher: Watcher) -> None:
            at_the_end.callback(watcher.stop)
            watchers.append(watcher)
            tasks.create_task(watcher.watch(url, key))

        for face in ("blocking", "async"):
            begin(Watcher(face, "events.subscribe", None))
        # It may be in the middle of a start, which would outlive the test.
        at_the_end.push_async_callback(asyncio.to_thread, killer.ended.wait, 60)
        at_the_end.callback(killer.stop.set)
        killing = tasks.create_task(asyncio.to_thread(killer.kill))
        for number in range(RUNS):
            # The first few are there from the beginning, the last one begins before the last kill.
            while len(killer.killed_at) < (number - 2) * KILLS // RUNS and not killing.done():
                await asyncio.sleep(0.05)
            run = await client.playbooks.run(playbook_id, inputs={"name": f"run {number}"})
            runs.append(run.id)
            if len(watchers) < 2 * WATCHERS_A_FACE:
                face = ("blocking", "async")[number % 2]
                begin(Watcher(face, "events.subscribe" if number % 4 in (1, 2) else "runs.watch", run.id))
    return watchers, runs


def report(notes: Notes, watchers: list[Watcher], killer: Killer, seed: int) -> None:
    firsts: list[float] = []
    settled: list[float] = []
    soonest: list[float] = []
    for number, back_at in enumerate(killer.back_at):
        killed_at = killer.killed_at[number]
        until = killer.killed_at[number + 1] if number + 1 < KILLS else float("inf")
        watching = [
            each for each in watchers if each.arrivals and each.arrivals[0] < killed_at and each.ended_at > back_at
        ]
        found = [first for each in watching if (first := each.first_after(back_at, until)) is not None]
        firsts += found
        soonest += [min(found)] if found else []
        calm = [each for each in watching if each.is_settled(killed_at)]
        settled += [first for each in calm if (first := each.first_after(back_at, until)) is not None]
    away = [back - killed for killed, back in zip(killer.killed_at, killer.back_at, strict=True)]
    events = sum(len(each.oracle.seen) for each in watchers)
    notes.measured("kills, runs that completed, watchers (seed)", f"{KILLS}, {RUNS}, {len(watchers)} ({seed})")
    notes.measured("events seen by watchers, each once and in order", f"{events:,}")
    reconnects = [each.reconnects for each in watchers]
    notes.measured("reconnects of a watcher, median and most", f"{statistics.median(reconnects):g}, {max(reconnects)}")
    notes.measured("the server was away for", spread_of(away))
    notes.measured("listening again to the first event, soonest watcher", spread_of(soonest))
    notes.measured("listening again to the first event, each watcher", spread_of(firsts))
    notes.measured("the same, where it had been connected for 10 s", spread_of(settled))
