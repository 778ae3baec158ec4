"""Events: one class for each type, with its typed payload.

An event's class tells its type: `isinstance(event, TaskProgress)` makes `event.data` a `TaskProgressData`. A type that
this version does not know, or a payload it cannot read, arrives as `UnknownEvent` with the raw payload.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field, GetPydanticSchema

from .agent import Agent
from .base import JsonObject, Open
from .ids import AgentId, EventId, PlaybookId, RunId, StepId, TaskId, ToolId
from .playbook import Playbook
from .run import Artifact, LogLevel, Run, RunStep
from .struct import WireStruct
from .task import Task
from .tool import Tool

DataT = TypeVar("DataT", covariant=True)


class Event(WireStruct, Generic[DataT], frozen=True, kw_only=True):
    """One entry of a topic's log.

    `id` never changes, and is the same where one event stands in several topics; `seq` is its place in the topic it was
    read from. `terminal`: the topic ends with this event.
    """

    seq: int
    id: EventId
    time: datetime
    type: str
    terminal: bool = False
    data: DataT


# --- payloads ---------------------------------------------------------------------------------------------------------


class RunData(WireStruct, frozen=True):
    """The whole run as it stood after the event."""

    run: Run


class RunDeletedData(WireStruct, frozen=True):
    run_id: RunId


class RunStepData(WireStruct, frozen=True):
    run_id: RunId
    step: RunStep


_Level: TypeAlias = Annotated[str, GetPydanticSchema(lambda _, handler: handler.generate_schema(Open[LogLevel]))]
"""An open enumeration as msgspec knows it: a string."""


class RunLogData(WireStruct, frozen=True):
    """`level` equals a `LogLevel`, unless it is one that this version does not know."""

    run_id: RunId
    level: _Level
    message: str
    step_id: StepId | None = None
    task_id: TaskId | None = None


class RunArtifactData(WireStruct, frozen=True):
    run_id: RunId
    artifact: Artifact


class TaskData(WireStruct, frozen=True):
    """The whole task as it stood after the event."""

    task: Task


class TaskProgressData(WireStruct, frozen=True, kw_only=True):
    """`done` of `total` units; `total` is None while it is not known."""

    task_id: TaskId
    run_id: RunId | None = None
    step_id: StepId | None = None
    done: float
    total: float | None = None
    message: str = ""


class TaskOutputDeltaData(WireStruct, frozen=True, kw_only=True):
    """A piece of text that a model has just written.

    `round` counts the model's turns: each text before it calls tools, and the answer, is one of its own. `offset` is the
    place of `text` within its round, in characters; 0 begins the round anew, also where a crash made it be asked again.
    """

    task_id: TaskId
    run_id: RunId | None = None
    step_id: StepId | None = None
    round: int
    offset: int
    text: str


class TaskDeletedData(WireStruct, frozen=True):
    task_id: TaskId


class PlaybookData(WireStruct, frozen=True):
    """A playbook too large for an event comes without its steps, and says so: `get` has them."""

    playbook: Playbook
    steps_left_out: bool = False


class PlaybookDeletedData(WireStruct, frozen=True):
    playbook_id: PlaybookId


class AgentData(WireStruct, frozen=True):
    agent: Agent


class AgentDeletedData(WireStruct, frozen=True):
    agent_id: AgentId


class ToolData(WireStruct, frozen=True):
    tool: Tool


class ToolDeletedData(WireStruct, frozen=True):
    tool_id: ToolId


# --- run:ID, and the run's life also in `runs` -------------------------------------------------------------------------


class RunCreated(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.created"]


class RunStarted(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.started"]


class RunChanged(Event[RunData], frozen=True, kw_only=True):
    """A wish was made of it, or its count of finished steps moved."""

    type: Literal["run.changed"]


class RunPaused(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.paused"]


class RunResumed(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.resumed"]


class RunCompleted(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.completed"]


class RunFailed(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.failed"]


class RunCancelled(Event[RunData], frozen=True, kw_only=True):
    type: Literal["run.cancelled"]


class RunDeleted(Event[RunDeletedData], frozen=True, kw_only=True):
    """Only in `runs`: the run's own topic has ended by then."""

    type: Literal["run.deleted"]


class RunStepStarted(Event[RunStepData], frozen=True, kw_only=True):
    type: Literal["run.step.started"]


class RunStepFinished(Event[RunStepData], frozen=True, kw_only=True):
    """The step has ended; its status tells how."""

    type: Literal["run.step.finished"]


class RunLog(Event[RunLogData], frozen=True, kw_only=True):
    type: Literal["run.log"]


class RunArtifactCreated(Event[RunArtifactData], frozen=True, kw_only=True):
    type: Literal["run.artifact.created"]


# --- task:ID, agent:ID, `tasks`, and run:ID for a run's own tasks ------------------------------------------------------


class TaskCreated(Event[TaskData], frozen=True, kw_only=True):
    type: Literal["task.created"]


class TaskStarted(Event[TaskData], frozen=True, kw_only=True):
    type: Literal["task.started"]


class TaskChanged(Event[TaskData], frozen=True, kw_only=True):
    type: Literal["task.changed"]


class TaskProgress(Event[TaskProgressData], frozen=True, kw_only=True):
    """High-rate: in `run:ID` and `task:ID`, never in `tasks`."""

    type: Literal["task.progress"]


class TaskOutputDelta(Event[TaskOutputDeltaData], frozen=True, kw_only=True):
    """High-rate, as `task.progress` is. The whole answer is the task's output when it has completed."""

    type: Literal["task.output.delta"]


class TaskCompleted(Event[TaskData], frozen=True, kw_only=True):
    type: Literal["task.completed"]


class TaskFailed(Event[TaskData], frozen=True, kw_only=True):
    type: Literal["task.failed"]


class TaskCancelled(Event[TaskData], frozen=True, kw_only=True):
    type: Literal["task.cancelled"]


class TaskDeleted(Event[TaskDeletedData], frozen=True, kw_only=True):
    type: Literal["task.deleted"]


# --- `playbooks`, `agents`, `tools` ------------------------------------------------------------------------------------


class PlaybookCreated(Event[PlaybookData], frozen=True, kw_only=True):
    type: Literal["playbook.created"]


class PlaybookChanged(Event[PlaybookData], frozen=True, kw_only=True):
    type: Literal["playbook.changed"]


class PlaybookDeleted(Event[PlaybookDeletedData], frozen=True, kw_only=True):
    type: Literal["playbook.deleted"]


class AgentCreated(Event[AgentData], frozen=True, kw_only=True):
    type: Literal["agent.created"]


class AgentChanged(Event[AgentData], frozen=True, kw_only=True):
    type: Literal["agent.changed"]


class AgentDeleted(Event[AgentDeletedData], frozen=True, kw_only=True):
    type: Literal["agent.deleted"]


class ToolCreated(Event[ToolData], frozen=True, kw_only=True):
    type: Literal["tool.created"]


class ToolChanged(Event[ToolData], frozen=True, kw_only=True):
    type: Literal["tool.changed"]


class ToolDeleted(Event[ToolDeletedData], frozen=True, kw_only=True):
    type: Literal["tool.deleted"]


class UnknownEvent(Event[JsonObject], frozen=True, kw_only=True):
    """A type this version does not know, or a payload it cannot read: nothing is lost by it."""


KnownEvent: TypeAlias = Annotated[
    RunCreated
    | RunStarted
    | RunChanged
    | RunPaused
    | RunResumed
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunDeleted
    | RunStepStarted
    | RunStepFinished
    | RunLog
    | RunArtifactCreated
    | TaskCreated
    | TaskStarted
    | TaskChanged
    | TaskProgress
    | TaskOutputDelta
    | TaskCompleted
    | TaskFailed
    | TaskCancelled
    | TaskDeleted
    | PlaybookCreated
    | PlaybookChanged
    | PlaybookDeleted
    | AgentCreated
    | AgentChanged
    | AgentDeleted
    | ToolCreated
    | ToolChanged
    | ToolDeleted,
    Field(discriminator="type"),
]

AnyEvent: TypeAlias = Annotated[KnownEvent | UnknownEvent, Field(union_mode="left_to_right")]
