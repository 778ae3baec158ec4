"""From the engine's rows to what the wire carries."""

from __future__ import annotations

from pydantic import TypeAdapter

from ...models import Artifact, Failure, JsonObject, PlaybookSpec, Run, RunStep, Step, Task
from ...models.ids import AgentId, PlaybookId, RunId, StepId, TaskId
from ..store.tables import ArtifactRow, RunRow, RunStepRow, TaskRow

__all__ = ["ENDED_RUN", "ENDED_STEP", "ENDED_TASK", "artifact_of", "run_of", "spec_of", "step_of", "task_of"]

ENDED_RUN = frozenset({"completed", "failed", "cancelled"})
ENDED_STEP = frozenset({"completed", "failed", "skipped", "cancelled", "reused"})
ENDED_TASK = frozenset({"completed", "failed", "cancelled"})


def run_of(row: RunRow) -> Run:
    return Run(
        id=RunId(row.id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        playbook_id=PlaybookId(row.playbook_id),
        playbook_name=row.playbook_name,
        playbook_version=row.playbook_version,
        status=row.status,
        wish=row.wish,
        inputs=row.inputs,
        output=row.output,
        error=_failure(row.error),
        steps_total=row.steps_total,
        steps_finished=row.steps_finished,
        retry_of=RunId(row.retry_of) if row.retry_of else None,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def step_of(row: RunStepRow) -> RunStep:
    return RunStep(
        id=StepId(row.id),
        type=row.type,
        description=row.description,
        status=row.status,
        attempt=row.attempt,
        output=row.output,
        error=_failure(row.error),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def task_of(row: TaskRow) -> Task:
    return Task(
        id=TaskId(row.id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        agent_id=AgentId(row.agent_id) if row.agent_id else None,
        agent=row.agent,
        operation=row.operation,
        parameters=row.parameters,
        description=row.description,
        status=row.status,
        output=row.output,
        error=_failure(row.error),
        run_id=RunId(row.run_id) if row.run_id else None,
        step_id=StepId(row.step_id) if row.step_id else None,
        started_at=row.started_at,
        ended_at=row.ended_at,
        timeout_seconds=row.timeout_seconds,
    )


def artifact_of(row: ArtifactRow) -> Artifact:
    return Artifact(
        name=row.name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created_at=row.created_at,
        step_id=StepId(row.step_id) if row.step_id else None,
    )


_spec: TypeAdapter[PlaybookSpec] = TypeAdapter(PlaybookSpec)


def spec_of(playbook: JsonObject) -> list[Step]:
    """The steps of the playbook that a run keeps; it was checked before it was stored."""
    return _spec.validate_python(playbook, extra="ignore").steps


def _failure(value: JsonObject | None) -> Failure | None:
    return None if value is None else Failure.model_validate(value)
