"""Waiting for stopped agents: one question to the database for all who wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playcall.server.engine import agent_waits
from playcall.server.engine.agent_waits import AgentWaits

from .conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Asked(AgentWaits):
    """Notes what the database is asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[list[str]] = []

    async def _stopped(self, agent_ids: list[str]) -> set[str]:
        self.asked.append(agent_ids)
        return await super()._stopped(agent_ids)


async def started_elsewhere(house: House, *agent_ids: str) -> None:
    """As another process does it: nobody here is told."""
    for agent_id in agent_ids:
        async with house.database.write() as tx:
            row = await tx.session.get(type(await _any(house, agent_id)), agent_id)
            assert row is not None
            row.state = "ready"


async def _any(house: House, agent_id: str) -> Any:
    from playcall.server.store.tables import AgentRow

    async with house.database.read() as session:
        return await session.get(AgentRow, agent_id)


async def test_all_who_wait_are_asked_for_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_waits, "POLL_SECONDS", 0.05)
    waits = Asked(house.database)
    agents = [(await house.agent(f"a{n}", ["wait"], state="stopped")).id for n in range(5)]
    waiting = [asyncio.create_task(waits.until_works(agent_id)) for agent_id in agents for _ in range(3)]
    async with asyncio.timeout(10):
        while [sorted(agents)] not in [waits.asked[-1:]]:
            await asyncio.sleep(0.01)
    await started_elsewhere(house, agents[0])
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting[:3])
    assert not any(task.done() for task in waiting[3:])
    assert len([asked for asked in waits.asked if len(asked) == 1]) == 15 + 3, "each asks when it comes, and when told"
    for task in waiting[3:]:
        task.cancel()
    await asyncio.wait(waiting[3:])
    assert waits._poll is None, "nobody waits, so nobody asks"


async def test_who_is_told_does_not_wait_for_the_poll(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_waits, "POLL_SECONDS", 600)
    waits = AgentWaits(house.database)
    agent = await house.agent("a", ["wait"], state="stopped")
    waiting = asyncio.create_task(waits.until_works(agent.id))
    await asyncio.sleep(0)
    await started_elsewhere(house, agent.id)
    async with asyncio.timeout(10):
        while not waiting.done():
            waits.changed(agent.id)
            await asyncio.sleep(0.01)


async def test_an_agent_that_is_gone_is_not_waited_for(house: House) -> None:
    async with asyncio.timeout(10):
        await AgentWaits(house.database).until_works("agt_gone")
