"""A FastAPI service that does something once for each run that has ended, though it may be killed at any moment.

    PLAYCALL_URL=… PLAYCALL_API_KEY=… LEDGER=ledger.sqlite3 uvicorn service:app

What it does is to write a line into its own database. The line and the event's place in the log are committed together:
after a crash both are there or neither is, and the service goes on after the place that it finds. What was said while it
was away is not missed, because the backend keeps it. Where it was away for longer than that, or the backend's database was
put back from a backup, the gap is written down as well, for somebody to look into.

`GET /ledger` gives the lines, `GET /health` how far the service has come, and its gaps; 503 with the reason where it cannot
go on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiosqlite
from fastapi import FastAPI, Request, Response

from playcall import AsyncPlaycall, Cursor, Gap
from playcall.models.event import AnyEvent, RunData
from playcall.models.ids import EventId

TOPIC = "runs"
TYPES = ["run.completed", "run.failed", "run.cancelled"]
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS ledger (event_id TEXT PRIMARY KEY, run_id TEXT NOT NULL, playbook TEXT NOT NULL, status TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS gaps (lost_after TEXT NOT NULL, resume TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS place (topic TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, event_id TEXT);
"""


async def read_place(database: aiosqlite.Connection) -> Cursor | Literal["start"]:
    async with database.execute("SELECT epoch, seq, event_id FROM place WHERE topic = ?", (TOPIC,)) as rows:
        row = await rows.fetchone()
    if row is None:
        return "start"
    epoch, seq, event_id = row
    return Cursor(epoch, seq, EventId(event_id) if event_id else None)


async def take(database: aiosqlite.Connection, item: AnyEvent | Gap, place: Cursor) -> None:
    """The work, and that it is done, in one transaction."""
    if isinstance(item, Gap):
        line = (str(item.lost_after), str(item.resume), item.reason)
        await database.execute("INSERT INTO gaps VALUES (?, ?, ?)", line)
    elif isinstance(item.data, RunData):
        run = item.data.run
        values = (item.id, run.id, run.playbook_name, run.status)
        # IGNORE is for after a gap: of a database that was put back, what it has kept comes again, under the same ids.
        await database.execute("INSERT OR IGNORE INTO ledger VALUES (?, ?, ?, ?)", values)
    at = (TOPIC, place.epoch, place.seq, place.event_id)
    await database.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", at)
    await database.commit()


async def consume(client: AsyncPlaycall, database: aiosqlite.Connection) -> None:
    start = await read_place(database)
    async with client.events.subscribe(TOPIC, types=TYPES, start=start, on_gap="yield") as feed:
        async for item in feed:
            if feed.cursor is not None:  # the place of this item
                await take(database, item, feed.cursor)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    path = os.environ.get("LEDGER", "ledger.sqlite3")
    # A connection to write and one to read: a line that is not committed yet is nobody's business.
    async with aiosqlite.connect(path) as writing, aiosqlite.connect(path) as reading, AsyncPlaycall() as client:
        await writing.executescript(TABLES)
        consuming = asyncio.create_task(consume(client, writing))
        app.state.reading, app.state.consuming, app.state.client = reading, consuming, client
        yield
        consuming.cancel()
        await asyncio.wait({consuming})  # raises nothing: where it could not go on, /health has said why


app = FastAPI(title="Ledger", lifespan=lifespan)


@app.get("/ledger")
async def ledger(request: Request) -> list[dict[str, Any]]:
    async with request.app.state.reading.execute("SELECT * FROM ledger ORDER BY rowid") as rows:
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in await rows.fetchall()]


@app.get("/health")
async def health(request: Request, response: Response) -> dict[str, Any]:
    consuming: asyncio.Task[None] = request.app.state.consuming
    if consuming.done() and not consuming.cancelled():
        response.status_code = 503
        return {"status": "stopped", "why": str(consuming.exception())}
    reading, client = request.app.state.reading, request.app.state.client
    async with reading.execute("SELECT lost_after, reason FROM gaps ORDER BY rowid") as rows:
        gaps = [f"{reason}: unknown is what came after {lost}" for lost, reason in await rows.fetchall()]
    place = await read_place(reading)
    return {"status": "ok", "place": str(place), "events": str(client.events.picture.state), "gaps": gaps}
