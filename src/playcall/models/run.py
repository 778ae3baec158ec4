"""Runs: one execution of a playbook."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from .base import JsonObject, Open, Resource, WireModel
from .ids import PlaybookId, RunId, StepId, TaskId
from .task import Failure


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    REUSED = "reused"
    """Its output was taken from the run that this one retries."""


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class RunWish(StrEnum):
    CANCEL = "cancel"
    PAUSE = "pause"


class Run(Resource, frozen=True):
    """A stored run.

    `ended_at` is there once the run has ended, whatever its status is called. `wish` is what a caller asked for and the
    run has not obeyed yet. `retry_of` is the run whose finished outputs this one reuses.
    """

    id: RunId
    playbook_id: PlaybookId
    playbook_name: str
    playbook_version: int
    status: Open[RunStatus]
    wish: Open[RunWish] | None = None
    inputs: JsonObject = {}
    output: Any = None
    error: Failure | None = None
    steps_total: int
    steps_finished: int
    retry_of: RunId | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class RunStep(WireModel, frozen=True):
    """How one step of a run stands. `attempt` counts from 1, `iteration` too for a step that loops."""

    id: StepId
    type: str
    description: str = ""
    status: Open[StepStatus]
    attempt: int = 0
    output: Any = None
    error: Failure | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class LogLine(WireModel, frozen=True):
    """One line that a run wrote; `seq` is its place in the run's topic."""

    seq: int
    at: datetime
    level: Open[LogLevel]
    message: str
    step_id: StepId | None = None
    task_id: TaskId | None = None


class Artifact(WireModel, frozen=True):
    """A file of a run, made by it or brought to it. `name` is its path within the run's workspace."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: datetime
    step_id: StepId | None = None
