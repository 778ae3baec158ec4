"""Operations that wait until their agents are started: told by this process, or found out for all of them at once."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ...models import AgentState
from ..store.database import Database
from ..store.tables import AgentRow
from ..tools.unbroken import unbroken

__all__ = ["AgentWaits"]

_log = logging.getLogger("playcall.server.engine")

POLL_SECONDS = 2.0
"""How long a start of an agent may go unnoticed that another process made."""
_AT_ONCE = 500
"""Agents asked for by one statement."""


class AgentWaits:
    """Belongs to the server's loop. The poll runs only while somebody waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._poll: asyncio.Task[None] | None = None

    def changed(self, agent_id: str) -> None:
        """The agent was started, stopped or deleted: whoever waits for it looks again."""
        for event in self._waiting.get(agent_id, ()):
            event.set()

    async def until_works(self, agent_id: str) -> None:
        """Returns at once unless the agent is stopped; one that does not exist is not."""
        event = asyncio.Event()
        self._waiting[agent_id].add(event)
        try:
            while True:
                event.clear()
                if not await unbroken(self._stopped([agent_id])):
                    return
                if self._poll is None or self._poll.done():
                    self._poll = asyncio.create_task(self._look_again(), name="playcall-agent-poll")
                await event.wait()
        finally:
            self._waiting[agent_id].discard(event)
            if not self._waiting[agent_id]:
                del self._waiting[agent_id]
            if not self._waiting and self._poll is not None:
                self._poll.cancel()
                self._poll = None

    async def _look_again(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_SECONDS)
            waiting = sorted(self._waiting)
            for start in range(0, len(waiting), _AT_ONCE):
                some = waiting[start : start + _AT_ONCE]
                try:
                    stopped = await unbroken(self._stopped(some))
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("agents_not_read", extra={"error": type(error).__name__})
                    break  # the next round asks again
                for agent_id in some:
                    if agent_id not in stopped:
                        self.changed(agent_id)

    async def _stopped(self, agent_ids: list[str]) -> set[str]:
        stopped = select(AgentRow.id).where(AgentRow.id.in_(agent_ids), AgentRow.state == AgentState.STOPPED.value)
        async with self._database.read() as session:
            return set((await session.execute(stopped)).scalars())
