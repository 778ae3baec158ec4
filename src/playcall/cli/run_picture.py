"""What a run's events say so far, as a view needs it: steps, their tasks, how far each is; and a line for each event.

No I/O and no clock: the same events give the same picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from ..event_words import words_of
from ..models.event import AnyEvent, RunStepData, TaskData, TaskProgressData
from ..models.ids import StepId, TaskId
from ..models.run import RunStep, StepStatus
from ..models.task import TaskStatus
from .terminal_text import one_line

__all__ = ["TYPE_WIDTH", "Bar", "Picture", "style_of"]

TYPE_WIDTH: Final = 22
"""Of the column in which an event's type stands."""

_ENDED_WELL = {StepStatus.COMPLETED, StepStatus.REUSED, StepStatus.SKIPPED, TaskStatus.COMPLETED}
_ENDED_BADLY = {StepStatus.FAILED, StepStatus.CANCELLED, TaskStatus.FAILED, TaskStatus.CANCELLED}

_STYLES: Final = {
    "created": "dim",
    "progress": "dim",
    "log": "dim",
    "changed": "dim",
    "started": "cyan",
    "finished": "green",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "red",
}


def style_of(type: str) -> str:
    """How an event's type is coloured, by what its last word means; "" for no colour."""
    return _STYLES.get(type.rpartition(".")[2], "")


@dataclass(slots=True)
class Bar:
    """How far one step or task is: `done` of `total`; `total` is None while it is not known.

    `level` is 0 for a step and 1 for a task under it.
    """

    label: str
    level: int = 0
    status: str = "pending"
    done: float = 0
    total: float | None = None
    agent: str = ""
    """Who does it, which tells apart the tasks of a step that are one operation of several agents."""

    @property
    def well(self) -> bool:
        return self.status in _ENDED_WELL

    @property
    def badly(self) -> bool:
        return self.status in _ENDED_BADLY

    @property
    def waiting(self) -> bool:
        return self.status in ("pending", "queued")

    @property
    def figure(self) -> str:
        """Beside the bar: `12/29`, or a word."""
        if self.badly or self.waiting or self.total is None:
            return self.status
        digits = 1 if self.total % 1 else 0
        done = self.done if digits else int(self.done)  # of whole things, those that are whole
        return f"{done:.{digits}f}/{self.total:.{digits}f}"


@dataclass(slots=True)
class _Step:
    bar: Bar
    tasks: dict[TaskId, Bar] = field(default_factory=dict[TaskId, Bar])


class Picture:
    """Feed it each event once, in order."""

    def __init__(self, steps: Sequence[StepId]) -> None:
        """`steps`: the playbook's, in its order."""
        self._steps = {step: _Step(Bar(step)) for step in steps}
        self._tasks: dict[TaskId, Bar] = {}
        self._began: datetime | None = None
        self.events = 0

    def know(self, steps: Iterable[RunStep]) -> None:
        """Where the steps stand, as they were read: of what happened before, no event need come."""
        for step in steps:
            self._step(step.id).bar.status = step.status

    def take_whole(self, event: AnyEvent) -> str:
        """As `take`; the line is whole, with seq, time and type."""
        line = self.take(event)
        at = self.elapsed_seconds(event)
        return f"{event.seq:>5} {at:>7.2f} s  {one_line(event.type):<{TYPE_WIDTH}}{line}".rstrip()

    def take(self, event: AnyEvent) -> str:
        """Notes what the event says, and gives its line for people, without seq and type."""
        self.events += 1
        self._began = self._began or event.time
        operation = ""
        match event.data:
            case RunStepData(step=step):
                self._step(step.id).bar.status = step.status
            case TaskData(task=task):
                self._task(task.id, task.operation, task.step_id, task.agent or "").status = task.status
            case TaskProgressData() as progress:
                bar = self._task(progress.task_id, "task", progress.step_id)
                bar.done, bar.total = progress.done, progress.total
                operation = bar.label
            case _:
                pass
        return one_line(words_of(event, operation=operation))

    def elapsed_seconds(self, event: AnyEvent) -> float:
        """Since the first event, by the backend's clock."""
        return 0.0 if self._began is None else (event.time - self._began).total_seconds()

    @property
    def bars(self) -> list[Bar]:
        """Each step; under a step that shares its work, each of its tasks."""
        rows: list[Bar] = []
        for step in self._steps.values():
            tasks = list(step.tasks.values())
            if len(tasks) == 1:
                step.bar.done, step.bar.total = tasks[0].done, tasks[0].total
            elif tasks:
                step.bar.done, step.bar.total = sum(_share(task) for task in tasks), len(tasks)
            if step.bar.well and step.bar.total is None:
                step.bar.done, step.bar.total = 1, 1
            rows.append(step.bar)
            if len(tasks) > 1:
                same = len({task.label for task in tasks}) < len(tasks)
                rows.extend(replace(task, label=f"{task.agent}: {task.label}") if same else task for task in tasks)
        return rows

    def _step(self, id: StepId) -> _Step:
        return self._steps.setdefault(id, _Step(Bar(id)))

    def _task(self, id: TaskId, operation: str, step: StepId | None, agent: str = "") -> Bar:
        bar = self._tasks.get(id)
        if bar is None:
            bar = self._tasks[id] = Bar(one_line(operation), level=1, agent=one_line(agent))
            if step is not None:
                self._step(step).tasks[id] = bar
        return bar


def _share(task: Bar) -> float:
    """How much of the task is done; one that has not ended is never quite 1, whatever it says of itself."""
    if task.well:
        return 1
    return 0.99 * min(1.0, task.done / task.total) if task.total else 0
