"""The engine: what the server starts, asks and shuts down."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ...models import AgentState
from ..settings import Settings
from ..store.database import Database
from ..store.dialect import is_lost
from ..store.tables import AgentRow
from .agent_state import release_agent
from .builtin import write_builtin_tools
from .commands import RUN_WORKFLOW, TASK_WORKFLOW, Commands
from .operation import Operations
from .processes import Processes
from .run_flow import RunFlow
from .runtime import Runtime
from .segments import Segments
from .task_flow import TaskFlow
from .watch import Watch
from .work import WorkList

__all__ = ["Engine"]

_log = logging.getLogger("playcall.server.engine")

FAULT_PAUSE_SECONDS = (0.25, 8.0)
"""Before a new segment; doubled each time, up to the second."""


class Engine:
    """One to a process. `commands` are for routes, within their transactions; the other methods follow a commit."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        alone = database.engine.dialect.name == "sqlite"
        self._processes = Processes(database, alone=alone, lease_seconds=settings.lease_seconds)
        self._runtime = Runtime(database, executor_id=self._processes.id, at_once=settings.max_at_once)
        self._works = WorkList()
        self._operations = Operations(database, settings, is_alive=lambda: self._processes.is_surely_alive)
        self._runs = RunFlow(database, self._runtime, self._operations, self._works)
        self._tasks = TaskFlow(database, self._runtime, self._operations, self._works)
        self._segments = Segments(database, self._runtime)
        self._watch = Watch(database, self._runtime, self._processes, self._segments, self._works)
        self._watching: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self.commands = Commands(self._runtime)
        # What another process says; its looks find the same, later.
        database.signals.on("agent_changed", self._operations.agent_changed)
        database.signals.on("stop_work", self._works.stop)

    async def launch(self) -> None:
        """In the server's loop, before it serves: what a crash interrupted goes on from here by itself.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the data folder, or the database, cannot be written.
        """
        await asyncio.to_thread(self._settings.workspaces_dir.mkdir, parents=True, exist_ok=True)
        await write_builtin_tools(self._database, with_shell=self._settings.enable_shell)
        # Before anything is taken from the queue: others must not hold that for a dead process's.
        await self._processes.enter()
        if not self._processes.alone:
            self._entering = asyncio.create_task(self._processes.keep_entering(), name="playcall-engine-heartbeat")
        try:
            await self._runtime.launch({RUN_WORKFLOW: self._run_workflow, TASK_WORKFLOW: self._task_workflow})
            await self._watch.look_round()
            await self._watch.pick_up_lying()
            await self._release_agents()
        except BaseException:
            await self._fall_silent()
            raise
        self._watching = asyncio.create_task(self._watch.run(), name="playcall-engine-watch")

    async def shutdown(self) -> None:
        """Stops tools that run, and returns when they have ended; their steps begin again elsewhere, or at the next launch."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self._works.close()
        await self._runtime.shutdown()
        await self._stop_entering()  # only now: until here others must not go on with what is just ending
        if self._watching is not None:
            self._watching = None
            try:
                await self._processes.leave()
            except (SQLAlchemyError, OSError) as error:
                # Counted as a crash then, which it may as well have been.
                _log.warning("process_not_left", extra={"error": type(error).__name__})
        await self._fall_silent()

    async def _stop_entering(self) -> None:
        if self._entering is not None:
            self._entering.cancel()
            await asyncio.wait([self._entering])
            self._entering = None

    async def _fall_silent(self) -> None:
        await self._stop_entering()
        await self._processes.close()

    def agent_changed(self, agent_id: str) -> None:
        """An agent was started or stopped."""
        self._operations.agent_changed(agent_id)
        self._database.signals.publish("agent_changed", agent_id)

    def stop_work(self, id: str) -> None:
        """The run or task has been wished cancelled: its running tool is stopped now."""
        self._works.stop(id)
        self._database.signals.publish("stop_work", id)

    async def remove_workspace(self, id: str) -> None:
        """The run or task has been deleted. A folder that stays behind is only disk."""
        await asyncio.to_thread(shutil.rmtree, self._operations.workspace(id), ignore_errors=True)

    async def idle(self) -> None:
        """Returns when this process works on nothing, which may be a moment only."""
        await self._works.idle()

    # --- workflows ----------------------------------------------------------------------------------------------------

    async def _run_workflow(self, run_id: str, segment: int) -> None:
        await self._guarded(self._runs.drive, RUN_WORKFLOW, run_id, segment)

    async def _task_workflow(self, task_id: str, segment: int) -> None:
        await self._guarded(self._tasks.drive, TASK_WORKFLOW, task_id, segment)

    async def _guarded(
        self, drive: Callable[[str, int], Awaitable[None]], workflow: str, id: str, segment: int
    ) -> None:
        """A fault of the server's own (the database went away, the disk is full) ends the segment, not the run.

        Until the next segment is written down this one goes on trying: DBOS must not hold it for done before.
        """
        try:
            await drive(id, segment)
            return
        except Exception as error:
            # No step is to blame for a database that goes away, however often.
            is_fault = not is_lost(error)
            _log.exception("segment_broke_off", extra={"id": id, "segment": segment, "error": type(error).__name__})
        pause, longest = FAULT_PAUSE_SECONDS
        while True:
            with self._works.entry(id, segment) as work:
                try:
                    await work.do(asyncio.sleep(pause))
                except asyncio.CancelledError:
                    if work.shuts_down:
                        raise  # whoever looks next finds the segment unfinished
            pause = min(2 * pause, longest)
            try:
                await self._segments.restart(workflow, id, segment, is_fault=is_fault)
                return
            except Exception as error:
                _log.warning("segment_not_restarted", extra={"id": id, "error": type(error).__name__})

    async def _release_agents(self) -> None:
        """An agent that a crash left running, and that works on nothing, is ready."""
        async with self._database.read() as session:
            busy = select(AgentRow.id).where(AgentRow.state == AgentState.RUNNING.value).order_by(AgentRow.id)
            agents = list((await session.execute(busy)).scalars())
        if agents:
            async with self._database.write() as tx:
                for agent_id in agents:
                    await release_agent(tx, tx.session, agent_id)
