"""Many sockets that follow one topic: what an event costs the database does not grow with their number."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import event

from playcall.server.log import Wakes

from ..conftest import Api
from .test_websocket import Talk, open_socket

SOCKETS = 40


async def test_sockets_that_are_woken_together_read_the_log_together(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    # The poll, every second, may come between a commit and its wake.
    monkeypatch.setattr(Wakes, "wake_behind", lambda *_: None)
    reads: list[str] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "events" in statement:
            reads.append(statement)

    engine = api.server.core.database.reader.sync_engine
    async with AsyncExitStack() as stack:
        talks: list[Talk] = []
        for _ in range(SOCKETS):
            talk = await stack.enter_async_context(open_socket(api))
            await talk.hello()
            await talk.subscribe("runs")
            talks.append(talk)

        async def all_have(seq: int) -> None:
            await api.server.emit(api.user, "runs", data={"n": seq})
            found = await asyncio.gather(*(talk.events_to(seq, prev=seq - 1) for talk in talks))
            assert [[one["seq"] for one in events] for events in found] == [[seq]] * SOCKETS

        await all_have(1)  # what each of them read first is not counted
        event.listen(engine, "before_cursor_execute", before)
        try:
            for seq in (2, 3, 4):
                await all_have(seq)
        finally:
            event.remove(engine, "before_cursor_execute", before)
    assert len(reads) == 3, "one for each event"
