"""Three servers on one PostgreSQL behind a balancer, which are killed and stopped: nothing is lost, and little repeated."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from playcall import ApiKey, AsyncPlaycall
from playcall.testing import LiveBackend, read_log_async
from tests.postgresql import PostgreSQL

from .balancer import Balancer
from .notes import Notes, spread_of
from .proof_tool import Mark, install, read_marks
from .scale import chosen_seed, scaled
from .test_kills import PATIENT, Watcher

SERVERS = 3
ROUNDS = scaled(short=2, full=12)
ROUND_SECONDS = 10.0
LEASE_SECONDS = 5.0
STOPPED_SECONDS = LEASE_SECONDS + 2
"""Past its lease: the others have taken it for dead."""
RUNS = scaled(short=4, full=30)
STEPS = scaled(short=4, full=8)
STEP_SECONDS = scaled(short=1.5, full=3.0)
DEADLINE_SECONDS = scaled(short=180, full=900)


class Servers:
    """`up` are those that can be killed or stopped; what was interrupted is told by the marks of that moment."""

    def __init__(self, backends: Sequence[LiveBackend], marks: Path, chance: random.Random, notes: Notes) -> None:
        self.up = list(backends)
        self.interrupted: set[tuple[str, int]] = set()
        """Key and process of each step that was in its middle when its process was killed or stopped, or had just ended."""
        self.kills = self.kills_amid = self.stops_amid = 0
        self.took_over: list[float] = []
        self._marks = marks
        self._chance = chance
        self._notes = notes

    async def trouble(self) -> None:
        """Round after round: one is killed, another stopped past its lease, then continued; the last is not restarted."""
        for number in range(1, ROUNDS + 1):
            began_at = time.monotonic()
            killed = await self._amid_a_step(self.up)
            await asyncio.to_thread(killed.kill)
            amid = self._note_interrupted(killed.pid)
            self.kills += 1
            self.kills_amid += bool(amid)
            stopped = await self._amid_a_step([each for each in self.up if each is not killed])
            os.kill(stopped.pid, signal.SIGSTOP)
            try:
                late = self._note_interrupted(stopped.pid)
                self.stops_amid += bool(late)
                await asyncio.sleep(STOPPED_SECONDS)
            finally:
                os.kill(stopped.pid, signal.SIGCONT)
            if number < ROUNDS:
                await asyncio.to_thread(killed.start)
            else:
                self.up.remove(killed)
            self._notes.progress(
                f"round {number} of {ROUNDS}: {amid} steps interrupted by the kill, {late} by the stop"
            )
            await asyncio.sleep(max(0.0, ROUND_SECONDS - (time.monotonic() - began_at)))

    async def _amid_a_step(self, backends: Sequence[LiveBackend]) -> LiveBackend:
        """One of them that is in the middle of a step, or, if none is within 3 s, any."""
        ends_at = time.monotonic() + 3
        while time.monotonic() < ends_at:
            if busy := [each for each in backends if self._open(each.pid)]:
                return self._chance.choice(busy)
            await asyncio.sleep(0.02)
        return self._chance.choice(backends)

    def _note_interrupted(self, pid: int) -> int:
        """It has been killed or stopped: what it had begun and not ended it was in the middle of.

        And what it has just ended it may not have written down: of each run, whose steps come one after the other, the
        last is in doubt.
        """
        last = {mark.key.partition(":")[0]: mark for mark in read_marks(self._marks)}
        self.interrupted |= {(mark.key, pid) for mark in last.values() if mark.pid == pid}
        return len(self._open(pid))

    def _open(self, pid: int) -> set[str]:
        marks = [mark for mark in read_marks(self._marks) if mark.pid == pid]
        return {mark.key for mark in marks if mark.what == "begin"} - {m.key for m in marks if m.what == "end"}


@asynccontextmanager
async def serving(postgresql: PostgreSQL, folder: Path) -> AsyncIterator[list[LiveBackend]]:
    """Three processes on one database and one data folder, as on one machine or on three with a shared file system."""
    install(folder / "packages")
    url = postgresql.new_database(migrated=False).replace("postgresql+asyncpg", "postgresql")
    async with AsyncExitStack() as stack:
        backends: list[LiveBackend] = []
        for _ in range(SERVERS):
            backend = LiveBackend(
                folder / "data",
                database_url=url,
                options=[f"--lease-seconds={LEASE_SECONDS}", "--heartbeat-seconds=2"],
                environment={"PYTHONPATH": str(folder / "packages")},
                api_key=backends[0].api_key if backends else None,
            )
            stack.push_async_callback(asyncio.to_thread, backend.close)
            await asyncio.to_thread(backend.start)
            backends.append(backend)
        yield backends


def playbook(marks: Path) -> dict[str, Any]:
    parameters = {"file": str(marks), "seconds": STEP_SECONDS}
    each = {"type": "standard", "agent": "Survivor", "operation": "append", "parameters": parameters}
    return {
        "name": "Through it",
        "agents": ["Survivor"],
        "steps": [{"id": f"s{number}", **each} for number in range(STEPS)],
    }


async def test_processes_killed_and_stopped_end_every_run_deliver_each_event_once_and_repeat_only_what_was_interrupted(
    postgresql: PostgreSQL, tmp_path: Path, notes: Notes
) -> None:
    seed = chosen_seed()
    print(f"PLAYCALL_SOAK_SEED={seed}")
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(RUNS + 8))
    marks = tmp_path / "marks"
    async with serving(postgresql, tmp_path) as backends, AsyncExitStack() as stack:
        balancer = stack.enter_context(Balancer([int(backend.url.rpartition(":")[2]) for backend in backends]))
        key = ApiKey(backends[0].api_key)
        servers = Servers(backends, marks, random.Random(seed), notes)
        async with asyncio.timeout(DEADLINE_SECONDS), AsyncPlaycall(balancer.url, auth=key, **PATIENT) as client:
            await client.tools.register({"name": "append", "kind": "installed", "implementation": "proof.append"})
            await client.agents.create({"name": "Survivor", "tools": ["append"]})
            stored = await client.playbooks.create(playbook(marks))
            watchers = await live_through(client, stored.id, balancer.url, key, servers)
            ended = [await client.runs.get(str(watcher.run_id)) for watcher in watchers]
            assert [(run.status, run.steps_finished) for run in ended] == [("completed", STEPS)] * RUNS
            for watcher in watchers:
                log = await read_log_async(balancer.url, watcher.topic, auth=key)
                verdict = watcher.oracle.judge(log)
                assert verdict.ok, f"seed {seed}, {watcher.face} {watcher.how} {watcher.topic}: {verdict.explain()}"
                finished = [event.data.step.id for event in log if event.type == "run.step.finished"]
                assert finished == [f"s{number}" for number in range(STEPS)]
        repeated = judge_marks(read_marks(marks), servers.interrupted)
    assert servers.kills_amid + servers.stops_amid >= scaled(short=1, full=5), "between two steps they prove little"
    notes.measured("kills, of them in the middle of a step (seed)", f"{servers.kills}, {servers.kills_amid} ({seed})")
    notes.measured("stops past the lease, of them in the middle of a step", f"{ROUNDS}, {servers.stops_amid}")
    notes.measured("runs, steps, steps that ran again", f"{RUNS}, {RUNS * STEPS}, {repeated}")
    events = sum(len(watcher.oracle.seen) for watcher in watchers)
    notes.measured("events seen by watchers, each once and in order", f"{events:,} by {len(watchers)}")
    notes.measured("longest silence of a watcher", spread_of([longest_silence(each.arrivals) for each in watchers]))


async def live_through(
    client: AsyncPlaycall, playbook_id: str, url: str, key: ApiKey, servers: Servers
) -> list[Watcher]:
    """Starts runs from the first round to the last, a watcher for each; returns when all are done."""
    watchers: list[Watcher] = []
    async with AsyncExitStack() as at_the_end, asyncio.TaskGroup() as tasks:
        troubling = tasks.create_task(servers.trouble())
        for number in range(RUNS):
            run = await client.playbooks.run(playbook_id)
            how = "events.subscribe" if number % 4 in (1, 2) else "runs.watch"
            watcher = Watcher(("blocking", "async")[number % 2], how, run.id)
            at_the_end.callback(watcher.stop)
            watchers.append(watcher)
            tasks.create_task(watcher.watch(url, key))
            if not troubling.done():
                await asyncio.sleep(0.7 * ROUNDS * ROUND_SECONDS / RUNS)
    return watchers


def judge_marks(marks: Sequence[Mark], interrupted: set[tuple[str, int]]) -> int:
    """How many steps ran again; each of them because its process was killed or stopped in its middle, and no other."""
    begun: defaultdict[str, list[int]] = defaultdict(list)
    for mark in marks:
        if mark.what == "begin":
            begun[mark.key].append(mark.pid)
    assert len(begun) == RUNS * STEPS, "a key for each step of each run"
    for key, pids in begun.items():
        without_cause = [pid for pid in pids[:-1] if (key, pid) not in interrupted]
        assert not without_cause, f"{key} ran again, though {without_cause} had neither been killed nor stopped in it"
    ended = {mark.key for mark in marks if mark.what == "end"}
    assert ended == begun.keys()
    return sum(len(pids) - 1 for pids in begun.values())


def longest_silence(arrivals: Sequence[float]) -> float:
    return max((later - earlier for earlier, later in itertools.pairwise(arrivals)), default=0.0)
