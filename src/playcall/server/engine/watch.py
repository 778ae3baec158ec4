"""What each process looks after while it works: that it is seen alive, and that nobody's work is left lying.

Work is left by a process that died, by one whose queue took a workflow and could not start it, and by a workflow that
ended without its run. What is found goes on in its next segment (`Segments`), on whichever process comes first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select, union_all

from playcall.server.telemetry import metrics
from playcall.server.upkeep.pulse import engine_pulse

from ...models import RunStatus, RunWish
from ..store.database import Database
from ..store.tables import RunRow, TaskRow
from .commands import RUN_WORKFLOW, TASK_WORKFLOW
from .processes import LOOKS_IN_A_LEASE, Look, Processes
from .records import ENDED_TASK
from .runtime import Runtime, Segment
from .segments import Segments
from .work import WorkList

__all__ = ["Watch"]

_log = logging.getLogger("playcall.server.engine")

LEFT_LYING_SECONDS: Final = 30.0
"""How often runs are looked for that have no workflow at all: which no crash leaves, but a database put back may."""
FORGET_SECONDS: Final = 60.0
AT_ONCE: Final = 200
"""A database takes a bounded number of parameters in one statement."""


class Watch:
    """`look_round` at the launch, then `run` until it is cancelled."""

    def __init__(
        self, database: Database, runtime: Runtime, processes: Processes, segments: Segments, works: WorkList
    ) -> None:
        self._database = database
        self._runtime = runtime
        self._processes = processes
        self._segments = segments
        self._works = works
        self._idle_looks: dict[Segment, int] = {}
        """Workflows that this process has taken and does not work on, and in how many looks."""

    async def run(self) -> None:
        """One look after the other. What fails comes round again."""
        looks_until_lying = round(LEFT_LYING_SECONDS / self._processes.look_seconds)  # the launch has just looked
        looks_until_forget = 0
        while True:
            await asyncio.sleep(self._processes.look_seconds)
            try:
                await self.look_round()
                looks_until_lying -= 1
                if looks_until_lying <= 0:
                    looks_until_lying = round(LEFT_LYING_SECONDS / self._processes.look_seconds)
                    await self.pick_up_lying()
                looks_until_forget -= 1
                if looks_until_forget <= 0:
                    looks_until_forget = round(FORGET_SECONDS / self._processes.look_seconds)
                    await self._runtime.forget_ended()
            except Exception as error:
                _log.warning("look_failed", extra={"error": type(error).__name__})

    async def look_round(self) -> None:
        """Be seen; take over from the dead; obey what others have decided of this process's work.

        Raises:
            Exception: The database does not answer.
        """
        look = await self._processes.look()
        await self._obey()
        pending = await self._runtime.pending()
        left = await self._left(pending, look)
        if left or look.dead:
            await self._take_over(left, look)
        await self._restart_unstarted([segment for segment in pending if segment.executor_id == self._processes.id])
        engine_pulse.beat()
        metrics.LOOKED_AT.set(time.time())

    async def pick_up_lying(self) -> None:
        """Runs and tasks that should be going on, and have no workflow.

        They are read before the workflows: one that ends between the two has ended its run with it.

        Raises:
            Exception: The database does not answer.
        """
        active = await self._active()
        for first in range(0, len(active), AT_ONCE):
            some = active[first : first + AT_ONCE]
            alive = await self._runtime.alive(segment.workflow_id for segment in some)
            for segment in some:
                if segment.workflow_id not in alive:
                    _log.warning("work_left_lying", extra={"id": segment.id, "segment": segment.number})
                    await self._segments.restart(segment.workflow, segment.id, segment.number, is_fault=True)

    async def _left(self, pending: Sequence[Segment], look: Look) -> list[Segment]:
        """What nobody works on. The look is older than `pending`: who has come since, or moves again, may have taken it."""
        left = [segment for segment in pending if segment.executor_id not in look.living]
        if not left or self._processes.alone:
            return left
        others = await self._processes.others()
        moving = {peer for peer, count in others.items() if look.dead.get(peer) != count}
        return [segment for segment in left if segment.executor_id not in moving]

    async def _take_over(self, left: Sequence[Segment], look: Look) -> None:
        """A crash counts as a fault of what was being worked on: any of it may have caused it."""
        for segment in left:
            is_fault = segment.executor_id in look.dead
            await self._segments.restart(segment.workflow, segment.id, segment.number, is_fault=is_fault)
        if left:
            _log.warning("taken_over", extra={"segments": len(left), "processes": sorted(look.dead)})
            metrics.TAKEN_OVER.add(amount=len(left))
            await self._runtime.give_up(segment.workflow_id for segment in left)
        await self._processes.forget(look.dead)

    async def _restart_unstarted(self, mine: Sequence[Segment]) -> None:
        """DBOS marks a workflow as taken before it starts it, and leaves it so if that fails."""
        here = self._works.segments()
        idle = {segment: self._idle_looks.get(segment, 0) + 1 for segment in mine if segment.id not in here}
        for segment, looks in list(idle.items()):
            if looks > LOOKS_IN_A_LEASE:
                del idle[segment]
                _log.warning("work_not_started", extra={"id": segment.id, "segment": segment.number})
                await self._segments.restart(segment.workflow, segment.id, segment.number, is_fault=True)
                await self._runtime.give_up([segment.workflow_id])
        self._idle_looks = idle

    async def _obey(self) -> None:
        """What has been wished cancelled through another process, and what others have taken over."""
        here = self._works.segments()
        ids = list(here)
        for first in range(0, len(ids), AT_ONCE):
            some = ids[first : first + AT_ONCE]
            runs = select(RunRow.id, RunRow.wish, RunRow.segment).where(RunRow.id.in_(some))
            tasks = select(TaskRow.id, TaskRow.wish, TaskRow.segment).where(TaskRow.id.in_(some))
            async with self._database.read() as session:
                rows = (await session.execute(union_all(runs, tasks))).all()
            for row_id, wish, segment in rows:
                if segment != here[row_id]:
                    self._works.supersede(row_id, segment)
                elif wish == RunWish.CANCEL:
                    self._works.stop(row_id)

    async def _active(self) -> list[Segment]:
        runs = select(RunRow.id, RunRow.segment).where(
            RunRow.status.in_((RunStatus.QUEUED.value, RunStatus.RUNNING.value))
        )
        tasks = select(TaskRow.id, TaskRow.segment).where(TaskRow.run_id.is_(None), TaskRow.status.not_in(ENDED_TASK))
        async with self._database.read() as session:
            return [
                *(Segment(RUN_WORKFLOW, row.id, row.segment) for row in await session.execute(runs)),
                *(Segment(TASK_WORKFLOW, row.id, row.segment) for row in await session.execute(tasks)),
            ]
