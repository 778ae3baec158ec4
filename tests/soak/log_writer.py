"""Events by the thousand: appended to a running backend's log by the server's own code, in the database's own transactions.

This process is then a second one on the same SQLite file. The server learns of what was committed as it would of a wake-up
that was missed: by its poll, every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from playcall.server.log import NewEvent, TopicEntry
from playcall.server.settings import DATABASE_FILE
from playcall.server.store.database import Database
from playcall.testing import LiveBackend

__all__ = ["append_events"]

A_TRANSACTION = 500
"""Events that are committed together."""


async def append_events(
    backend: LiveBackend,
    owner_id: str,
    topic: str,
    count: int,
    *,
    text_bytes: int = 100,
    on_progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Appends `count` events of type `soak.number`, whose `n` counts from 1, to a topic of that user."""
    database = Database.at(f"sqlite+aiosqlite:///{backend.data_dir / DATABASE_FILE}")
    text = "x" * text_bytes
    try:
        for begin in range(1, count + 1, A_TRANSACTION):
            end = min(begin + A_TRANSACTION, count + 1)
            async with database.write() as tx:
                for n in range(begin, end):
                    event = NewEvent(
                        owner_id=owner_id,
                        type="soak.number",
                        data={"n": n, "text": text},
                        topics=(TopicEntry(topic),),
                    )
                    tx.emit(event)
            on_progress(end - 1)
            await asyncio.sleep(0)
    finally:
        await database.close()
