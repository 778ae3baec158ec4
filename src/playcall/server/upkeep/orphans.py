"""Folders of runs that are no more: what a crash left between a run's deletion and its folder's.

A database that was put back knows less than the folders beside it, and somebody may yet put back the right one. So a folder
that belongs to nothing is first set aside, goes back if its run is there again, and is removed a week later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import select, union_all

from playcall.server.store.database import Database
from playcall.server.store.tables import RunRow, TaskRow

__all__ = ["sweep_orphans"]

_log = logging.getLogger("playcall.server")

ASIDE: Final = ".orphans"
KEPT_SECONDS: Final = 7 * 86_400.0
YOUNG_SECONDS: Final = 3_600.0
"""A folder that has been touched since may be at work in another process, by another's view of the database."""
AT_ONCE: Final = 200
"""A database takes a bounded number of parameters in one statement."""
_OURS: Final = re.compile(r"(?:run|tsk)_[0-9A-Za-z]+")


async def sweep_orphans(database: Database, workspaces: Path, *, now: float | None = None) -> None:
    """Safe while runs begin: a folder is made after its run has been committed, and is read before the runs are.

    Args:
        now: Seconds since 1970, as files have them.
    """
    now = time.time() if now is None else now
    aside = workspaces / ASIDE
    standing, lying = await asyncio.gather(
        asyncio.to_thread(_ages, workspaces, now), asyncio.to_thread(_ages, aside, now)
    )
    known = await _known(database, [*standing, *lying])
    for name, age in standing.items():
        if name not in known and age > YOUNG_SECONDS:
            _log.warning("workspace_set_aside", extra={"workspace": name})
            await asyncio.to_thread(_move, workspaces / name, aside / name)
    for name, age in lying.items():
        if name in known:
            _log.warning("workspace_put_back", extra={"workspace": name})
            await asyncio.to_thread(_move, aside / name, workspaces / name)
        elif age > KEPT_SECONDS:
            await asyncio.to_thread(shutil.rmtree, aside / name, ignore_errors=True)


def _ages(folder: Path, now: float) -> dict[str, float]:
    """How long ago each was touched, in seconds."""
    ages: dict[str, float] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    ages[entry.name] = now - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        pass  # none has ever been made; or one has just gone, and the next sweep sees the rest
    return ages


async def _known(database: Database, ids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        wanted = union_all(select(RunRow.id).where(RunRow.id.in_(some)), select(TaskRow.id).where(TaskRow.id.in_(some)))
        async with database.read() as session:
            known.update((await session.execute(wanted)).scalars())
    return known


def _move(source: Path, target: Path) -> None:
    """From now on its age is the time since then. Another process may have been first."""
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        source.rename(target)
        os.utime(target)
    except OSError as error:
        _log.warning("workspace_not_moved", extra={"workspace": source.name, "error": type(error).__name__})
