"""What a server that was killed has left half done in workspaces: settled by the living, by the entries' word."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from playcall.server.store.database import Database
from playcall.server.store.tables import ArtifactRow
from playcall.server.tools.writing import Note, Writing

__all__ = ["settle_unfinished"]

_log = logging.getLogger("playcall.server")


async def settle_unfinished(database: Database, workspaces: Path) -> None:
    """A file stays if its entry was committed, else it is taken back. What a living process writes is left alone.

    To be called at the start, and now and then where several processes use one folder. What cannot be settled now is
    logged, and tried again with the next call.
    """
    left = await asyncio.to_thread(Writing.left, workspaces)
    while (writing := await asyncio.to_thread(next, left, None)) is not None:
        try:
            await _settle(database, workspaces, writing)
        except OSError as error:
            _log.warning("file_not_taken_back", exc_info=error)
            writing.release()
        except BaseException:
            writing.release()
            raise
        else:
            await asyncio.to_thread(writing.remove)


async def _settle(database: Database, workspaces: Path, writing: Writing) -> None:
    note = await asyncio.to_thread(writing.note)
    if note is not None and not await _is_accepted(database, note):
        await asyncio.to_thread(writing.take_back, workspaces / note.workspace)


async def _is_accepted(database: Database, note: Note) -> bool:
    async with database.read() as session:
        row = await session.get(ArtifactRow, (note.workspace, note.name))
    return row is not None and row.sha256 == note.sha256
