"""The rows of runs and tasks that are just beginning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from ...models import JsonObject, RunStatus, StepStatus, TaskStatus
from ..clock import utc_now
from ..ids import new_id
from ..store.tables import RunRow, RunStepRow, TaskRow
from .records import spec_of

__all__ = ["new_run", "new_steps", "new_task", "request_hash"]


def new_run(
    *,
    owner_id: str,
    playbook_id: str,
    playbook_name: str,
    playbook_version: int,
    playbook: JsonObject,
    inputs: JsonObject,
    steps_total: int,
    idempotency_key: str | None,
    request_hash: str,
) -> RunRow:
    """Queued, and not in the session yet."""
    now = utc_now()
    return RunRow(
        id=new_id("run"),
        owner_id=owner_id,
        version=1,
        created_at=now,
        updated_at=now,
        playbook_id=playbook_id,
        playbook_name=playbook_name,
        playbook_version=playbook_version,
        playbook=playbook,
        status=RunStatus.QUEUED,
        inputs=inputs,
        segment=1,
        faults=0,
        steps_total=steps_total,
        steps_finished=0,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
    )


def new_steps(run: RunRow, *, reused: Mapping[str, RunStepRow] | None = None) -> list[RunStepRow]:
    """One row for each step of the run's playbook; those in `reused` have ended with what they gave in another run."""
    rows: list[RunStepRow] = []
    for position, step in enumerate(spec_of(run.playbook)):
        old = (reused or {}).get(step.id)
        rows.append(
            RunStepRow(
                run_id=run.id,
                id=step.id,
                position=position,
                type=step.type,
                description=step.description,
                status=StepStatus.PENDING if old is None else StepStatus.REUSED,
                attempt=0,
                output=None if old is None else old.output,
                started_at=None if old is None else old.started_at,
                ended_at=None if old is None else old.ended_at,
            )
        )
    return rows


def new_task(
    *, owner_id: str, operation: str, parameters: JsonObject, description: str, timeout_seconds: float | None
) -> TaskRow:
    """Queued, and not in the session yet."""
    now = utc_now()
    return TaskRow(
        id=new_id("tsk"),
        owner_id=owner_id,
        version=1,
        created_at=now,
        updated_at=now,
        operation=operation,
        parameters=parameters,
        description=description,
        status=TaskStatus.QUEUED,
        attempt=0,
        place=0,
        segment=1,
        faults=0,
        timeout_seconds=timeout_seconds,
    )


def request_hash(value: JsonObject) -> str:
    """By which two requests with one idempotency key are told apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
