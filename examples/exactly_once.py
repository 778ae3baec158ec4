"""Effects that happen exactly once, though the program may be killed at any moment.

    python examples/exactly_once.py URL API_KEY DATABASE

Every agent that is created gets one line in the table `welcome` of the program's own SQLite database. The line, and the
event's place in the log, are written in one transaction: after a crash both are there or neither is, and the program
goes on after the place that it finds. No event has its effect twice, and none is left out.

A `CursorStore` (`cursors=`) cannot do this: it is told of an event after its effect has happened, so a crash in between
makes the event come again. That is at least once, and enough where an effect may be repeated, or can be recognised by
the event's `id`. Exactly once is for effects in the database that has the cursor; an e-mail that was sent cannot be
rolled back.

Two things are the program's own to decide. A database that is new begins with the oldest event that the backend keeps
(`start="start"`). And if it was away for longer than events are kept, or the backend's database was restored from a
backup, the feed raises EventGapError instead of going on in silence.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import Literal

from playcall import ApiKey, Cursor, Playcall
from playcall.models.event import AgentCreated
from playcall.models.ids import EventId

TABLES = """
CREATE TABLE IF NOT EXISTS welcome (agent TEXT NOT NULL, event_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS place (
    topic TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, event_id TEXT
);
"""


def read_place(database: sqlite3.Connection, topic: str) -> Cursor | Literal["start"]:
    row = database.execute("SELECT epoch, seq, event_id FROM place WHERE topic = ?", (topic,)).fetchone()
    if row is None:
        return "start"
    epoch, seq, event_id = row
    # With the event's id, a log that has another event at this place is noticed, whatever it calls its epoch.
    return Cursor(epoch, seq, None if event_id is None else EventId(event_id))


def apply(database: sqlite3.Connection, event: AgentCreated, topic: str, place: Cursor) -> None:
    with database:  # one transaction: committed at its end, rolled back by whatever goes wrong in it
        database.execute("INSERT INTO welcome VALUES (?, ?)", (event.data.agent.name, event.id))
        database.execute(
            "INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", (topic, place.epoch, place.seq, place.event_id)
        )


def welcome_agents(url: str, api_key: str, path: str) -> None:
    """Until it is interrupted, or killed."""
    topic = "agents"
    with closing(sqlite3.connect(path)) as database, Playcall(url, auth=ApiKey(api_key)) as client:
        database.executescript(TABLES)
        start = read_place(database, topic)
        print(f"going on after {start}", flush=True)
        with client.events.subscribe(topic, types=["agent.created"], start=start) as feed:
            for event in feed:
                place = feed.cursor
                if isinstance(event, AgentCreated) and place is not None:
                    apply(database, event, topic, place)
                    print(f"welcome, {event.data.agent.name}", flush=True)


if __name__ == "__main__":
    try:
        welcome_agents(*sys.argv[1:])
    except KeyboardInterrupt:
        print("closed")
