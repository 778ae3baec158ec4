"""What a retry takes over from the run that it retries: the files of the steps whose outputs it reuses."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ...models import RunStatus, StepStatus
from ..store.database import Database
from ..store.tables import ArtifactRow, RunRow, RunStepRow
from ..tools.writing import Writing
from .run_rows import require_segment

__all__ = ["take_over_files"]


async def take_over_files(database: Database, workspace: Callable[[str], Path], run_id: str, segment: int) -> None:
    """Before a retry's first step: the files of the steps that it reuses, and their entries.

    Done again after a crash, it ends the same. A file that has been removed by hand is not taken over, nor one in
    whose place the caller has put another by now. What was uploaded to the old run comes along, whatever became of
    its steps. An old run that never began may not have taken over its own yet: then those of the run before it
    come too.

    Args:
        workspace: The folder of a run, by its id.

    Raises:
        Superseded: the segment has lost the run.
    """
    async with database.read() as session:
        run = await session.get(RunRow, run_id)
        if run is None or run.segment != segment or run.retry_of is None or run.status != RunStatus.QUEUED:
            return
        entries = await _files_before(session, run)
    folder = workspace(run_id)
    writing = await asyncio.to_thread(Writing.begin, folder)
    copies = writing.folder / "copies"
    sources = {name: workspace(entry.run_id) for name, entry in entries.items()}
    try:
        copied = await asyncio.to_thread(_copy_files, sources, copies)
        async with database.write() as tx:
            await require_segment(tx.session, run_id, segment)
            named = await tx.session.execute(select(ArtifactRow.name).where(ArtifactRow.run_id == run_id))
            taken = set(named.scalars())
            names = [name for name in copied if name not in taken]
            for name in await asyncio.to_thread(_place_files, copies, folder, names):
                values = {c.name: getattr(entries[name], c.name) for c in ArtifactRow.__table__.columns}
                tx.session.add(ArtifactRow(**{**values, "run_id": run_id}))
    finally:
        await asyncio.to_thread(writing.remove)


async def _files_before(session: AsyncSession, run: RunRow) -> dict[str, ArtifactRow]:
    """What a retry takes over, by name: of the nearest run that has it."""
    reused = select(RunStepRow.id).where(RunStepRow.run_id == run.id, RunStepRow.status == StepStatus.REUSED)
    wanted = or_(ArtifactRow.step_id.in_(reused), ArtifactRow.step_id.is_(None))
    found: dict[str, ArtifactRow] = {}
    before = run.retry_of
    while before is not None:
        files = select(ArtifactRow).where(ArtifactRow.run_id == before, wanted)
        for entry in (await session.execute(files)).scalars():
            found.setdefault(entry.name, entry)
        old = await session.get(RunRow, before)
        before = old.retry_of if old is not None and old.started_at is None else None
    return found


# The caller's own file, or a nearer run's, may stand where a folder is needed, or the other way round: it stays.
_IN_THE_WAY = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def _copy_files(sources: Mapping[str, Path], copies: Path) -> list[str]:
    """Those of the files that are there, and which they are; `sources` has their workspaces by their names."""
    copies.mkdir()
    copied: list[str] = []
    for name, source in sources.items():
        if (source / name).is_file():
            with contextlib.suppress(*_IN_THE_WAY):
                (copies / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, copies / name)
                shutil.copystat(source / name, copies / name)  # its entry tells of this time
                copied.append(name)
    return copied


def _place_files(copies: Path, target: Path, names: Sequence[str]) -> set[str]:
    """Moves copies to their places, and says which it did."""
    placed: set[str] = set()
    for name in names:
        with contextlib.suppress(*_IN_THE_WAY):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (copies / name).replace(target / name)
            placed.add(name)
    return placed
