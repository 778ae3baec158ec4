"""What callers ask of runs and tasks, as changes within their transaction.

Whatever is returned has been written; what must follow the commit (stopping work in this process, removing folders) is
the engine's, by the methods that its caller uses.
"""

from __future__ import annotations

import contextlib

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import JsonObject, RunStatus, RunWish, TaskSpec, TaskStatus
from ..problems import ApiError
from ..store.database import Transaction
from ..store.tables import AgentRow, PlaybookRow, RunRow, TaskRow, ToolRow
from .announce import announce_run, announce_run_deleted, announce_task, announce_task_deleted
from .flow import completed_way
from .new_rows import new_run, new_steps, new_task, request_hash
from .operation import end_task
from .records import ENDED_RUN, ENDED_TASK, spec_of
from .run_flow import end_run
from .run_rows import names_of, steps_of, touch
from .runtime import Runtime

__all__ = ["RUN_WORKFLOW", "TASK_WORKFLOW", "Commands"]

RUN_WORKFLOW = "playcall.run"
TASK_WORKFLOW = "playcall.task"


class Commands:
    """Each takes rows that belong to the caller and are locked by the transaction."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def create_run(
        self, tx: Transaction, playbook: PlaybookRow, inputs: JsonObject, idempotency_key: str | None
    ) -> RunRow:
        """A queued run, with its steps and its workflow. `inputs` have been bound.

        Raises:
            ApiError: 422 `idempotency_key_reused`: the key belongs to another run of this owner, for ever.
        """
        hashed = request_hash({"playbook": playbook.id, "inputs": inputs})
        known = await _run_with(tx.session, playbook.owner_id, idempotency_key, hashed)
        if known is not None:
            return known
        snapshot: JsonObject = {
            "name": playbook.name,
            "description": playbook.description,
            "tags": playbook.tags,
            "inputs": playbook.inputs,
            "agents": playbook.agents,
            "steps": playbook.steps,
        }
        run = new_run(
            owner_id=playbook.owner_id,
            playbook_id=playbook.id,
            playbook_name=playbook.name,
            playbook_version=playbook.version,
            playbook=snapshot,
            inputs=inputs,
            steps_total=len(playbook.steps),
            idempotency_key=idempotency_key,
            request_hash=hashed,
        )
        try:
            async with tx.session.begin_nested() if idempotency_key is not None else contextlib.nullcontext():
                tx.session.add(run)
                await tx.session.flush()
        except IntegrityError:
            # Another process has started a run with the key at this moment.
            known = await _run_with(tx.session, playbook.owner_id, idempotency_key, hashed)
            if known is None:
                raise
            return known
        tx.session.add_all(new_steps(run))
        announce_run(tx, run, "created")
        await self._runtime.enqueue(tx.session, RUN_WORKFLOW, run)
        return run

    async def retry_run(self, tx: Transaction, run: RunRow) -> RunRow:
        """A new run that takes over the outputs of this one's finished steps, and, before it starts, the files they made.

        It goes on from the first step that failed, also where this run went on elsewhere after that.

        Raises:
            ApiError: 409 `run_not_ended`.
        """
        if run.status not in ENDED_RUN:
            raise _conflict("run_not_ended", f"the run is {run.status}: wait for its end, or cancel it, then retry it")
        new = new_run(
            owner_id=run.owner_id,
            playbook_id=run.playbook_id,
            playbook_name=run.playbook_name,
            playbook_version=run.playbook_version,
            playbook=run.playbook,
            inputs=run.inputs,
            steps_total=run.steps_total,
            idempotency_key=None,
            request_hash=run.request_hash,
        )
        new.retry_of = run.id
        tx.session.add(new)
        await tx.session.flush()
        rows = await steps_of(tx.session, run.id)
        statuses = {row.id: row.status for row in rows.values()}
        way = completed_way(spec_of(run.playbook), statuses, names_of(run, rows))
        tx.session.add_all(new_steps(new, reused={name: rows[name] for name in way}))
        announce_run(tx, new, "created")
        await self._runtime.enqueue(tx.session, RUN_WORKFLOW, new)
        return new

    async def cancel_run(self, tx: Transaction, run: RunRow) -> None:
        """At once if nobody works on it; else a wish, which its step obeys by stopping.

        Raises:
            ApiError: 409 `run_ended`: it has ended.
        """
        if run.status in ENDED_RUN:
            raise _conflict("run_ended", f"the run has ended already: it is {run.status}")
        if run.status == RunStatus.RUNNING:
            if run.wish != RunWish.CANCEL:
                run.wish = RunWish.CANCEL
                touch(run)
                announce_run(tx, run, "changed")
            return
        run.segment += 1  # a workflow that is just beginning finds itself superseded
        await end_run(tx, tx.session, run, RunStatus.CANCELLED, error=("cancelled", "the run was cancelled"))

    async def pause_run(self, tx: Transaction, run: RunRow) -> None:
        """Between two steps; at once if it has not begun.

        Raises:
            ApiError: 409 `run_ended`, or `run_being_cancelled`.
        """
        if run.status in ENDED_RUN:
            raise _conflict("run_ended", f"the run has ended already: it is {run.status}")
        if run.wish == RunWish.CANCEL:
            raise _conflict("run_being_cancelled", "the run is being cancelled")
        if run.status == RunStatus.RUNNING and run.wish is None:
            run.wish = RunWish.PAUSE
            touch(run)
            announce_run(tx, run, "changed")
        elif run.status == RunStatus.QUEUED:
            run.segment += 1
            run.status = RunStatus.PAUSED
            touch(run)
            announce_run(tx, run, "paused")

    async def resume_run(self, tx: Transaction, run: RunRow) -> None:
        """Goes on in a new segment; a pause that has not been obeyed yet is taken back.

        Raises:
            ApiError: 409 `run_ended`, or `run_not_paused`.
        """
        if run.status == RunStatus.RUNNING and run.wish == RunWish.PAUSE:
            run.wish = None
            touch(run)
            announce_run(tx, run, "changed")
            return
        if run.status in ENDED_RUN:
            raise _conflict("run_ended", f"the run has ended already: it is {run.status}")
        if run.status != RunStatus.PAUSED:
            raise _conflict("run_not_paused", f"the run is not paused: it is {run.status}")
        run.segment += 1
        run.status = RunStatus.QUEUED if run.started_at is None else RunStatus.RUNNING
        touch(run)
        announce_run(tx, run, "resumed")
        await self._runtime.enqueue(tx.session, RUN_WORKFLOW, run)

    async def delete_run(self, tx: Transaction, run: RunRow) -> None:
        """With its steps, tasks and artifacts; its log outlives it.

        Raises:
            ApiError: 409 `run_not_ended`, or `run_needed`: a retry has not taken over its files yet.
        """
        if run.status not in ENDED_RUN:
            raise _conflict("run_not_ended", f"the run is {run.status}: cancel it first")
        needed_by = await _retry_that_needs(tx.session, run)
        if needed_by is not None:
            raise _conflict("run_needed", f"its retry {needed_by} has not begun, and needs its files")
        tasks = await tx.session.execute(select(TaskRow).where(TaskRow.run_id == run.id).order_by(TaskRow.created_at))
        for task in tasks.scalars().all():
            announce_task_deleted(tx, task)
            await tx.session.delete(task)
        await tx.session.flush()
        announce_run_deleted(tx, run)
        await tx.session.delete(run)

    async def create_task(self, tx: Transaction, agent: AgentRow, spec: TaskSpec) -> TaskRow:
        """A queued task for the agent, with its workflow. The operation has been checked."""
        task = new_task(
            owner_id=agent.owner_id,
            operation=spec.operation,
            parameters=spec.parameters,
            description=spec.description,
            timeout_seconds=spec.timeout_seconds,
        )
        task.agent_id, task.agent = agent.id, agent.name
        return await self._begin_task(tx, task)

    async def call_tool(self, tx: Transaction, owner_id: str, tool: ToolRow, parameters: JsonObject) -> TaskRow:
        """A task without an agent."""
        task = new_task(
            owner_id=owner_id, operation=tool.name, parameters=parameters, description="", timeout_seconds=None
        )
        return await self._begin_task(tx, task)

    async def cancel_task(self, tx: Transaction, task: TaskRow) -> None:
        """At once if it has not begun; else a wish. A run's task goes with its run.

        Raises:
            ApiError: 409 `task_not_cancellable`: it has ended, or belongs to a run.
        """
        if task.status in ENDED_TASK:
            raise _conflict("task_not_cancellable", f"the task has ended already: it is {task.status}")
        if task.run_id is not None:
            raise _conflict("task_not_cancellable", f"the task belongs to the run {task.run_id}: cancel that")
        if task.status == TaskStatus.QUEUED:
            task.segment += 1
            await end_task(tx, tx.session, task, TaskStatus.CANCELLED, error=("cancelled", "it was cancelled"))
        elif task.wish is None:
            task.wish = RunWish.CANCEL
            touch(task)
            announce_task(tx, task, "changed")

    async def delete_task(self, tx: Transaction, task: TaskRow) -> None:
        """
        Raises:
            ApiError: 409 `task_not_ended`, or `task_of_run`: a run's tasks are deleted with it.
        """
        if task.status not in ENDED_TASK:
            raise _conflict("task_not_ended", f"the task is {task.status}: cancel it first")
        if task.run_id is not None:
            raise _conflict("task_of_run", f"the task belongs to the run {task.run_id}, and is deleted with it")
        announce_task_deleted(tx, task)
        await tx.session.delete(task)

    async def _begin_task(self, tx: Transaction, task: TaskRow) -> TaskRow:
        tx.session.add(task)
        await tx.session.flush()
        announce_task(tx, task, "created")
        await self._runtime.enqueue(tx.session, TASK_WORKFLOW, task)
        return task


async def _run_with(session: AsyncSession, owner_id: str, idempotency_key: str | None, hashed: str) -> RunRow | None:
    """
    Raises:
        ApiError: 422 `idempotency_key_reused`.
    """
    if idempotency_key is None:
        return None
    known = await session.scalar(
        select(RunRow).where(RunRow.owner_id == owner_id, RunRow.idempotency_key == idempotency_key)
    )
    if known is not None and known.request_hash != hashed:
        raise ApiError(422, "idempotency_key_reused", "this Idempotency-Key has started another run before")
    return known


async def _retry_that_needs(session: AsyncSession, run: RunRow) -> str | None:
    """A retry that has not taken over the run's files yet; also one of a retry that has ended before it had them."""
    before = [run.id]
    while before:
        retries = select(RunRow.id, RunRow.status).where(
            RunRow.owner_id == run.owner_id, RunRow.retry_of.in_(before), RunRow.started_at.is_(None)
        )
        found = (await session.execute(retries)).all()
        waiting = next((each for each, status in found if status not in ENDED_RUN), None)
        if waiting is not None:
            return waiting
        before = [each for each, _ in found]
    return None


def _conflict(code: str, detail: str) -> ApiError:
    return ApiError(409, code, detail)
