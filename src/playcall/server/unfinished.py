"""What a server that was killed has left half done in workspaces: settled at the next start, by the entries' word."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from .store.database import Database
from .store.tables import ArtifactRow
from .tools.writing import Note, Writing

__all__ = ["settle_unfinished"]

_log = logging.getLogger("playcall.server")


async def settle_unfinished(database: Database, workspaces: Path) -> None:
    """To be called before anything is written there. A file stays if its entry was committed, else it is taken back.

    What cannot be settled now is logged, and tried again at the next start.
    """
    for writing in await asyncio.to_thread(lambda: list(Writing.left(workspaces))):
        try:
            note = await asyncio.to_thread(writing.note)
            if note is not None and not await _is_accepted(database, note):
                await asyncio.to_thread(writing.take_back, workspaces / note.workspace)
        except OSError as error:
            _log.warning("file_not_taken_back", exc_info=error)
            continue
        await asyncio.to_thread(writing.remove)


async def _is_accepted(database: Database, note: Note) -> bool:
    async with database.read() as session:
        row = await session.get(ArtifactRow, (note.workspace, note.name))
    return row is not None and row.sha256 == note.sha256
