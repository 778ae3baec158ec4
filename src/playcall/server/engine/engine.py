"""The engine: what the server starts, asks and shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable

from sqlalchemy import select

from ...models import AgentState, RunStatus, TaskStatus
from ..clock import utc_now
from ..ids import new_id
from ..settings import Settings
from ..store.database import Database, Transaction
from ..store.tables import AgentRow, RunRow, TaskRow, ToolRow
from ..tools import builtin_tools
from .commands import RUN_WORKFLOW, TASK_WORKFLOW, Commands
from .operation import Operations, end_task, release_agent
from .records import ENDED_RUN, ENDED_TASK
from .run_flow import RunFlow, end_run
from .runtime import Runtime
from .task_flow import TaskFlow
from .work import WorkList

__all__ = ["Engine"]

_log = logging.getLogger("playcall.server.engine")

_Restart = Callable[[Transaction, str, int], Awaitable[None]]

MAX_FAULTS = 5
"""After so many segments that broke off for a reason of the server's own, crashes among them, and without a step's end
between them, a run fails: a step that brings the server down must not do so for ever."""
_STOPPED = "engine-stopped"
"""A file in the data folder that says that the last engine was shut down, and did not crash."""
FAULT_PAUSE_SECONDS = (0.25, 8.0)
"""Before a new segment; doubled each time, up to the second."""


class Engine:
    """One to a process. `commands` are for routes, within their transactions; the other methods follow a commit."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._runtime = Runtime(database)
        self._works = WorkList()
        self._operations = Operations(database, settings)
        self._runs = RunFlow(database, self._runtime, self._operations, self._works)
        self._tasks = TaskFlow(database, self._runtime, self._operations, self._works)
        self._launched = False
        self.commands = Commands(self._runtime)

    async def launch(self) -> None:
        """In the server's loop, before it serves: what a crash interrupted goes on from here by itself.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the data folder cannot be written.
        """
        await asyncio.to_thread(self._settings.workspaces_dir.mkdir, parents=True, exist_ok=True)
        await self._write_builtin_tools()
        if not await asyncio.to_thread(self._take_mark):
            await self._count_crash()
        await self._runtime.launch({RUN_WORKFLOW: self._run_workflow, TASK_WORKFLOW: self._task_workflow})
        self._launched = True
        await self._revive()

    async def shutdown(self) -> None:
        """Stops tools that run, and returns when they have ended; their steps begin again at the next launch."""
        await self._works.close()
        await self._runtime.shutdown()
        if self._launched:
            self._launched = False
            with contextlib.suppress(OSError):  # counted as a crash then, which it may as well have been
                await asyncio.to_thread((self._settings.data_dir / _STOPPED).touch)

    def agent_changed(self, agent_id: str) -> None:
        """An agent was started or stopped."""
        self._operations.agent_changed(agent_id)

    def stop_work(self, id: str) -> None:
        """The run or task has been wished cancelled: its running tool is stopped now."""
        self._works.stop(id)

    async def remove_workspace(self, id: str) -> None:
        """The run or task has been deleted. A folder that stays behind is only disk."""
        await asyncio.to_thread(shutil.rmtree, self._operations.workspace(id), ignore_errors=True)

    async def idle(self) -> None:
        """Returns when this process works on nothing, which may be a moment only."""
        await self._works.idle()

    # --- workflows ----------------------------------------------------------------------------------------------------

    async def _run_workflow(self, run_id: str, segment: int) -> None:
        await self._guarded(self._runs.drive, self._restart_run, run_id, segment)

    async def _task_workflow(self, task_id: str, segment: int) -> None:
        await self._guarded(self._tasks.drive, self._restart_task, task_id, segment)

    async def _guarded(
        self,
        drive: Callable[[str, int], Awaitable[None]],
        restart: _Restart,
        id: str,
        segment: int,
    ) -> None:
        """A fault of the server's own (the database went away, the disk is full) ends the segment, not the run.

        Until the next segment is written down this one goes on trying: DBOS must not hold it for done before.
        """
        try:
            await drive(id, segment)
            return
        except Exception as error:
            _log.exception("segment_broke_off", extra={"id": id, "segment": segment, "error": type(error).__name__})
        pause, longest = FAULT_PAUSE_SECONDS
        while True:
            with self._works.entry(id) as work:
                try:
                    await work.do(asyncio.sleep(pause))
                except asyncio.CancelledError:
                    if work.shuts_down:
                        raise  # the next launch finds the segment unfinished
            pause = min(2 * pause, longest)
            try:
                async with self._database.write() as tx:
                    await restart(tx, id, segment)
                return
            except Exception as error:
                _log.warning("segment_not_restarted", extra={"id": id, "error": type(error).__name__})

    async def _restart_run(self, tx: Transaction, run_id: str, segment: int) -> None:
        """The same move as a takeover: the next segment, if this one is still the run's own."""
        run = await tx.session.get(RunRow, run_id, with_for_update=True)
        if run is None or run.segment != segment or run.status in ENDED_RUN or run.status == RunStatus.PAUSED:
            return
        run.faults += 1
        run.segment += 1
        if run.faults < MAX_FAULTS:
            await self._runtime.enqueue(tx.session, RUN_WORKFLOW, run.id, run.segment)
        else:
            await _fail_run(tx, run)

    async def _restart_task(self, tx: Transaction, task_id: str, segment: int) -> None:
        task = await tx.session.get(TaskRow, task_id, with_for_update=True)
        if task is None or task.segment != segment or task.status in ENDED_TASK:
            return
        task.faults += 1
        task.segment += 1
        if task.faults < MAX_FAULTS:
            await self._runtime.enqueue(tx.session, TASK_WORKFLOW, task.id, task.segment)
            return
        await _fail_task(tx, task)

    # --- at the start -------------------------------------------------------------------------------------------------

    def _take_mark(self) -> bool:
        """Whether the last engine was shut down; from now on this one may crash."""
        try:
            (self._settings.data_dir / _STOPPED).unlink()
        except FileNotFoundError:
            return False
        return True

    async def _count_crash(self) -> None:
        """Before anything goes on: any of what was being worked on may have brought the server down."""
        async with self._database.write() as tx:
            running = select(RunRow).where(RunRow.status == RunStatus.RUNNING.value)
            for run in (await tx.session.execute(running)).scalars().all():
                run.faults += 1
                if run.faults >= MAX_FAULTS:
                    run.segment += 1  # its workflow, which is recovered, finds itself superseded
                    await _fail_run(tx, run)
            alone = select(TaskRow).where(TaskRow.run_id.is_(None), TaskRow.status == TaskStatus.RUNNING.value)
            for task in (await tx.session.execute(alone)).scalars().all():
                task.faults += 1
                if task.faults >= MAX_FAULTS:
                    task.segment += 1
                    await _fail_task(tx, task)

    async def _write_builtin_tools(self) -> None:
        """Everybody's tools as this version has them; one that it does not have any more goes."""
        async with self._database.write() as tx:
            rows = {
                row.name: row
                for row in (await tx.session.execute(select(ToolRow).where(ToolRow.owner_id.is_(None)))).scalars()
            }
            now = utc_now()
            for name, tool in builtin_tools().items():
                row = rows.pop(name, None)
                schema = tool.schema()
                if row is None:
                    tx.session.add(
                        ToolRow(
                            id=new_id("tol"),
                            version=1,
                            created_at=now,
                            updated_at=now,
                            name=name,
                            kind="builtin",
                            description=tool.description,
                            parameters=schema,
                            defaults={},
                            secret_headers={},
                        )
                    )
                elif (row.description, row.parameters) != (tool.description, schema):
                    row.description, row.parameters = tool.description, schema
                    row.version += 1
                    row.updated_at = now
            for row in rows.values():
                await tx.session.delete(row)

    async def _revive(self) -> None:
        """What should be going on and has no workflow gets one; an agent that works on nothing is ready."""
        async with self._database.read() as session:
            runs = select(RunRow.id, RunRow.segment).where(
                RunRow.status.in_((RunStatus.QUEUED.value, RunStatus.RUNNING.value))
            )
            tasks = select(TaskRow.id, TaskRow.segment).where(
                TaskRow.run_id.is_(None), TaskRow.status.not_in(ENDED_TASK)
            )
            pending: list[tuple[_Restart, str, int]] = [
                *((self._restart_run, *row) for row in (await session.execute(runs)).all()),
                *((self._restart_task, *row) for row in (await session.execute(tasks)).all()),
            ]
            busy = (
                await session.execute(select(AgentRow.id).where(AgentRow.state == AgentState.RUNNING.value))
            ).scalars()
            agents = list(busy)
        for restart, waiting, segment in pending:
            if not await self._runtime.is_alive(waiting, segment):
                async with self._database.write() as tx:
                    await restart(tx, waiting, segment)
        if agents:
            async with self._database.write() as tx:
                for agent_id in agents:
                    await release_agent(tx, tx.session, agent_id)


async def _fail_run(tx: Transaction, run: RunRow) -> None:
    error = ("engine_fault", "the server could not carry on with this run; its log says why")
    tasks = select(TaskRow).where(TaskRow.run_id == run.id, TaskRow.status.not_in(ENDED_TASK))
    for task in (await tx.session.execute(tasks)).scalars().all():
        await end_task(tx, tx.session, task, TaskStatus.FAILED, error=error)
    await end_run(tx, tx.session, run, RunStatus.FAILED, error=error)


async def _fail_task(tx: Transaction, task: TaskRow) -> None:
    error = ("engine_fault", "the server could not carry on with this task; its log says why")
    await end_task(tx, tx.session, task, TaskStatus.FAILED, error=error)
