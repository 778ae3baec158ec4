"""What the server does by itself, beside what it is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, tuple_

from playcall.models.topic import COLLECTIONS

from .auth.gate import Gate
from .clock import utc_now
from .log import expire_events
from .store.database import Database
from .store.tables.log import TopicRow

__all__ = ["expire_old", "look_after", "poll_heads"]

logger = logging.getLogger("playcall.server")

POLL_SECONDS: Final = 1.0
USE_SECONDS: Final = 30.0
EXPIRE_SECONDS: Final = 60.0
TOPICS_AT_ONCE: Final = 200
"""SQLite takes a bounded number of parameters in one statement."""


async def look_after(database: Database, gate: Gate, *, event_retention_seconds: float | None) -> None:
    """Until cancelled: one look a second at the heads of the topics that somebody waits for, in case a wake-up was
    missed; now and then, when API keys were last used; and events that are kept no longer.

    None waits for another: there may be much to expire.
    """
    async with asyncio.TaskGroup() as chores:
        chores.create_task(_every(POLL_SECONDS, lambda: poll_heads(database)))
        chores.create_task(_every(USE_SECONDS, gate.write_down_use))
        if event_retention_seconds is not None:
            kept = event_retention_seconds
            chores.create_task(_every(EXPIRE_SECONDS, lambda: expire_old(database, utc_now(), kept), at_once=True))


async def _every(seconds: float, chore: Callable[[], Awaitable[object]], *, at_once: bool = False) -> None:
    if not at_once:
        await asyncio.sleep(seconds)
    while True:
        try:
            await chore()
        except Exception as error:
            # Whatever it was, it comes round again; requests tell their callers themselves.
            logger.warning("caretaker_failed", extra={"error": type(error).__name__})
        await asyncio.sleep(seconds)


async def expire_old(database: Database, now: datetime, kept_seconds: float) -> None:
    """Drops the events that are older than that."""
    try:
        before = now - timedelta(seconds=kept_seconds)
    except OverflowError:
        return  # from before the calendar: there are none
    await expire_events(database, before=before)


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
