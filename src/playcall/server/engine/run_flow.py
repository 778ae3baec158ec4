"""A run, segment by segment: which step comes next, doing it, and writing down how it ended.

`advance` is the only place where a run's own state moves while it runs; it is done once for each step. Between two of
them a step is performed, in transactions of its own that check the segment; after a crash the performing is done
again, and gives at once what had been done.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import JsonObject, LogLevel, RunStatus, RunWish, Step, StepStatus, TaskStatus
from ...models.playbook import ParallelStep, StandardStep
from ..clock import utc_now
from ..ids import new_id
from ..log import Outbox
from ..store.database import Database, Transaction
from ..store.tables import AgentRow, ArtifactRow, RunRow, RunStepRow, TaskRow
from ..tools.definition import check_output
from ..tools.failure import ToolFailure
from ..tools.rendering import render_templates
from ..tools.templating import TemplateProblem
from ..tools.unbroken import unbroken
from ..tools.writing import writings_folder
from .announce import Emits, announce_log, announce_run, announce_step, announce_task
from .conditions import ConditionProblem
from .failure import StepFailed, Superseded, failure_of
from .flow import next_step
from .operation import Operations, end_task
from .parallel import aggregate, distribute
from .records import ENDED_RUN, ENDED_STEP, ENDED_TASK, spec_of
from .reporter import Reporter
from .runtime import Runtime
from .work import Work, WorkList

__all__ = ["RunFlow", "end_run"]

MAX_STEP_OUTPUT_BYTES = 16 * 1024 * 1024
"""Of parallel operations together; each has its own limit."""


@dataclass(frozen=True, slots=True)
class _StepEnd:
    """How performing a step ended. `output` is whatever JSON holds."""

    step_id: str
    status: StepStatus
    output: Any = None
    error: tuple[str, str] | None = None


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
                await unbroken(self._take_over_files(run_id, segment))
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
            _touch(run)
            announce_run(outbox, run, "started")
        rows = await _steps_of(session, run_id)
        current = next((row for row in rows.values() if row.status == StepStatus.RUNNING), None)
        if end is not None and current is not None and current.id == end.step_id:
            await self._end_step(session, outbox, run, current, end)
            if end.status is StepStatus.FAILED:
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
                step_id = steps[0].id if run.at_step is None else next_step(steps, run.at_step, _names(run, rows))
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
            _touch(run)
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
        """With tasks that were left open by a crash before the run was cancelled."""
        open_tasks = select(TaskRow).where(
            TaskRow.run_id == run.id, TaskRow.step_id == row.id, TaskRow.status.not_in(ENDED_TASK)
        )
        for task in (await session.execute(open_tasks.order_by(TaskRow.created_at, TaskRow.id))).scalars().all():
            await end_task(outbox, session, task, TaskStatus.CANCELLED, error=("cancelled", "its step has ended"))
        run.faults = 0  # it has come further: only faults without progress add up
        row.status = end.status
        row.output = end.output
        row.error = None if end.error is None else failure_of(*end.error).model_dump(mode="json")
        row.ended_at = utc_now()
        self._pass(outbox, run, row)

    @staticmethod
    def _pass(outbox: Outbox, run: RunRow, row: RunStepRow) -> None:
        run.at_step = row.id
        run.steps_finished += 1
        _touch(run)
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
        names = _names(run, rows)
        attempts = step.retry.attempts if step.retry else 1
        attempt = row.attempt
        while True:
            try:
                output = await self._attempt(run, step, attempt, names, work)
                return _StepEnd(step_id, StepStatus.COMPLETED, output=output)
            except StepFailed as failure:
                if attempt >= attempts or failure.code == "template_failed":
                    return _StepEnd(step_id, StepStatus.FAILED, error=(failure.code, failure.message))
                pause = (step.retry.delay_seconds if step.retry else 0.0) * 2 ** (attempt - 1)
                attempt += 1
                await unbroken(self._note_retry(run, step_id, attempt, failure, pause))
                await asyncio.sleep(pause)

    async def _attempt(self, run: RunRow, step: Step, attempt: int, names: JsonObject, work: Work) -> Any:
        """The step's output, of whatever type JSON holds."""
        slot = self._operations.slot(run.owner_id)
        try:
            parameters = await render_templates(step.parameters, names, seconds=step.timeout_seconds, slot=slot)
        except TemplateProblem as problem:
            raise StepFailed("template_failed", str(problem)) from None
        if isinstance(step, StandardStep):
            operations = [(step.agent, step.operation, parameters)]
        elif isinstance(step, ParallelStep):
            shares = distribute(parameters, step.input_distribution, len(step.agents))
            operations = [(*_split(entry), share) for entry, share in zip(step.agents, shares, strict=True)]
        else:
            raise StepFailed("step_type_unsupported", f"steps of type {step.type!r} are not built yet")
        tasks = await unbroken(self._open_tasks(run, step, attempt, operations))

        async def fence(tx: Transaction) -> None:
            await _require_segment(tx.session, run.id, run.segment)

        reporter = Reporter(self._database, fence)
        async with reporter.running():
            outputs = await _together([self._operations.carry_out(task, work, reporter) for task in tasks], work)
        if not isinstance(step, ParallelStep):
            return outputs[0]
        try:
            output = aggregate(outputs, step.output_aggregation, names)
            check_output("the step", output, MAX_STEP_OUTPUT_BYTES)
        except ConditionProblem as problem:
            raise StepFailed("condition_failed", str(problem)) from None
        except ToolFailure as failure:
            raise StepFailed(failure.code, failure.message) from None
        return output

    async def _open_tasks(
        self, run: RunRow, step: Step, attempt: int, operations: Sequence[tuple[str, str, JsonObject]]
    ) -> Sequence[TaskRow]:
        """The attempt's tasks: made now, or found as a crash left them."""
        async with self._database.write() as tx:
            await _require_segment(tx.session, run.id, run.segment)
            made = select(TaskRow).where(
                TaskRow.run_id == run.id, TaskRow.step_id == step.id, TaskRow.attempt == attempt
            )
            found = (await tx.session.execute(made.order_by(TaskRow.place))).scalars().all()
            if found:
                _log_interruption(tx, run, step.id)
                return found
            names = {agent for agent, _, _ in operations}
            agents = {
                row.name: row
                for row in (
                    await tx.session.execute(
                        select(AgentRow).where(AgentRow.owner_id == run.owner_id, AgentRow.name.in_(names))
                    )
                ).scalars()
            }
            for name in sorted(names - agents.keys()):
                raise StepFailed("agent_not_found", f"the agent {name!r} is not there any more")
            tasks: list[TaskRow] = []
            for place, (agent, operation, parameters) in enumerate(operations):
                now = utc_now()
                task = TaskRow(
                    id=new_id("tsk"),
                    owner_id=run.owner_id,
                    version=1,
                    created_at=now,
                    updated_at=now,
                    agent_id=agents[agent].id,
                    agent=agent,
                    operation=operation,
                    parameters=parameters,
                    description=step.description,
                    status=TaskStatus.QUEUED,
                    run_id=run.id,
                    step_id=step.id,
                    attempt=attempt,
                    place=place,
                    segment=run.segment,
                    faults=0,
                    timeout_seconds=step.timeout_seconds,
                )
                tx.session.add(task)
                announce_task(tx, task, "created")
                tasks.append(task)
            return tasks

    async def _note_retry(self, run: RunRow, step_id: str, attempt: int, failure: StepFailed, pause: float) -> None:
        async with self._database.write() as tx:
            await _require_segment(tx.session, run.id, run.segment)
            row = await tx.session.get(RunStepRow, (run.id, step_id))
            if row is None:
                raise Superseded
            row.attempt = attempt
            message = (
                f"attempt {attempt - 1} failed ({failure.code}: {failure.message}); the next begins in {pause:g} s"
            )
            announce_log(tx, run.owner_id, run.id, LogLevel.WARNING, message, step_id=step_id, task_id=None)

    async def _take_over_files(self, run_id: str, segment: int) -> None:
        """Before a retry's first step: the files of the steps that it reuses, and their entries.

        Done again after a crash, it ends the same. A file that has been removed by hand is not taken over, nor one in
        whose place the caller has put another by now. What was uploaded to the old run comes along, whatever became of
        its steps. An old run that never began may not have taken over its own yet: then those of the run before it
        come too.

        Raises:
            Superseded: the segment has lost the run.
        """
        async with self._database.read() as session:
            run = await session.get(RunRow, run_id)
            if run is None or run.segment != segment or run.retry_of is None or run.status != RunStatus.QUEUED:
                return
            entries = await _files_before(session, run)
        folder = self._operations.workspace(run_id)
        copies = writings_folder(folder) / run_id
        sources = {name: self._operations.workspace(entry.run_id) for name, entry in entries.items()}
        try:
            copied = await asyncio.to_thread(_copy_files, sources, copies)
            async with self._database.write() as tx:
                await _require_segment(tx.session, run_id, segment)
                named = await tx.session.execute(select(ArtifactRow.name).where(ArtifactRow.run_id == run_id))
                taken = set(named.scalars())
                names = [name for name in copied if name not in taken]
                for name in await asyncio.to_thread(_place_files, copies, folder, names):
                    values = {c.name: getattr(entries[name], c.name) for c in ArtifactRow.__table__.columns}
                    tx.session.add(ArtifactRow(**{**values, "run_id": run_id}))
        finally:
            await asyncio.to_thread(shutil.rmtree, copies, ignore_errors=True)

    async def _read(self, run_id: str) -> tuple[RunRow | None, dict[str, RunStepRow]]:
        async with self._database.read() as session:
            return await session.get(RunRow, run_id), await _steps_of(session, run_id)


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
    for row in (await _steps_of(session, run.id)).values():
        if row.status not in ENDED_STEP:
            row.status = StepStatus.SKIPPED
    run.status = status
    run.wish = None
    run.output = output
    run.error = None if error is None else failure_of(*error).model_dump(mode="json")
    run.ended_at = utc_now()
    _touch(run)
    announce_run(to, run, status.value)


async def _together(operations: Sequence[Any], work: Work) -> list[Any]:
    """All results in order. The first failure cancels the others, and is raised once they have ended."""
    tasks = [asyncio.ensure_future(operation) for operation in operations]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if any(not task.cancelled() and not isinstance(task.exception(), StepFailed | None) for task in done):
            # Not a failure of the step: the others are not cancelled for good, but go on in the next segment.
            work.stopped_by = work.stopped_by or "fault"
    finally:
        for task in tasks:
            task.cancel()
        while not all(task.done() for task in tasks):
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                continue  # each of them is being cancelled already; whoever cancels us is obeyed below
    failed = [t.exception() for t in tasks if not t.cancelled() and t.exception() is not None]
    for error in sorted(failed, key=lambda e: isinstance(e, StepFailed)):
        if error is not None:
            raise error  # Superseded and faults of the server's own before a step's failure
    if any(t.cancelled() for t in tasks):
        raise asyncio.CancelledError
    return [t.result() for t in tasks]


async def _require_segment(session: AsyncSession, run_id: str, segment: int) -> None:
    """The fence: locks the run's row, so that no takeover can come between the check and the write."""
    row = (
        await session.execute(select(RunRow.segment, RunRow.status).where(RunRow.id == run_id).with_for_update())
    ).one_or_none()
    if row is None or row.segment != segment or row.status in ENDED_RUN:
        raise Superseded


async def _steps_of(session: AsyncSession, run_id: str) -> dict[str, RunStepRow]:
    found = await session.execute(select(RunStepRow).where(RunStepRow.run_id == run_id).order_by(RunStepRow.position))
    return {row.id: row for row in found.scalars()}


def _names(run: RunRow, rows: dict[str, RunStepRow]) -> JsonObject:
    """What templates and conditions can name. A step that has not run has the output None."""
    steps = {row.id: {"output": row.output, "status": row.status} for row in rows.values()}
    at = rows.get(run.at_step) if run.at_step is not None else None
    return {"inputs": run.inputs, "steps": steps, "output": None if at is None else at.output}


def _split(entry: str) -> tuple[str, str]:
    agent, _, operation = entry.partition(":")
    return agent, operation


def _log_interruption(tx: Transaction, run: RunRow, step_id: str) -> None:
    message = f"step {step_id!r} was interrupted, and goes on"
    announce_log(tx, run.owner_id, run.id, LogLevel.WARNING, message, step_id=step_id, task_id=None)


async def _files_before(session: AsyncSession, run: RunRow) -> dict[str, ArtifactRow]:
    """What a retry takes over, by name: of the nearest run that has it."""
    reused = select(RunStepRow.id).where(RunStepRow.run_id == run.id, RunStepRow.status == StepStatus.REUSED)
    wanted = or_(ArtifactRow.step_id.in_(reused), ArtifactRow.step_id.is_(None))
    found: dict[str, ArtifactRow] = {}
    before = run.retry_of
    while before is not None:
        files = select(ArtifactRow).where(ArtifactRow.run_id == before, wanted)
        for entry in (await session.execute(files)).scalars():
            found.setdefault(entry.name, entry)
        old = await session.get(RunRow, before)
        before = old.retry_of if old is not None and old.started_at is None else None
    return found


# The caller's own file, or a nearer run's, may stand where a folder is needed, or the other way round: it stays.
_IN_THE_WAY = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def _copy_files(sources: Mapping[str, Path], copies: Path) -> list[str]:
    """Those of the files that are there, and which they are; `sources` has their workspaces by their names."""
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    copied: list[str] = []
    for name, source in sources.items():
        if (source / name).is_file():
            with contextlib.suppress(*_IN_THE_WAY):
                (copies / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, copies / name)
                shutil.copystat(source / name, copies / name)  # its entry tells of this time
                copied.append(name)
    return copied


def _place_files(copies: Path, target: Path, names: Sequence[str]) -> set[str]:
    """Moves copies to their places, and says which it did."""
    placed: set[str] = set()
    for name in names:
        with contextlib.suppress(*_IN_THE_WAY):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (copies / name).replace(target / name)
            placed.add(name)
    return placed


def _touch(run: RunRow) -> None:
    run.version += 1
    run.updated_at = utc_now()
