"""One attempt of a step: its operations as tasks, made now, or found as a crash left them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import JsonObject, LogLevel, Step
from ..store.database import Database, Transaction
from ..store.tables import AgentRow, RunRow, TaskRow
from ..tools.definition import check_output
from ..tools.failure import ToolFailure
from ..tools.rendering import render_templates
from ..tools.templating import TemplateProblem
from ..tools.unbroken import unbroken
from .announce import announce_log, announce_task
from .conditions import ConditionProblem
from .failure import StepFailed
from .new_rows import new_task
from .operation import Operations
from .reporter import Reporter
from .run_rows import require_segment
from .step_time import StepTime
from .steps import Operation, perform
from .steps.work import MAX_TASKS_OF_RUN
from .work import Work

__all__ = ["StepAttempt"]

MAX_STEP_OUTPUT_BYTES = 16 * 1024 * 1024
"""Of what a step makes of its operations' outputs; each has its own limit."""
MAX_HELD_BYTES = 4 * MAX_STEP_OUTPUT_BYTES
FEW = 16
"""Operations at once whose outputs, by the limit of each, cannot be more than that together."""


class StepAttempt:
    """What the step's type is given to work with: see `StepWork`. It is used once.

    `place` counts the operations in the order in which they are begun. Performing is the same function of the same
    outputs after a crash, so a task that is found at a place is that operation's.
    """

    def __init__(
        self,
        database: Database,
        operations: Operations,
        *,
        run: RunRow,
        step: Step,
        attempt: int,
        names: JsonObject,
        work: Work,
    ) -> None:
        self._database = database
        self._operations = operations
        self._run = run
        self._step = step
        self._attempt = attempt
        self._names = names
        self._work = work
        self._time = StepTime(step.timeout_seconds)
        self._reporter = Reporter(database, self._fence)
        self._place = 0
        self._found: dict[int, str] = {}
        """By their place, the ids of tasks from before a crash. What they gave is read when it is asked for: it may be much."""

    async def output(self) -> Any:
        """Performs the step. The output is whatever JSON holds.

        Raises:
            StepFailed: the attempt failed.
            Superseded: the segment has lost the run.
            asyncio.CancelledError: it was stopped, and its tools have ended.
        """
        await unbroken(self._find())
        try:
            async with self._reporter.running():
                output = await perform(self._step, self)
            await _check_output(output)
        except StepFailed as failure:
            if failure.output is not None:
                try:
                    await _check_output(failure.output)
                except ToolFailure:
                    failure.output = None  # why it failed is told all the same
            raise
        except ConditionProblem as problem:
            raise StepFailed("condition_failed", str(problem)) from None
        except ToolFailure as failure:
            raise StepFailed(failure.code, failure.message) from None
        return output

    # --- StepWork -----------------------------------------------------------------------------------------------------

    @property
    def names(self) -> Mapping[str, Any]:
        return self._names

    async def render(self, parameters: JsonObject) -> JsonObject:
        return await self._render(parameters, {})

    async def do(self, *operations: Operation) -> list[Any]:
        tasks = await self._tasks(operations)
        room = _Room(MAX_HELD_BYTES) if len(tasks) > FEW else None
        try:
            return await _together([self._carry_out(task, room) for task in tasks], self._work)
        except StepFailed as failure:
            if self._time.is_up:
                failure.is_final = True
            raise

    async def pause(self, seconds: float) -> None:
        if self._place in self._found:
            return
        left = self._time.left
        if left is not None and left <= seconds:
            raise self._out_of_time()
        with self._time.working():
            await asyncio.sleep(seconds)

    async def _carry_out(self, task: TaskRow, room: _Room | None) -> Any:
        output = await self._operations.carry_out(task, self._work, self._reporter, self._time)
        if room is not None:
            await room.take(output)
        return output

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def _tasks(self, operations: Sequence[Operation]) -> list[TaskRow]:
        places = range(self._place, self._place + len(operations))
        self._place += len(operations)
        found = [self._found[place] for place in places if place in self._found]
        if len(found) == len(operations):
            return await unbroken(self._read(found))
        if self._time.is_up:
            raise self._out_of_time()
        parameters = [
            one.parameters if one.names is None else await self._render(one.parameters, one.names) for one in operations
        ]
        return await unbroken(self._open(places[0], operations, parameters))

    async def _render(self, parameters: JsonObject, names: Mapping[str, Any]) -> JsonObject:
        slot = self._operations.slot(self._run.owner_id)
        try:
            with self._time.working():
                rendered: JsonObject = await render_templates(
                    parameters, {**self._names, **names}, seconds=self._time.left, slot=slot
                )
        except TemplateProblem as problem:
            raise StepFailed("template_failed", str(problem)) from None
        return rendered

    async def _find(self) -> None:
        """What this attempt had begun before a crash, or before another process took over."""
        run = self._run
        made = select(TaskRow.place, TaskRow.id).where(
            TaskRow.run_id == run.id, TaskRow.step_id == self._step.id, TaskRow.attempt == self._attempt
        )
        async with self._database.read() as session:
            self._found = {row.place: row.id for row in await session.execute(made)}
        if self._found:
            async with self._database.write() as tx:
                await self._fence(tx)
                message = f"step {self._step.id!r} was interrupted, and goes on"
                announce_log(tx, run.owner_id, run.id, LogLevel.WARNING, message, step_id=self._step.id, task_id=None)

    async def _read(self, ids: Sequence[str]) -> list[TaskRow]:
        tasks: list[TaskRow] = []
        async with self._database.read() as session:
            for first in range(0, len(ids), FEW):
                some = select(TaskRow).where(TaskRow.id.in_(ids[first : first + FEW]))
                tasks.extend((await session.execute(some)).scalars())
        return sorted(tasks, key=lambda task: task.place)

    async def _open(
        self, first: int, operations: Sequence[Operation], parameters: Sequence[JsonObject]
    ) -> list[TaskRow]:
        run = self._run
        async with self._database.write() as tx:
            await self._fence(tx)
            made = await tx.session.scalar(select(func.count()).where(TaskRow.run_id == run.id)) or 0
            if made + len(operations) > MAX_TASKS_OF_RUN:
                message = f"a run has {MAX_TASKS_OF_RUN:,} operations at the most, those of all its steps together"
                raise StepFailed("too_many_operations", message, is_final=True)
            agents = await self._agents(tx.session, {one.agent for one in operations})
            tasks: list[TaskRow] = []
            for index, (one, values) in enumerate(zip(operations, parameters, strict=True)):
                task = new_task(
                    owner_id=run.owner_id,
                    operation=one.operation,
                    parameters=values,
                    description=_described(self._step.description, one.note),
                    timeout_seconds=self._step.timeout_seconds,
                )
                task.agent_id, task.agent = agents[one.agent].id, one.agent
                task.run_id, task.step_id, task.segment = run.id, self._step.id, run.segment
                task.attempt, task.place = self._attempt, first + index
                task.effect = await self._effect(tx.session, one.effect, values)
                tx.session.add(task)
                announce_task(tx, task, "created")
                tasks.append(task)
            if first and run.faults:
                # It has come further, within the step: only faults without progress add up.
                await tx.session.execute(update(RunRow).where(RunRow.id == run.id).values(faults=0))
                run.faults = 0
            return tasks

    async def _agents(self, session: AsyncSession, names: set[str]) -> dict[str, AgentRow]:
        wanted = select(AgentRow).where(AgentRow.owner_id == self._run.owner_id, AgentRow.name.in_(names))
        # Held, so that none is deleted before the tasks are seen; in the order in which agents are locked everywhere.
        wanted = wanted.order_by(AgentRow.id).with_for_update(read=True, key_share=True)
        agents = {row.name: row for row in (await session.execute(wanted)).scalars()}
        for name in sorted(names - agents.keys()):
            raise StepFailed("agent_not_found", f"the agent {name!r} is not there any more")
        return agents

    async def _effect(self, session: AsyncSession, effect: str, parameters: JsonObject) -> str:
        """The idempotency key's last part: the same in a later attempt of the step, if the parameters are the same.

        With others it is a new effect: a far end would refuse the key, or answer with what the first one did.
        """
        if self._attempt == 1:
            return effect
        earlier = select(TaskRow.effect, TaskRow.parameters).where(
            TaskRow.run_id == self._run.id,
            TaskRow.step_id == self._step.id,
            TaskRow.attempt < self._attempt,
            TaskRow.effect.in_([effect, *(f"{effect}@{attempt}" for attempt in range(2, self._attempt))]),
        )
        found = (await session.execute(earlier.order_by(TaskRow.attempt, TaskRow.place))).all()
        for known, values in found:
            if known is not None and values == parameters:
                return known
        return f"{effect}@{self._attempt}" if found else effect

    async def _fence(self, tx: Transaction) -> None:
        await require_segment(tx.session, self._run.id, self._run.segment)

    def _out_of_time(self) -> StepFailed:
        return StepFailed("timeout", f"the step has taken the {self._time.seconds:g} s that it may", is_final=True)


class _Room:
    """What operations that are done at once may give together: all of it is held until the last has ended."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken = 0

    async def take(self, output: Any) -> None:
        """Raises StepFailed: `output_too_large`."""
        self._taken += await asyncio.to_thread(lambda: len(json.dumps(output, ensure_ascii=False)))
        if self._taken > self._max_bytes:
            message = f"operations that are done at once give {self._max_bytes:,} bytes together at the most"
            raise StepFailed("output_too_large", message, is_final=True)


async def _check_output(output: Any) -> None:
    await asyncio.to_thread(check_output, "the step", output, MAX_STEP_OUTPUT_BYTES)


def _described(description: str, note: str) -> str:
    if not note:
        return description
    return f"{description} ({note})" if description else note


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
    for error in sorted(failed, key=_weight):
        if error is not None:
            raise error
    if any(t.cancelled() for t in tasks):
        raise asyncio.CancelledError
    return [t.result() for t in tasks]


def _weight(error: BaseException | None) -> int:
    """Superseded and faults of the server's own come first, and what failed before what was stopped because of it."""
    if not isinstance(error, StepFailed):
        return 0
    return 2 if error.code == "cancelled" else 1
