"""What the server does by itself, beside what it is asked."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from sqlalchemy import select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from playcall.models.topic import COLLECTIONS

from .auth.gate import Gate
from .clock import utc_now
from .log import expire_events
from .store.database import Database
from .store.tables.log import TopicRow

__all__ = ["look_after", "poll_heads"]

logger = logging.getLogger("playcall.server")

POLL_SECONDS = 1.0
USE_SECONDS = 30.0
EXPIRE_SECONDS = 60.0
TOPICS_AT_ONCE = 200
"""SQLite takes a bounded number of parameters in one statement."""


async def look_after(database: Database, gate: Gate, *, event_retention_seconds: float | None) -> None:
    """Until cancelled: one look a second at the heads of the topics that somebody waits for, in case a wake-up was
    missed; now and then, when API keys were last used; and events that are kept no longer.
    """
    written_at = time.monotonic()
    expire_at = written_at
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            await poll_heads(database)
            if event_retention_seconds is not None and time.monotonic() >= expire_at:
                expire_at = time.monotonic() + EXPIRE_SECONDS
                await expire_events(database, before=utc_now() - timedelta(seconds=event_retention_seconds))
            if time.monotonic() - written_at >= USE_SECONDS:
                written_at = time.monotonic()
                await gate.write_down_use()
        except SQLAlchemyError as error:
            # It comes round again; requests tell their callers themselves.
            logger.warning("caretaker_failed", extra={"error": type(error).__name__})


async def poll_heads(database: Database) -> None:
    """Wakes those who have not seen the head of their topic, and those whose topic is gone."""
    watched = database.wakes.watched()
    for first in range(0, len(watched), TOPICS_AT_ONCE):
        some = watched[first : first + TOPICS_AT_ONCE]
        async with database.read() as session:
            rows = await session.execute(
                select(TopicRow.owner_id, TopicRow.name, TopicRow.head).where(
                    tuple_(TopicRow.owner_id, TopicRow.name).in_(some)
                )
            )
            gone = set(some)
            for owner_id, name, head in rows:
                gone.discard((owner_id, name))
                database.wakes.wake_behind(owner_id, name, head)
        for owner_id, name in gone:
            if name not in COLLECTIONS:  # those are there before their first event
                database.wakes.wake_gone(owner_id, name)
