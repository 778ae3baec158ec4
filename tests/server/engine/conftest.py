"""An engine on a real database, for a module at a time: DBOS is one to a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from playcall.models import JsonObject, PlaybookSpec
from playcall.models.cursor import Cursor
from playcall.server.clock import utc_now
from playcall.server.engine import Engine, bind_inputs
from playcall.server.ids import new_id
from playcall.server.log import LogSlice, StoredEvent, read_log, read_topic
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.store.tables import AgentRow, PlaybookRow, RunRow, RunStepRow, TaskRow, ToolRow, UserRow


@dataclass
class House:
    """Everything a test of the engine asks for, by the engine's own doors."""

    database: Database
    engine: Engine
    settings: Settings
    owner: str

    @property
    def files(self) -> Path:
        """A folder of this test's own under the server's read root."""
        return self.settings.read_roots[0] / self.owner

    async def agent(
        self, name: str, tools: list[str], state: str = "ready", model: str | None = None, instructions: str = ""
    ) -> AgentRow:
        now = utc_now()
        row = AgentRow(
            id=new_id("agt"), owner_id=self.owner, version=1, created_at=now, updated_at=now, name=name, type="worker",
            description="", instructions=instructions, model=model, tools=tools, state=state,
        )  # fmt: skip
        async with self.database.write() as tx:
            tx.session.add(row)
        return row

    async def set_agent_state(self, agent_id: str, state: str) -> None:
        async with self.database.write() as tx:
            row = await tx.session.get(AgentRow, agent_id)
            assert row is not None
            row.state = state
        self.engine.agent_changed(agent_id)

    async def idle(self) -> None:
        """Returns when the engine works on nothing."""
        async with asyncio.timeout(30):
            await self.engine.idle()

    async def tool(self, name: str, **columns: Any) -> ToolRow:
        now = utc_now()
        row = ToolRow(
            id=new_id("tol"), owner_id=self.owner, version=1, created_at=now, updated_at=now, name=name,
            **{"kind": "installed", "description": "", "parameters": {}, "defaults": {}, "secret_headers": {}, **columns},
        )  # fmt: skip
        async with self.database.write() as tx:
            tx.session.add(row)
        return row

    async def playbook(self, spec: JsonObject) -> PlaybookRow:
        PlaybookSpec.model_validate(spec)
        now = utc_now()
        row = PlaybookRow(
            id=new_id("pbk"), owner_id=self.owner, version=1, created_at=now, updated_at=now,
            **{"name": new_id("name"), "description": "", "tags": [], "inputs": {}, **spec},
        )  # fmt: skip
        async with self.database.write() as tx:
            tx.session.add(row)
        return row

    async def start(self, spec: JsonObject, inputs: JsonObject | None = None) -> str:
        spec = {"name": new_id("name"), **spec}
        playbook = await self.playbook(spec)
        values, problems = bind_inputs(PlaybookSpec.model_validate(spec).inputs, inputs or {})
        assert not problems
        async with self.database.write() as tx:
            run = await self.engine.commands.create_run(tx, playbook, values, None)
            return run.id

    async def run(self, run_id: str) -> RunRow:
        async with self.database.read() as session:
            row = await session.get(RunRow, run_id)
        assert row is not None
        return row

    async def task(self, task_id: str) -> TaskRow:
        async with self.database.read() as session:
            row = await session.get(TaskRow, task_id)
        assert row is not None
        return row

    async def tasks(self, run_id: str) -> list[TaskRow]:
        async with self.database.read() as session:
            found = await session.execute(select(TaskRow).where(TaskRow.run_id == run_id).order_by(TaskRow.created_at))
            return list(found.scalars())

    async def steps(self, run_id: str) -> dict[str, RunStepRow]:
        async with self.database.read() as session:
            found = await session.execute(select(RunStepRow).where(RunStepRow.run_id == run_id))
            return {row.id: row for row in found.scalars()}

    async def events(self, topic: str) -> list[StoredEvent]:
        async with self.database.read() as session:
            state = await read_topic(session, self.owner, topic)
            assert state is not None, topic
            found = await read_log(session, self.owner, topic, Cursor(state.epoch, 0), limit=10_000)
        assert isinstance(found, LogSlice)
        return list(found.events)

    async def until_event(self, topic: str, type: str, count: int = 1) -> list[StoredEvent]:
        """Returns when the topic holds `count` events of the type; woken as any reader is."""
        async with asyncio.timeout(30):
            with self.database.wakes.waiting(self.owner, topic) as waiter:
                while True:
                    waiter.clear()
                    async with self.database.read() as session:
                        known = await read_topic(session, self.owner, topic)
                    found = [e for e in await self.events(topic) if e.type == type] if known else []
                    if len(found) >= count:
                        return found
                    await waiter.wait()

    async def ended(self, run_id: str) -> RunRow:
        async with asyncio.timeout(30):
            with self.database.wakes.waiting(self.owner, f"run:{run_id}") as waiter:
                while True:
                    waiter.clear()
                    run = await self.run(run_id)
                    if run.ended_at is not None:
                        return run
                    await waiter.wait()

    async def task_ended(self, task_id: str) -> TaskRow:
        async with asyncio.timeout(30):
            with self.database.wakes.waiting(self.owner, f"task:{task_id}") as waiter:
                while True:
                    waiter.clear()
                    task = await self.task(task_id)
                    if task.ended_at is not None:
                        return task
                    await waiter.wait()


async def open_house(folder: Path, **more: Any) -> House:
    settings = Settings(data_dir=folder / "data", read_roots=(folder / "files",), **more)
    settings.data_dir.mkdir(exist_ok=True)
    (folder / "files").mkdir(exist_ok=True)
    database = await Database.create(settings.database_url or f"sqlite+aiosqlite:///{settings.database_path}")
    engine = Engine(database=database, settings=settings)
    try:
        await engine.launch()
    except BaseException:
        await database.close()
        raise
    return House(database, engine, settings, "usr_nobody")


async def close_house(house: House) -> None:
    try:
        await house.engine.shutdown()
    finally:
        await house.database.close()


async def move_in(house: House) -> House:
    """The same house, for an owner who has nothing yet."""
    owner = new_id("usr")
    mine = House(house.database, house.engine, house.settings, owner)
    mine.files.mkdir()
    async with house.database.write() as tx:
        tx.session.add(UserRow(id=owner, username=owner, password_hash=None, created_at=utc_now()))
    return mine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    house = await open_house(tmp_path_factory.mktemp("house"))
    yield house
    await close_house(house)


@pytest_asyncio.fixture(loop_scope="module")
async def house(opened: House) -> House:
    return await move_in(opened)
