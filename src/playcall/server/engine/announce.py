"""The engine's events: which topics each stands in, and how large values are kept out of them.

A value that would make an event too large is replaced by `{"truncated": true, "size_bytes": …, "preview": …}`: the
resource itself has it whole. (A long text is cut.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel

from ...models import JsonObject, LogLevel
from ...models.event import (
    AgentData,
    RunArtifactData,
    RunData,
    RunDeletedData,
    RunLogData,
    RunStepData,
    TaskData,
    TaskDeletedData,
    TaskOutputDeltaData,
    TaskProgressData,
)
from ...models.ids import RunId, StepId, TaskId
from ...models.struct import WireStruct
from ...models.topic import AGENTS, RUNS, TASKS, agent_topic, run_topic, task_topic
from ..log import NewEvent, TopicEntry
from ..store.resources import agent_of
from ..store.tables import AgentRow, ArtifactRow, RunRow, RunStepRow, TaskRow
from .records import ENDED_RUN, ENDED_TASK, artifact_of, run_of, step_of, task_of

__all__ = [
    "Emits",
    "announce_agent",
    "announce_artifact",
    "announce_log",
    "announce_progress",
    "announce_run",
    "announce_run_deleted",
    "announce_said",
    "announce_step",
    "announce_task",
    "announce_task_deleted",
    "fitting",
]

_EVENT_BYTES = 48_000
"""Of a resource within an event: 64 KiB is the log's limit for the whole."""
_PREVIEW_CHARACTERS = 500
_LOG_CHARACTERS = 8_000
_SAID_CHARACTERS = 8_000
"""Of one event; a control character takes six bytes of JSON."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Emits(Protocol):
    """A transaction or an outbox."""

    def emit(self, event: NewEvent) -> None: ...


def announce_run(to: Emits, row: RunRow, what: str) -> None:
    """`run.WHAT` in `run:ID` and `runs`; an ending ends `run:ID`."""
    ends: Literal["finished"] | None = "finished" if what in ENDED_RUN else None
    run = fitting(run_of(row), ("output", "inputs"))
    topics = (TopicEntry(run_topic(row.id), ends=ends), TopicEntry(RUNS))
    to.emit(NewEvent(owner_id=row.owner_id, type=f"run.{what}", data=RunData(run=run), topics=topics))


def announce_run_deleted(to: Emits, row: RunRow) -> None:
    data = RunDeletedData(run_id=RunId(row.id))
    to.emit(NewEvent(owner_id=row.owner_id, type="run.deleted", data=data, topics=(TopicEntry(RUNS),)))


def announce_step(to: Emits, run: RunRow, row: RunStepRow, what: Literal["started", "finished"]) -> None:
    data = RunStepData(run_id=RunId(run.id), step=fitting(step_of(row), ("output", "description")))
    _for_run(to, run.owner_id, run.id, f"run.step.{what}", data)


def announce_artifact(to: Emits, run: RunRow, row: ArtifactRow) -> None:
    data = RunArtifactData(run_id=RunId(run.id), artifact=artifact_of(row))
    _for_run(to, run.owner_id, run.id, "run.artifact.created", data)


def announce_log(
    to: Emits, owner_id: str, run_id: str, level: LogLevel, message: str, *, step_id: str | None, task_id: str | None
) -> None:
    """One line of the run's log, which is these events and nothing else."""
    data = RunLogData(
        run_id=RunId(run_id),
        level=level,
        message=message if len(message) <= _LOG_CHARACTERS else message[:_LOG_CHARACTERS] + "…",
        step_id=StepId(step_id) if step_id else None,
        task_id=TaskId(task_id) if task_id else None,
    )
    _for_run(to, owner_id, run_id, "run.log", data)


def announce_task(to: Emits, row: TaskRow, what: str) -> None:
    """`task.WHAT` in `tasks`, `task:ID`, and the topics of its agent and run; an ending ends `task:ID`.

    What changes after the task has ended stands in `tasks` only: the others have ended, or may have.
    """
    ends = what in ENDED_TASK
    topics = [TopicEntry(TASKS)]
    if ends or row.status not in ENDED_TASK:
        topics.append(TopicEntry(task_topic(row.id), ends="finished" if ends else None))
        if row.agent_id is not None:
            topics.append(TopicEntry(agent_topic(row.agent_id)))
        if row.run_id is not None:
            topics.append(TopicEntry(run_topic(row.run_id)))
    task = fitting(task_of(row), ("output", "parameters", "description"))
    to.emit(NewEvent(owner_id=row.owner_id, type=f"task.{what}", data=TaskData(task=task), topics=tuple(topics)))


def announce_task_deleted(to: Emits, row: TaskRow) -> None:
    data = TaskDeletedData(task_id=TaskId(row.id))
    to.emit(NewEvent(owner_id=row.owner_id, type="task.deleted", data=data, topics=(TopicEntry(TASKS),)))


def announce_progress(to: Emits, row: TaskRow, done: float, total: float | None, message: str) -> None:
    """High-rate: in the task's, its agent's and its run's topic, never in `tasks`."""
    data = TaskProgressData(
        task_id=TaskId(row.id),
        run_id=RunId(row.run_id) if row.run_id else None,
        step_id=StepId(row.step_id) if row.step_id else None,
        done=done,
        total=total,
        message=message[:_PREVIEW_CHARACTERS],
    )
    to.emit(NewEvent(owner_id=row.owner_id, type="task.progress", data=data, topics=_high_rate(row)))


def announce_said(to: Emits, row: TaskRow, round: int, offset: int, text: str) -> None:
    """High-rate, as progress is; a long text is several events."""
    for start in range(0, len(text), _SAID_CHARACTERS):
        data = TaskOutputDeltaData(
            task_id=TaskId(row.id),
            run_id=RunId(row.run_id) if row.run_id else None,
            step_id=StepId(row.step_id) if row.step_id else None,
            round=round,
            offset=offset + start,
            text=text[start : start + _SAID_CHARACTERS],
        )
        to.emit(NewEvent(owner_id=row.owner_id, type="task.output.delta", data=data, topics=_high_rate(row)))


def _high_rate(row: TaskRow) -> tuple[TopicEntry, ...]:
    topics = [task_topic(row.id)]
    if row.agent_id is not None:
        topics.append(agent_topic(row.agent_id))
    if row.run_id is not None:
        topics.append(run_topic(row.run_id))
    return tuple(TopicEntry(topic) for topic in topics)


def announce_agent(to: Emits, row: AgentRow) -> None:
    topics = (TopicEntry(AGENTS), TopicEntry(agent_topic(row.id)))
    data = AgentData(agent=agent_of(row))
    to.emit(NewEvent(owner_id=row.owner_id, type="agent.changed", data=data, topics=topics))


def fitting(model: ModelT, fields: Sequence[str]) -> ModelT:
    """The model, with as many of `fields` cut as it takes for an event to hold it."""
    for field in fields:
        if len(model.model_dump_json().encode()) <= _EVENT_BYTES:
            return model
        model = model.model_copy(update={field: _cut(getattr(model, field))})
    return model


def _cut(value: Any) -> JsonObject | str:
    """`Any`: an output is whatever JSON holds. A text field stays a text."""
    if isinstance(value, str):
        return value[:_PREVIEW_CHARACTERS] + "…"
    text = json.dumps(value, ensure_ascii=False)
    return {"truncated": True, "size_bytes": len(text.encode()), "preview": text[:_PREVIEW_CHARACTERS]}


def _for_run(to: Emits, owner_id: str, run_id: str, type: str, data: WireStruct) -> None:
    to.emit(NewEvent(owner_id=owner_id, type=type, data=data, topics=(TopicEntry(run_topic(run_id)),)))
