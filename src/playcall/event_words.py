"""An event in a few words for people: what it is about, and what happened to it. The terminal and the dashboard say the same."""

from __future__ import annotations

import json
from datetime import datetime

from .models.event import (
    AgentData,
    AnyEvent,
    PlaybookData,
    RunArtifactData,
    RunData,
    RunLogData,
    RunStepData,
    TaskData,
    TaskOutputDeltaData,
    TaskProgressData,
    ToolData,
)
from .models.run import Run, RunStep
from .models.task import Task

__all__ = ["file_size", "words_of"]


def words_of(event: AnyEvent, *, operation: str = "") -> str:
    """Of a type that this version does not know, its data as they came.

    Whoever wrote the event's texts may have put anything into them: whoever shows it makes it one line, of the length
    that there is room for, and shields what obeys some characters (a terminal, or what reads Markdown).

    Args:
        operation: What its task does, where the event itself does not say it.
    """
    return _said(event, operation).strip()


def file_size(count: int) -> str:
    """`512 B`, `1.4 kB`, `200.0 MB`: powers of ten, as file managers have it."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1_000 or unit == "TB":
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _said(event: AnyEvent, operation: str) -> str:
    match event.data:
        case RunData(run=run) if event.type == "run.changed":
            return f"{run.playbook_name}: {run.steps_finished:,} of {run.steps_total:,} steps finished"
        case RunData(run=run):
            return f"{run.playbook_name}: {run.status}{_because(run)}"
        case RunStepData(step=step) if step.ended_at is None:
            return f"{step.id}: {step.description or step.type}"
        case RunStepData(step=step):
            return f"{step.id} {step.status}{_after(step.started_at, step.ended_at)}{_because(step)}"
        case TaskData(task=task):
            ended = "" if task.ended_at is None else f" {task.status}{_after(task.started_at, task.ended_at)}"
            return f"{task.agent or 'a call'}: {task.operation}{ended}{_because(task)}"
        case TaskProgressData(done=done, total=total, message=message):
            return f"{operation} {done:g}{'' if total is None else f'/{total:g}'} {message}"
        case TaskOutputDeltaData(text=text):
            return text
        case RunLogData(level=level, message=message):
            return f"{level}: {message}"
        case RunArtifactData(artifact=artifact):
            return f"{artifact.name}, {file_size(artifact.size_bytes)}"
        case AgentData(agent=agent):
            return f"{agent.name}: {agent.state}"
        case PlaybookData(playbook=playbook):
            return f"{playbook.name}, version {playbook.version}"
        case ToolData(tool=tool):
            return f"{tool.name}, {tool.kind}"
        case dict() as raw:
            return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))
        case deleted:
            return ", ".join(str(each) for each in deleted.model_dump(mode="json").values())


def _because(ended: Run | RunStep | Task) -> str:
    return "" if ended.error is None else f": {ended.error.message}"


def _after(started: datetime | None, ended: datetime | None) -> str:
    return "" if started is None or ended is None else f" after {(ended - started).total_seconds():.2f} s"
