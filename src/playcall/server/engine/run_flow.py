"""A run, segment by segment: which step comes next, doing it, and writing down how it ended.

`advance` is the only place where a run's own state moves while it runs; it is done once for each step. Between two of
them a step is performed, in transactions of its own that check the segment; after a crash the performing is done
again, and gives at once what had been done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import LogLevel, RunStatus, RunWish, Step, StepStatus, TaskStatus
from ...models.step import END
from ..clock import utc_now
from ..log import Outbox
from ..store.database import Database
from ..store.tables import RunRow, RunStepRow, TaskRow
from ..tools.unbroken import unbroken
from .announce import Emits, announce_log, announce_run, announce_step
from .conditions import ConditionProblem
from .failure import StepFailed, Superseded, failure_of
from .flow import next_step
from .operation import Operations, end_task
from .records import ENDED_RUN, ENDED_STEP, ENDED_TASK, spec_of
from .run_rows import names_of, require_segment, steps_of, touch
from .runtime import Runtime
from .step_work import StepAttempt
from .steps import retry_of
from .taken_files import take_over_files
from .work import Work, WorkList

__all__ = ["RunFlow", "end_run"]


@dataclass(frozen=True, slots=True)
class _StepEnd:
    """How performing a step ended. `output` is whatever JSON holds; `goes_to` is where the run goes on after a failure."""

    step_id: str
    status: StepStatus
    output: Any = None
    error: tuple[str, str] | None = None
    goes_to: str | None = None


class RunFlow:
    def __init__(self, database: Database, runtime: Runtime, operations: Operations, works: WorkList) -> None:
        self._database = database
        self._runtime = runtime
        self._operations = operations
        self._works = works

    async def drive(self, run_id: str, segment: int) -> None:
        """The workflow of one segment; returns when the run has ended, pauses, or belongs to another segment.

        Raises:
            asyncio.CancelledError: the server is shutting down; the next launch goes on.
        """
        with self._works.entry(run_id, segment) as work:
            with contextlib.suppress(Superseded):  # the first advance says so too
                await unbroken(take_over_files(self._database, self._operations.workspace, run_id, segment))
            end: _StepEnd | None = None
            while True:
                if work.shuts_down:
                    raise asyncio.CancelledError
                ended = end

                async def advance(session: AsyncSession, outbox: Outbox, ended: _StepEnd | None = ended) -> _Next:
                    return await self._advance(session, outbox, run_id, segment, ended)

                step = (await self._runtime.once("advance", advance))["step"]
                if step is None:
                    return
                try:
                    end = await work.do(self._perform(run_id, segment, step, work))
                except asyncio.CancelledError:
                    if work.shuts_down:
                        raise
                    if work.stopped_by == "superseded":
                        return
                    if work.stopped_by != "cancel":
                        raise RuntimeError(f"step {step!r} was cancelled, and nobody wished it") from None
                    end = _StepEnd(step, StepStatus.CANCELLED, error=("cancelled", "the run was cancelled"))
                except Superseded:
                    # The next advance says so too and ends this segment; or the run is still ours, and only what the
                    # step was about to write had been written by somebody else: then it goes on from there.
                    end = None
                    work.go_on()

    # --- moving on ----------------------------------------------------------------------------------------------------

    async def _advance(
        self, session: AsyncSession, outbox: Outbox, run_id: str, segment: int, end: _StepEnd | None
    ) -> _Next:
        run = await session.get(RunRow, run_id, with_for_update=True)
        if run is None or run.segment != segment or run.status in ENDED_RUN or run.status == RunStatus.PAUSED:
            return {"step": None}
        if run.status == RunStatus.QUEUED:
            run.status = RunStatus.RUNNING
            run.started_at = utc_now()
            touch(run)
            announce_run(outbox, run, "started")
        rows = await steps_of(session, run_id)
        current = next((row for row in rows.values() if row.status == StepStatus.RUNNING), None)
        if end is not None and current is not None and current.id == end.step_id:
            await self._end_step(session, outbox, run, current, end)
            if end.status is StepStatus.FAILED and end.goes_to is None:
                await end_run(outbox, session, run, RunStatus.FAILED, error=end.error)
                return {"step": None}
            current = None
        cancelled = any(row.status == StepStatus.CANCELLED for row in rows.values())
        if (run.wish == RunWish.CANCEL or cancelled) and current is None:
            await end_run(outbox, session, run, RunStatus.CANCELLED, error=("cancelled", "the run was cancelled"))
            return {"step": None}
        if current is not None:
            return {"step": current.id}  # it was interrupted
        return await self._next(session, outbox, run, rows)

    async def _next(self, session: AsyncSession, outbox: Outbox, run: RunRow, rows: dict[str, RunStepRow]) -> _Next:
        """Starts the step that follows, or ends the run; steps whose outputs are reused are passed by."""
        steps = spec_of(run.playbook)
        while True:
            try:
                step_id = _following(steps, run, rows)
            except ConditionProblem as problem:
                error = ("condition_failed", f"after step {run.at_step!r}: {problem}")
                await end_run(outbox, session, run, RunStatus.FAILED, error=error)
                return {"step": None}
            if step_id is None:
                output = rows[run.at_step].output if run.at_step is not None else None
                await end_run(outbox, session, run, RunStatus.COMPLETED, output=output)
                return {"step": None}
            row = rows[step_id]
            if row.status != StepStatus.REUSED:
                break
            self._pass(outbox, run, row)
        if run.wish == RunWish.PAUSE:
            run.wish = None
            run.status = RunStatus.PAUSED
            touch(run)
            announce_run(outbox, run, "paused")
            return {"step": None}
        row.status = StepStatus.RUNNING
        row.attempt = 1
        row.started_at = utc_now()
        announce_step(outbox, run, row, "started")
        return {"step": step_id}

    async def _end_step(
        self, session: AsyncSession, outbox: Outbox, run: RunRow, row: RunStepRow, end: _StepEnd
    ) -> None:
        """With tasks that were left open by a crash before the run was cancelled; agents are locked in one order."""
        open_tasks = select(TaskRow).where(
            TaskRow.run_id == run.id, TaskRow.step_id == row.id, TaskRow.status.not_in(ENDED_TASK)
        )
        for task in (
            (await session.execute(open_tasks.order_by(TaskRow.agent_id, TaskRow.created_at, TaskRow.id)))
            .scalars()
            .all()
        ):
            await end_task(outbox, session, task, TaskStatus.CANCELLED, error=("cancelled", "its step has ended"))
        run.faults = 0  # it has come further: only faults without progress add up
        row.status = end.status
        row.output = end.output
        row.error = None if end.error is None else failure_of(*end.error).model_dump(mode="json")
        row.goes_to = end.goes_to
        row.ended_at = utc_now()
        if end.goes_to is not None and end.error is not None:
            message = f"step {row.id!r} failed ({end.error[0]}: {end.error[1]}); the run goes on at {end.goes_to!r}"
            announce_log(outbox, run.owner_id, run.id, LogLevel.WARNING, message, step_id=row.id, task_id=None)
        self._pass(outbox, run, row)

    @staticmethod
    def _pass(outbox: Outbox, run: RunRow, row: RunStepRow) -> None:
        run.at_step = row.id
        run.steps_finished += 1
        touch(run)
        announce_step(outbox, run, row, "finished")
        announce_run(outbox, run, "changed")

    # --- performing a step --------------------------------------------------------------------------------------------

    async def _perform(self, run_id: str, segment: int, step_id: str, work: Work) -> _StepEnd | None:
        """None if the step has ended already: this is a replay after a crash.

        Raises:
            Superseded, asyncio.CancelledError.
        """
        run, rows = await unbroken(self._read(run_id))
        row = rows.get(step_id)
        if run is None or row is None or run.segment != segment:
            raise Superseded
        if row.status != StepStatus.RUNNING:
            return None
        if run.wish == RunWish.CANCEL:
            return _StepEnd(step_id, StepStatus.CANCELLED, error=("cancelled", "the run was cancelled"))
        step = next(s for s in spec_of(run.playbook) if s.id == step_id)
        names = names_of(run, rows)
        retry = retry_of(step)
        number = row.attempt
        while True:
            attempt = StepAttempt(
                self._database, self._operations, run=run, step=step, attempt=number, names=names, work=work
            )
            try:
                return _StepEnd(step_id, StepStatus.COMPLETED, output=await attempt.output())
            except StepFailed as failure:
                if number >= retry.attempts or failure.code in _NOT_TRIED_AGAIN:
                    error = (failure.code, failure.message)
                    return _StepEnd(step_id, StepStatus.FAILED, failure.output, error, failure.go_to)
                pause = retry.delay_seconds * 2 ** (number - 1)
                number += 1
                await unbroken(self._note_retry(run, step_id, number, failure, pause))
                await asyncio.sleep(pause)

    async def _note_retry(self, run: RunRow, step_id: str, attempt: int, failure: StepFailed, pause: float) -> None:
        async with self._database.write() as tx:
            await require_segment(tx.session, run.id, run.segment)
            row = await tx.session.get(RunStepRow, (run.id, step_id))
            if row is None:
                raise Superseded
            row.attempt = attempt
            message = (
                f"attempt {attempt - 1} failed ({failure.code}: {failure.message}); the next begins in {pause:g} s"
            )
            announce_log(tx, run.owner_id, run.id, LogLevel.WARNING, message, step_id=step_id, task_id=None)

    async def _read(self, run_id: str) -> tuple[RunRow | None, dict[str, RunStepRow]]:
        async with self._database.read() as session:
            return await session.get(RunRow, run_id), await steps_of(session, run_id)


_NOT_TRIED_AGAIN = frozenset({"template_failed", "too_many_operations"})
"""They would fail as they did."""
_Next = dict[str, str | None]
"""`{"step": ID}`, or None: this segment is at its end. A JSON object, because DBOS keeps it."""


async def end_run(
    to: Emits,
    session: AsyncSession,
    run: RunRow,
    status: RunStatus,
    *,
    output: Any = None,
    error: tuple[str, str] | None = None,
) -> None:
    """The run has ended: what it has not come to is skipped, and its topic ends with this event."""
    for row in (await steps_of(session, run.id)).values():
        if row.status not in ENDED_STEP:
            row.status = StepStatus.SKIPPED
    run.status = status
    run.wish = None
    run.output = output
    run.error = None if error is None else failure_of(*error).model_dump(mode="json")
    run.ended_at = utc_now()
    touch(run)
    announce_run(to, run, status.value)


def _following(steps: Sequence[Step], run: RunRow, rows: dict[str, RunStepRow]) -> str | None:
    """The step after the last one that ended, or None at the end.

    Raises:
        ConditionProblem: a condition cannot be decided.
    """
    if run.at_step is None:
        return steps[0].id
    last = rows[run.at_step]
    if last.status == StepStatus.FAILED:
        return None if last.goes_to == END else last.goes_to
    return next_step(steps, last.id, {**names_of(run, rows), "output": last.output})
