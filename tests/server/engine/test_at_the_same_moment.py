"""What two processes do at the same moment, and SQLite's one writer did one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select, text

from playcall.models import AgentId, TaskSpec
from playcall.models.event import AgentDeletedData
from playcall.models.topic import AGENTS, TASKS, agent_topic
from playcall.server.auth.caller import Caller
from playcall.server.engine.commands import RUN_WORKFLOW
from playcall.server.engine.processes import LOOKS_IN_A_LEASE, Processes
from playcall.server.engine.runtime import Runtime, Segment
from playcall.server.engine.segments import Segments
from playcall.server.engine.watch import Watch
from playcall.server.engine.work import WorkList
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.problems import ApiError
from playcall.server.routes import agents, tasks
from playcall.server.routes.own_rows import own_row
from playcall.server.store.database import Database
from playcall.server.store.tables import AgentRow, PlaybookRow
from tests.postgresql import PostgreSQL

from .conftest import House
from .test_processes import Crowd, among_others, crowd, crowd_on, opened

__all__ = ["crowd"]

pytestmark = pytest.mark.xdist_group("postgresql")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def until_waiting(database: Database, count: int = 1) -> None:
    """Returns when so many wait for another's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(30):
        while True:
            async with database.read() as session:
                if await session.scalar(text(waiting)) == count:
                    return
            await asyncio.sleep(0.01)


# --- one after the other after all ---------------------------------------------------------------------------------


async def test_a_key_that_several_start_runs_with_at_once_starts_one(crowd: Crowd) -> None:
    await crowd.child()  # it makes the queue's tables
    house = crowd.house
    parameters = {"id": "one", "folder": str(crowd.folder)}
    step = {"id": "one", "type": "standard", "agent": "a", "operation": "hold", "parameters": parameters}
    first = await house.playbook({"name": "first", "agents": ["a"], "steps": [step]})
    second = await house.playbook({"name": "second", "agents": ["a"], "steps": [step]})

    async def start(playbook: PlaybookRow) -> str:
        async with house.database.write() as tx:
            return (await house.engine.commands.create_run(tx, playbook, {}, "key")).id

    async with house.database.write() as tx:
        run_id = (await house.engine.commands.create_run(tx, first, {}, "key")).id
        same, other = asyncio.create_task(start(first)), asyncio.create_task(start(second))
        await until_waiting(house.database, 2)
    assert await same == run_id
    with pytest.raises(ApiError) as caught:
        await other
    assert caught.value.code == "idempotency_key_reused"
    assert (await crowd.ended(run_id)).status == "completed"


async def test_an_agent_is_not_deleted_under_a_task_that_is_just_made_for_it(crowd: Crowd) -> None:
    await crowd.child()
    house = crowd.house
    async with house.database.write() as tx:
        agent = await tasks._agent(tx.session, cast("Caller", Who(house.owner)), "a")
        spec = TaskSpec(agent="a", operation="hold", parameters={"id": "one", "folder": str(crowd.folder)})
        task_id = (await house.engine.commands.create_task(tx, agent, spec)).id
        await tx.outbox.flush(tx.session)
        deleting = asyncio.create_task(delete_agent(house))
        (crowd.folder / "hold-one").touch()
        await until_waiting(house.database)
    with pytest.raises(ApiError) as caught:
        await deleting
    assert caught.value.code == "agent_busy"
    crowd.go_on("one")
    async with asyncio.timeout(30):
        while (await house.task(task_id)).ended_at is None:
            await asyncio.sleep(0.02)
    assert (await house.task(task_id)).status == "completed"


async def test_an_agent_is_not_deleted_under_a_step_that_is_just_beginning(crowd: Crowd) -> None:
    await crowd.child()
    house = crowd.house
    async with house.database.write() as tx:
        # Where the step's tasks wait before their commit.
        tx.emit(NewEvent(owner_id=house.owner, type="test", data={}, topics=(TopicEntry(TASKS),)))
        await tx.outbox.flush(tx.session)
        run_id = await crowd.run("one")
        await until_waiting(house.database)
        deleting = asyncio.create_task(delete_agent(house))
        waiting = asyncio.create_task(until_waiting(house.database, 2))
        await asyncio.wait([deleting, waiting], return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(ApiError) as caught:
        await deleting
    assert caught.value.code == "agent_busy"
    await waiting
    crowd.go_on("one")
    assert (await crowd.ended(run_id)).status == "completed"


async def delete_agent(house: House) -> None:
    """As the route does."""
    async with house.database.write() as tx:
        agent_id = AgentId((await tx.session.execute(select(AgentRow.id))).scalar_one())
        row = await own_row(tx.session, AgentRow, cast("Caller", Who(house.owner)), agent_id, "agent", lock=True)
        await agents._require_idle(tx.session, agent_id)
        await tx.session.delete(row)
        topics = (TopicEntry(AGENTS), TopicEntry(agent_topic(agent_id), ends="deleted"))
        data = AgentDeletedData(agent_id=agent_id)
        tx.emit(NewEvent(owner_id=house.owner, type="agent.deleted", data=data, topics=topics))


@dataclass
class Who:
    user_id: str


# --- who is alive, again --------------------------------------------------------------------------------------------


async def test_a_process_whose_requests_have_taken_every_connection_is_seen_alive(postgresql: PostgreSQL) -> None:
    lock = text("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
    async with opened(postgresql) as database, among_others(database) as process:

        async def write() -> None:
            async with database.write() as tx:
                await tx.session.execute(lock)

        async def read() -> None:
            async with database.read() as session:
                await session.execute(select(AgentRow.id))

        async with asyncio.TaskGroup() as group, database.write() as holder:
            await holder.session.execute(lock)
            for _ in range(20):
                group.create_task(write())
                group.create_task(read())
            pools = [cast("Any", engine.sync_engine.pool) for engine in (database.engine, database.reader)]
            await until(lambda: all(pool.checkedout() == 10 for pool in pools))
            async with asyncio.timeout(5):
                assert (await process.look()).living == {process.id}
                assert not await process.others()


async def test_one_that_moves_again_while_it_is_being_buried_is_not_forgotten(postgresql: PostgreSQL) -> None:
    async with opened(postgresql) as database, AsyncExitStack() as stack:
        undertaker, stopped = [await stack.enter_async_context(among_others(database)) for _ in range(2)]
        dead = await seen_dead(undertaker, stopped)
        await stopped.enter()
        await undertaker.forget(dead)
        assert stopped.id in await undertaker.others()
        await undertaker.forget(await seen_dead(undertaker, stopped))
        assert stopped.id not in await undertaker.others()


async def test_what_a_newcomer_takes_between_a_look_and_the_takeover_stays_with_it(postgresql: PostgreSQL) -> None:
    """Whoever looks may be stopped between its two questions for as long as it likes."""
    async with opened(postgresql) as database, AsyncExitStack() as stack:
        looking, newcomer, stopped, gone = [await stack.enter_async_context(among_others(database)) for _ in range(4)]
        await seen_dead(looking, stopped)

        async def meanwhile() -> list[Segment]:
            await newcomer.enter()
            await stopped.enter()
            return [
                Segment(RUN_WORKFLOW, f"run_{number}", 1, process.id)
                for number, process in enumerate((looking, newcomer, stopped, gone))
            ]

        queue = Queue(meanwhile)
        works = WorkList()
        watch = Watch(database, cast("Runtime", queue), looking, cast("Segments", queue), works)
        await watch.look_round()
        assert queue.restarted == ["run_3"]


async def seen_dead(looking: Processes, stopped: Processes) -> dict[str, int]:
    await stopped.enter()
    for _ in range(LOOKS_IN_A_LEASE):
        assert not (await looking.look()).dead
    dead = dict((await looking.look()).dead)
    assert set(dead) == {stopped.id}
    return dead


@dataclass
class Queue:
    """Stands for the runtime and the segments."""

    pending: Any
    restarted: list[str] = field(default_factory=list[str])

    async def restart(self, workflow: str, id: str, segment: int, *, is_fault: bool) -> None:
        self.restarted.append(id)

    async def give_up(self, workflow_ids: Any) -> None:
        pass


async def test_a_database_that_goes_while_tools_work_has_none_of_them_called_again(tmp_path: Path) -> None:
    with PostgreSQL() as own:
        async with crowd_on(own, tmp_path) as crowd:
            await crowd.child()
            ids = ["one", "two", "three"]
            run_id = await crowd.run(*ids)
            for each, end in zip(ids, (own.stop, own.kill, own.stop), strict=True):
                await crowd.until_begun(each)
                await asyncio.to_thread(end)
                crowd.go_on(each)
                await crowd.until(lambda each=each: f"end {each}" in crowd.marks())
                await asyncio.to_thread(own.start)
            await crowd.until(lambda: "end three" in crowd.marks())
            run = await crowd.done_once(run_id, ids)
            assert crowd.marks() == [f"{what} {each}" for each in ids for what in ("begin", "end")]
            assert run.faults == 0


async def test_only_what_may_be_the_works_own_doing_counts_as_its_fault(crowd: Crowd) -> None:
    first = await crowd.child()
    first.signal(signal.SIGTERM)
    assert await first.line() == "ended"
    nowhere = Database.at("postgresql+asyncpg://127.0.0.1:1/nothing")

    async def find_it_gone(id: str, segment: int) -> None:
        async with nowhere.read() as session:
            await session.execute(text("SELECT 1"))

    async def break_off(id: str, segment: int) -> None:
        raise RuntimeError

    run_id = await crowd.run("one")
    for segment, (drive, faults) in enumerate([(find_it_gone, 0), (break_off, 1), (find_it_gone, 1)], 1):
        await crowd.house.engine._guarded(drive, RUN_WORKFLOW, run_id, segment)
        run = await crowd.house.run(run_id)
        assert (run.segment, run.faults) == (segment + 1, faults)
