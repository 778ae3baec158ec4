"""What the server does by itself, beside what it is asked."""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy import select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from .auth.gate import Gate
from .store.database import Database
from .store.tables.log import TopicRow

__all__ = ["look_after"]

logger = logging.getLogger("playcall.server")

POLL_SECONDS = 1.0
USE_SECONDS = 30.0
TOPICS_AT_ONCE = 200
"""SQLite takes a bounded number of parameters in one statement."""


async def look_after(database: Database, gate: Gate) -> None:
    """Until cancelled: one look a second at the heads of the topics that somebody waits for, in case a wake-up was
    missed; and now and then, when API keys were last used.
    """
    written_at = time.monotonic()
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            await _poll(database)
            if time.monotonic() - written_at >= USE_SECONDS:
                written_at = time.monotonic()
                await gate.write_down_use()
        except SQLAlchemyError as error:
            # It comes round again; requests tell their callers themselves.
            logger.warning("caretaker_failed", extra={"error": type(error).__name__})


async def _poll(database: Database) -> None:
    watched = database.wakes.watched()
    for first in range(0, len(watched), TOPICS_AT_ONCE):
        some = watched[first : first + TOPICS_AT_ONCE]
        async with database.read() as session:
            rows = await session.execute(
                select(TopicRow.owner_id, TopicRow.name, TopicRow.head).where(
                    tuple_(TopicRow.owner_id, TopicRow.name).in_(some)
                )
            )
            for owner_id, name, head in rows:
                database.wakes.wake_behind(owner_id, name, head)
