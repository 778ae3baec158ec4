"""Several processes on one database: work goes on when one dies, is stopped or ends, and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from dbos import DBOSClient
from sqlalchemy import func, select, text

from playcall.models import TaskSpec
from playcall.server.clock import utc_now
from playcall.server.engine import Engine
from playcall.server.engine.processes import LOOKS_IN_A_LEASE, Peers, Processes
from playcall.server.store.database import Database
from playcall.server.store.tables import AgentRow, ProcessRow, RunRow, UserRow
from tests.postgresql import PostgreSQL

from .conftest import House
from .process_child import settings_in

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.xdist_group("postgresql")


@asynccontextmanager
async def among_others(database: Database, *, now: Callable[[], float] = time.monotonic) -> AsyncIterator[Processes]:
    process = Processes(database, alone=False, lease_seconds=10, now=now)
    try:
        yield process
    finally:
        await process.close()


# --- who is alive -------------------------------------------------------------------------------------------------


def test_a_count_that_stands_still_for_a_whole_lease_is_a_dead_process() -> None:
    peers = Peers()
    for look in range(LOOKS_IN_A_LEASE):
        assert peers.look({"moves": look, "stands": 7}) == frozenset()
    assert peers.look({"moves": 99, "stands": 7}) == {"stands"}
    assert peers.look({"moves": 100, "stands": 8}) == frozenset(), "it was only stopped"


def test_one_that_is_new_or_was_away_is_given_a_whole_lease() -> None:
    peers = Peers()
    for _ in range(LOOKS_IN_A_LEASE):
        peers.look({"old": 1})
    assert peers.look({"new": 1}) == frozenset()
    for _ in range(LOOKS_IN_A_LEASE - 1):
        assert peers.look({"new": 1, "old": 1}) == frozenset()
    assert peers.look({"new": 1, "old": 2}) == {"new"}


async def test_an_outage_of_the_database_makes_nobody_dead(postgresql: PostgreSQL) -> None:
    async with opened(postgresql) as database, AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(among_others(database)) for _ in range(2)]
        await first.enter()
        await second.look()
        # Nobody could write for longer than any lease; then the second looks several times before the first is back.
        for _ in range(LOOKS_IN_A_LEASE - 1):
            assert (await second.look()).dead == {}
        await first.look()
        assert (await second.look()).dead == {}


async def test_a_process_knows_when_others_may_have_taken_it_for_dead(postgresql: PostgreSQL) -> None:
    clock = [100.0]
    async with opened(postgresql) as database, among_others(database, now=lambda: clock[0]) as process:
        await process.enter()
        clock[0] += 9
        assert process.is_surely_alive
        await process.look()
        clock[0] += 10
        assert not process.is_surely_alive
        await process.look()
        assert process.is_surely_alive


# --- what they do -------------------------------------------------------------------------------------------------


class Child:
    """A process of its own with an engine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 60)).decode().strip()


class Crowd:
    """Processes with an engine each; this one has none, and only asks."""

    def __init__(self, house: House, folder: Path, stack: AsyncExitStack) -> None:
        self.house = house
        self.folder = folder
        self._stack = stack

    async def child(self) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.server.engine.process_child",
            str(self.folder),
            self.house.database.url,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )

        async def end() -> None:
            if process.returncode is None:
                process.kill()
            await process.communicate()

        self._stack.push_async_callback(end)
        child = Child(process)
        assert await child.line() == "launched"
        return child

    async def run(self, *ids: str, stubborn: bool = False) -> str:
        """A run of a step for each id, which holds until it is told to go on."""
        for each in ids:
            (self.folder / f"hold-{each}").touch()
        steps = [
            {
                "id": each,
                "type": "standard",
                "agent": "a",
                "operation": "hold",
                "parameters": {"id": each, "folder": str(self.folder), "stubborn": stubborn},
            }
            for each in ids
        ]
        return await self.house.start({"agents": ["a"], "steps": steps})

    async def task(self, agent: AgentRow, id: str) -> str:
        spec = TaskSpec(agent=agent.name, operation="hold", parameters={"id": id, "folder": str(self.folder)})
        async with self.house.database.write() as tx:
            return (await self.house.engine.commands.create_task(tx, agent, spec)).id

    async def until_taken(self, ids: list[str]) -> None:
        """Returns when a process has each of the tasks."""
        taken = text("SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING' AND workflow_uuid = ANY(:ids)")
        async with asyncio.timeout(60):
            while True:
                async with self.house.database.read() as session:
                    if await session.scalar(taken, {"ids": [f"{each}~1" for each in ids]}) == len(ids):
                        return
                await asyncio.sleep(0.02)

    def go_on(self, *ids: str) -> None:
        for each in ids:
            (self.folder / f"hold-{each}").unlink()

    def marks(self) -> list[str]:
        """`begin ID` and `end ID`, in their order."""
        return [" ".join(line.split()[:2]) for line in self._lines()]

    def keys(self) -> set[str]:
        """`ID KEY`: one for each id, if its key is the same each time."""
        return {" ".join(line.split()[1:]) for line in self._lines()}

    def _lines(self) -> list[str]:
        marks = self.folder / "marks"
        return marks.read_text().splitlines() if marks.exists() else []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)

    async def until_begun(self, id: str, times: int = 1) -> None:
        await self.until(lambda: self.marks().count(f"begin {id}") >= times)

    async def ended(self, run_id: str) -> RunRow:
        async with asyncio.timeout(60):
            while (run := await self.house.run(run_id)).ended_at is None:
                await asyncio.sleep(0.02)
        return run

    async def done_once(self, run_id: str, ids: list[str]) -> RunRow:
        """The run has completed, every step once and in order, and its log is whole."""
        run = await self.ended(run_id)
        assert run.status == "completed", run.error
        events = await self.house.events(f"run:{run_id}")
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [json.loads(e.data)["step"]["id"] for e in events if e.type == "run.step.finished"] == ids
        assert sum(event.type == "task.completed" for event in events) == len(ids)
        assert events[-1].type == "run.completed"
        assert len(self.keys()) == len(ids), "the key for the outside is the same each time"
        return run

    async def most_beats(self) -> int:
        async with self.house.database.read() as session:
            return await session.scalar(select(func.max(ProcessRow.beats))) or 0

    async def processes(self) -> int:
        async with self.house.database.read() as session:
            return await session.scalar(select(func.count()).select_from(ProcessRow)) or 0


@asynccontextmanager
async def opened(postgresql: PostgreSQL) -> AsyncIterator[Database]:
    url = postgresql.new_database()
    database = await Database.create(url)
    try:
        yield database
    finally:
        await database.close()
        await asyncio.to_thread(postgresql.drop, url)


@pytest_asyncio.fixture
async def crowd(postgresql: PostgreSQL, tmp_path: Path) -> AsyncIterator[Crowd]:
    async with crowd_on(postgresql, tmp_path) as crowd:
        yield crowd


@asynccontextmanager
async def crowd_on(postgresql: PostgreSQL, tmp_path: Path) -> AsyncIterator[Crowd]:
    async with opened(postgresql) as database, AsyncExitStack() as stack:
        settings = settings_in(tmp_path)
        settings.data_dir.mkdir()
        engine = Engine(database=database, settings=settings)
        # Never launched: it can put runs into the queue, and takes none.
        runtime = engine._runtime
        client = DBOSClient(system_database_url=runtime._system_url, serializer=runtime._serializer, lazy=True)
        runtime._client = client
        stack.callback(client.destroy)
        house = House(database, engine, settings, "usr_crowd")
        async with database.write() as tx:
            tx.session.add(UserRow(id=house.owner, username=house.owner, password_hash=None, created_at=utc_now()))
        await house.agent("a", ["hold"])
        await house.tool("hold", implementation="hold")
        yield Crowd(house, tmp_path, stack)


async def test_what_a_dead_process_had_in_hand_goes_on_elsewhere_and_only_that_is_repeated(crowd: Crowd) -> None:
    first = await crowd.child()
    run_id = await crowd.run("one", "two")
    crowd.go_on("one")
    await crowd.until_begun("two")
    await crowd.child()
    first.signal(signal.SIGKILL)
    await crowd.until_begun("two", 2)
    crowd.go_on("two")
    run = await crowd.done_once(run_id, ["one", "two"])
    assert crowd.marks() == ["begin one", "end one", "begin two", "begin two", "end two"]
    assert run.segment == 2
    assert await crowd.processes() == 1, "the dead one is forgotten"


async def test_a_process_that_was_only_stopped_writes_nothing_late_and_works_on(crowd: Crowd) -> None:
    stopped = await crowd.child()
    run_id = await crowd.run("one")
    await crowd.until_begun("one")
    second = await crowd.child()
    stopped.signal(signal.SIGSTOP)
    await crowd.until_begun("one", 2)
    crowd.go_on("one")
    await crowd.done_once(run_id, ["one"])
    events = await crowd.house.events("tasks")
    stopped.signal(signal.SIGCONT)
    # It alone is left for the next run: so it must have come to terms with what has happened.
    second.signal(signal.SIGTERM)
    assert await second.line() == "ended"
    next_id = await crowd.run("two")
    crowd.go_on("two")
    await crowd.done_once(run_id, ["one"])
    assert (await crowd.ended(next_id)).status == "completed"
    assert [event.id for event in await crowd.house.events("tasks")][: len(events)] == [event.id for event in events]
    assert sum(json.loads(e.data)["task"]["run_id"] == run_id for e in await crowd.house.events("tasks")) == len(events)


async def test_a_process_that_ends_in_good_order_hands_its_runs_over_and_that_is_no_fault(crowd: Crowd) -> None:
    first = await crowd.child()
    run_id = await crowd.run("one")
    await crowd.until_begun("one")
    await crowd.child()
    first.signal(signal.SIGTERM)
    assert await first.line() == "ended"
    await crowd.until_begun("one", 2)
    assert (await crowd.house.run(run_id)).faults == 0
    crowd.go_on("one")
    await crowd.done_once(run_id, ["one"])


async def test_a_process_that_takes_long_to_end_is_not_taken_for_dead(crowd: Crowd) -> None:
    first = await crowd.child()
    run_id = await crowd.run("one", stubborn=True)
    await crowd.until_begun("one")
    await crowd.child()
    first.signal(signal.SIGTERM)
    # Two to a look: so the second looks for longer than a lease.
    enough = await crowd.most_beats() + 4 * LOOKS_IN_A_LEASE
    async with asyncio.timeout(60):
        while await crowd.most_beats() < enough:
            await asyncio.sleep(0.05)
    assert await crowd.processes() == 2
    crowd.go_on("one")
    assert await first.line() == "ended"
    run = await crowd.done_once(run_id, ["one"])
    assert run.faults == 0
    assert crowd.marks() == ["begin one", "end one"]


async def test_a_cancellation_reaches_the_process_that_has_the_run(crowd: Crowd) -> None:
    await crowd.child()
    run_id = await crowd.run("one")
    await crowd.until_begun("one")
    async with crowd.house.database.write() as tx:
        run = await tx.session.get(RunRow, run_id, with_for_update=True)
        assert run is not None
        await crowd.house.engine.commands.cancel_run(tx, run)
    assert (await crowd.ended(run_id)).status == "cancelled"
    assert crowd.marks() == ["begin one"], "its tool was stopped"


async def test_runs_of_one_owner_wait_for_each_other_and_keep_nobody_elses_work_waiting(crowd: Crowd) -> None:
    await crowd.child()
    await crowd.child()
    ids = [f"r{number}" for number in range(5)]
    runs = [await crowd.run(each) for each in ids]
    await crowd.until(lambda: len(crowd.marks()) == 3)
    # A task of the same owner's does not wait behind their runs, nor does another owner's run.
    spec = TaskSpec(agent="a", operation="hold", parameters={"id": "task", "folder": str(crowd.folder)})
    async with crowd.house.database.write() as tx:
        agent = await tx.session.scalar(select(AgentRow))
        assert agent is not None
        task_id = (await crowd.house.engine.commands.create_task(tx, agent, spec)).id
    await crowd.until_begun("task")
    begun = [mark for mark in crowd.marks() if mark.startswith("begin r")]
    assert len(begun) == 3, "three at once were allowed"
    crowd.go_on(*ids)
    for run_id in runs:
        assert (await crowd.ended(run_id)).status == "completed"
    async with asyncio.timeout(60):
        while (await crowd.house.task(task_id)).ended_at is None:
            await asyncio.sleep(0.02)
    assert (await crowd.house.task(task_id)).status == "completed"


async def test_tasks_that_wait_for_a_stopped_agent_keep_no_other_agents_waiting(crowd: Crowd) -> None:
    house = crowd.house
    await crowd.child()
    stopped = await house.agent("stopped", ["hold"], state="stopped")
    async with house.database.read() as session:
        ready = (await session.execute(select(AgentRow).where(AgentRow.name == "a"))).scalar_one()
    ids = [await crowd.task(stopped, f"waits-{number}") for number in range(4)]
    await crowd.until_taken(ids[:3])
    await crowd.task(ready, "works")
    await crowd.until_begun("works")
    assert {(await house.task(each)).status for each in ids} == {"queued"}


async def test_two_that_take_over_at_the_same_moment_do_it_once(crowd: Crowd) -> None:
    first = await crowd.child()
    ids = [f"s{number}" for number in range(3)]
    runs = [await crowd.run(each) for each in ids]
    for each in ids:
        await crowd.until_begun(each)
    for _ in range(3):
        await crowd.child()
    first.signal(signal.SIGKILL)
    for each in ids:
        await crowd.until_begun(each, 2)
    crowd.go_on(*ids)
    for run_id, each in zip(runs, ids, strict=True):
        run = await crowd.ended(run_id)
        assert (run.status, run.segment) == ("completed", 2)
        assert crowd.marks().count(f"begin {each}") == 2
