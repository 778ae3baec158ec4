"""A task without a run: a user's own, or a direct call of a tool."""

from __future__ import annotations

import asyncio
import contextlib

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import RunWish, TaskStatus
from ..log import Outbox
from ..store.database import Database, Transaction
from ..store.tables import TaskRow
from .failure import StepFailed, Superseded
from .operation import Operations, end_task
from .records import ENDED_TASK
from .reporter import Reporter
from .runtime import Runtime
from .step_time import StepTime
from .work import WorkList

__all__ = ["TaskFlow"]


class TaskFlow:
    def __init__(self, database: Database, runtime: Runtime, operations: Operations, works: WorkList) -> None:
        self._database = database
        self._runtime = runtime
        self._operations = operations
        self._works = works

    async def drive(self, task_id: str, segment: int) -> None:
        """The workflow of one task; returns when it has ended.

        Raises:
            asyncio.CancelledError: the server is shutting down; the next launch goes on.
        """
        with self._works.entry(task_id, segment) as work:
            async with self._database.read() as session:
                task = await session.get(TaskRow, task_id)
            if task is None or task.segment != segment or task.status in ENDED_TASK:
                return
            if task.wish != RunWish.CANCEL:

                async def fence(tx: Transaction) -> None:
                    await _require_segment(tx.session, task_id, segment)

                reporter = Reporter(self._database, fence)
                try:
                    async with reporter.running():
                        await work.do(self._operations.carry_out(task, work, reporter, StepTime(task.timeout_seconds)))
                except asyncio.CancelledError:
                    if work.shuts_down:
                        raise
                    if work.stopped_by == "superseded":
                        return
                except (StepFailed, Superseded):
                    pass  # the first is stored, the second is somebody else's

            async def close(session: AsyncSession, outbox: Outbox) -> None:
                """Cancelled before it began, or between a crash and the restart."""
                row = await session.get(TaskRow, task_id, with_for_update=True)
                if row is not None and row.segment == segment and row.status not in ENDED_TASK:
                    error = ("cancelled", "it was cancelled")
                    await end_task(outbox, session, row, TaskStatus.CANCELLED, error=error)

            with contextlib.suppress(Superseded):
                await self._runtime.once("close", close)


async def _require_segment(session: AsyncSession, task_id: str, segment: int) -> None:
    """The fence of a task that has no run."""
    row = (
        await session.execute(select(TaskRow.segment, TaskRow.status).where(TaskRow.id == task_id).with_for_update())
    ).one_or_none()
    if row is None or row.segment != segment or row.status in ENDED_TASK:
        raise Superseded
