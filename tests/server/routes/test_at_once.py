"""Requests that two servers of one PostgreSQL take at the same moment."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest
from sqlalchemy import text

from playcall.server.log import NewEvent, TopicEntry
from tests.server.conftest import Api

pytestmark = pytest.mark.postgresql_only("SQLite has one writer")


async def test_a_tool_is_not_deleted_under_an_agent_that_is_just_given_it(api: Api) -> None:
    tool = await api.tool("report")
    await api.agent("first")
    database = api.server.core.database

    async def until_waiting(count: int) -> None:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        async with asyncio.timeout(30):
            while True:
                async with database.read() as session:
                    if await session.scalar(text(waiting)) == count:
                        return
                await asyncio.sleep(0.01)

    async def hold() -> None:
        async with database.write() as tx:
            # Whoever changes an agent has done all but this when it waits here.
            tx.emit(NewEvent(owner_id=api.user.id, type="test", data={}, topics=(TopicEntry("agents"),)))
            await tx.outbox.flush(tx.session)
            held.set_result(None)
            await asyncio.wrap_future(go_on)

    held: Future[None] = Future()
    go_on: Future[None] = Future()
    holding = asyncio.create_task(api.server.acall(hold()))
    await asyncio.wrap_future(held)
    given = asyncio.create_task(api("POST", "/agents", json={"name": "second", "tools": ["report"]}))
    await api.server.acall(until_waiting(1))
    deleted = asyncio.create_task(api("DELETE", f"/tools/{tool['id']}"))
    waiting = asyncio.create_task(api.server.acall(until_waiting(2)))
    await asyncio.wait([deleted, waiting], return_when=asyncio.FIRST_COMPLETED)
    go_on.set_result(None)
    await holding
    assert (await given).status == 201
    answer = await deleted
    assert answer.status == 409, answer
    assert answer.json["code"] == "tool_in_use"
    await waiting
