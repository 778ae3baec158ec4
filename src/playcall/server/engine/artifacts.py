"""The entries of a run's files: written with the event that tells of them."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ..clock import utc_now
from ..problems import ApiError
from ..store.database import Transaction
from ..store.dialect import insert_for
from ..store.tables import ArtifactRow, RunRow
from ..tools import WrittenFile
from .announce import announce_artifact
from .records import ENDED_RUN

__all__ = ["enter_artifact", "require_open", "require_room"]


async def enter_artifact(tx: Transaction, run: RunRow, file: WrittenFile, step_id: str | None) -> ArtifactRow:
    """The file's entry, in place of an older one of its name. `step_id` is None for what no step made."""
    row = ArtifactRow(
        run_id=run.id,
        name=file.name,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        created_at=utc_now(),
        step_id=step_id,
    )
    values = {c.name: getattr(row, c.name) for c in ArtifactRow.__table__.columns}
    kept = {k: v for k, v in values.items() if k not in ("run_id", "name")}
    await tx.session.execute(
        insert_for(tx.session, ArtifactRow)
        .values(**values)
        .on_conflict_do_update(index_elements=[ArtifactRow.run_id, ArtifactRow.name], set_=kept)
    )
    announce_artifact(tx, run, row)
    return row


def require_open(run: RunRow) -> None:
    """Whether the run still takes files: its log has ended with it, and could not tell of them.

    Raises:
        ApiError: 409 `run_ended`.
    """
    if run.status in ENDED_RUN:
        raise ApiError(409, "run_ended", f"the run has ended already: it is {run.status}, and takes no more files")


async def require_room(session: AsyncSession, run: RunRow, name: str, size_bytes: int, *, max_bytes: int) -> None:
    """Whether the run's files may have so much more; to be asked under its row's lock.

    Raises:
        ApiError: 413 `run_full`.
    """
    others = select(func.coalesce(func.sum(ArtifactRow.size_bytes), 0)).where(
        ArtifactRow.run_id == run.id, ArtifactRow.name != name
    )
    taken = int(await session.scalar(others) or 0)
    if taken + size_bytes > max_bytes:
        raise ApiError(
            413,
            "run_full",
            f"the run's files have {taken:,} bytes, and may have {max_bytes:,} together: this one has {size_bytes:,}",
        )
