"""A run's rows, as those who work on it read and lock them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import JsonObject
from ..clock import utc_now
from ..store.tables import ResourceRow, RunRow, RunStepRow
from .failure import Superseded
from .records import ENDED_RUN

__all__ = ["names_of", "require_segment", "steps_of", "touch"]


async def require_segment(session: AsyncSession, run_id: str, segment: int) -> None:
    """The fence: locks the run's row, so that no takeover can come between the check and the write.

    Raises:
        Superseded: the segment has lost the run, or the run has ended.
    """
    row = (
        await session.execute(select(RunRow.segment, RunRow.status).where(RunRow.id == run_id).with_for_update())
    ).one_or_none()
    if row is None or row.segment != segment or row.status in ENDED_RUN:
        raise Superseded


async def steps_of(session: AsyncSession, run_id: str) -> dict[str, RunStepRow]:
    found = await session.execute(select(RunStepRow).where(RunStepRow.run_id == run_id).order_by(RunStepRow.position))
    return {row.id: row for row in found.scalars()}


def names_of(run: RunRow, rows: Mapping[str, RunStepRow]) -> JsonObject:
    """What templates and conditions can name. A step that has not run has the output None."""
    steps = {row.id: {"output": row.output, "status": row.status, "error": row.error} for row in rows.values()}
    return {"inputs": run.inputs, "steps": steps}


def touch(row: ResourceRow) -> None:
    """It has changed: every change counts."""
    row.version += 1
    row.updated_at = utc_now()
