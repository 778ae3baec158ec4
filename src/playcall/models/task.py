"""Tasks: one operation for one agent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from .base import JsonObject, Open, RequestModel, Resource, WireModel
from .ids import AgentId, RunId, StepId, TaskId
from .names import Name, Seconds


class TaskStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Failure(WireModel, frozen=True):
    """Why a task, step or run failed: a stable `code` for programs and a sentence for people."""

    code: str
    message: str


class TaskSpec(RequestModel, frozen=True):
    """A task of one's own: `agent` is an agent's name or id, `operation` one of its tools."""

    agent: Name
    operation: Name
    parameters: JsonObject = {}
    description: str = ""
    timeout_seconds: Seconds | None = None


class TaskPatch(RequestModel, frozen=True):
    """The fields to change; `parameters` only while the task is queued."""

    description: str | None = None
    parameters: JsonObject | None = None


class Task(Resource, frozen=True):
    """A stored task. `run_id` and `step_id` are None for a task that a user made.

    `agent_id` and `agent` are None where a tool was called directly, without an agent.

    `ended_at` is there once the task has ended, whatever its status is called.
    """

    id: TaskId
    agent_id: AgentId | None = None
    agent: str | None = None
    operation: str
    parameters: JsonObject = {}
    description: str = ""
    status: Open[TaskStatus]
    output: Any = None
    error: Failure | None = None
    run_id: RunId | None = None
    step_id: StepId | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    timeout_seconds: float | None = None
