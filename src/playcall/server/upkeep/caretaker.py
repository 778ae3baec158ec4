"""What the server does by itself, beside what it is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import QueuePool, select, tuple_

from playcall.models.topic import COLLECTIONS
from playcall.server.auth.gate import Gate
from playcall.server.clock import utc_now
from playcall.server.log import expire_events
from playcall.server.sockets.registry import Sockets
from playcall.server.store.database import Database
from playcall.server.store.tables.log import TopicRow
from playcall.server.telemetry import metrics
from playcall.server.upkeep.orphans import sweep_orphans
from playcall.server.upkeep.retention import (
    KEYS_KEPT,
    Removes,
    expire_credentials,
    expire_keys,
    expire_runs,
    expire_topics,
)
from playcall.server.upkeep.unfinished import settle_unfinished

__all__ = ["clear_away", "expire_old", "expire_old_runs", "look_after", "poll_heads"]

logger = logging.getLogger("playcall.server")

POLL_SECONDS: Final = 1.0
USE_SECONDS: Final = 30.0
REVOKED_SECONDS: Final = 2.0
EXPIRE_SECONDS: Final = 60.0
CLEAR_SECONDS: Final = 600.0
SWEEP_SECONDS: Final = 3_600.0
SAMPLE_SECONDS: Final = 2.0
TOPICS_AT_ONCE: Final = 200
"""SQLite takes a bounded number of parameters in one statement."""


async def look_after(
    database: Database,
    gate: Gate,
    sockets: Sockets,
    *,
    event_retention_seconds: float | None,
    run_retention_seconds: float | None = None,
    engine: Removes | None = None,
    workspaces: Path | None = None,
) -> None:
    """Until cancelled: one look a second at the heads of the topics that somebody waits for, in case a wake-up was
    missed; one in two seconds whether the credentials of open sockets are still good; now and then, when API keys were
    last used; and whatever is kept no longer.

    None waits for another: there may be much to expire. Several processes may all do the same at once.

    Args:
        engine: Removes runs; without one they stay.
        workspaces: Where folders are that may belong to nothing any more.
    """
    async with asyncio.TaskGroup() as chores:
        chores.create_task(_every(POLL_SECONDS, lambda: poll_heads(database)))
        chores.create_task(_every(USE_SECONDS, gate.write_down_use))
        chores.create_task(_every(REVOKED_SECONDS, lambda: sockets.close_revoked(gate)))
        if event_retention_seconds is not None:
            kept = event_retention_seconds
            chores.create_task(_every(EXPIRE_SECONDS, lambda: expire_old(database, utc_now(), kept), at_once=True))
        chores.create_task(_every(CLEAR_SECONDS, lambda: clear_away(database, utc_now()), at_once=True))
        if run_retention_seconds is not None and engine is not None:
            runs_kept, remover = run_retention_seconds, engine
            chores.create_task(
                _every(CLEAR_SECONDS, lambda: expire_old_runs(database, remover, utc_now(), runs_kept), at_once=True)
            )
        if workspaces is not None:
            folder = workspaces
            chores.create_task(_every(EXPIRE_SECONDS, lambda: settle_unfinished(database, folder)))
            chores.create_task(_every(SWEEP_SECONDS, lambda: sweep_orphans(database, folder), at_once=True))
        if metrics.is_on():
            chores.create_task(_every(SAMPLE_SECONDS, lambda: _sample(database), at_once=True))


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
    before = _before(now, kept_seconds)
    if before is not None:
        metrics.EXPIRED.add("event", amount=await expire_events(database, before=before))


async def expire_old_runs(database: Database, engine: Removes, now: datetime, kept_seconds: float) -> None:
    """Drops the runs, and tasks without one, that ended longer ago than that."""
    before = _before(now, kept_seconds)
    if before is not None:
        await expire_runs(database, engine, before=before)


def _before(now: datetime, kept_seconds: float) -> datetime | None:
    """None: from before the calendar, when there was nothing."""
    try:
        return now - timedelta(seconds=kept_seconds)
    except OverflowError:
        return None


async def clear_away(database: Database, now: datetime) -> None:
    """What nobody decides to keep."""
    await expire_keys(database, before=now - KEYS_KEPT)
    await expire_credentials(database, now=now)
    await expire_topics(database)


async def _sample(database: Database) -> None:
    for name, engine in (("writer", database.engine), ("reader", database.reader)):
        if isinstance(pool := engine.sync_engine.pool, QueuePool):
            metrics.CONNECTIONS.set(pool.checkedout(), name)


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
