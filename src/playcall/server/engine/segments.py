"""The one move that gives a run or task to another workflow: its next segment, with a workflow of its own.

A takeover from a dead process, the new attempt after a fault of the server's own, and the end after too many of those
are this move. It says which segment it takes over from, and is made under the row's lock: of several that make it at the
same moment one succeeds, and whoever had the segment before writes nothing more.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from ...models import RunStatus, TaskStatus
from ..store.database import Database, Transaction
from ..store.tables import RunRow, TaskRow
from .commands import RUN_WORKFLOW, TASK_WORKFLOW
from .operation import end_task
from .records import ENDED_RUN, ENDED_TASK
from .run_flow import end_run
from .runtime import Runtime

__all__ = ["MAX_FAULTS", "Segments"]

MAX_FAULTS: Final = 5
"""After so many segments that broke off for a reason of the server's own, crashes among them, and without a step's end
between them, a run fails: a step that brings the server down must not do so for ever."""


class Segments:
    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._database = database
        self._runtime = runtime

    async def restart(self, workflow: str, id: str, segment: int, *, is_fault: bool) -> None:
        """The next segment, if this one is still the run's (or task's) own and it should be going on.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database cannot be written; nothing has been changed.
        """
        async with self._database.write() as tx:
            if workflow == RUN_WORKFLOW:
                await self._restart_run(tx, id, segment, is_fault=is_fault)
            else:
                await self._restart_task(tx, id, segment, is_fault=is_fault)

    async def _restart_run(self, tx: Transaction, run_id: str, segment: int, *, is_fault: bool) -> None:
        run = await tx.session.get(RunRow, run_id, with_for_update=True)
        if run is None or run.segment != segment or run.status in ENDED_RUN or run.status == RunStatus.PAUSED:
            return
        run.segment += 1
        run.faults += is_fault
        if run.faults < MAX_FAULTS:
            await self._runtime.enqueue(tx.session, RUN_WORKFLOW, run)
            return
        error = ("engine_fault", "the server could not carry on with this run; its log says why")
        tasks = select(TaskRow).where(TaskRow.run_id == run.id, TaskRow.status.not_in(ENDED_TASK))
        for task in (await tx.session.execute(tasks.order_by(TaskRow.agent_id))).scalars().all():
            await end_task(tx, tx.session, task, TaskStatus.FAILED, error=error)
        await end_run(tx, tx.session, run, RunStatus.FAILED, error=error)

    async def _restart_task(self, tx: Transaction, task_id: str, segment: int, *, is_fault: bool) -> None:
        task = await tx.session.get(TaskRow, task_id, with_for_update=True)
        if task is None or task.segment != segment or task.status in ENDED_TASK:
            return
        task.segment += 1
        task.faults += is_fault
        if task.faults < MAX_FAULTS:
            await self._runtime.enqueue(tx.session, TASK_WORKFLOW, task)
            return
        error = ("engine_fault", "the server could not carry on with this task; its log says why")
        await end_task(tx, tx.session, task, TaskStatus.FAILED, error=error)
