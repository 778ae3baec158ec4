"""What the rest of the server needs of the engine that executes runs."""

from __future__ import annotations

from typing import Protocol

__all__ = ["EnginePort"]


class EnginePort(Protocol):
    async def launch(self) -> None:
        """Begin to work; in the running loop, once the tables are there."""
        ...

    async def shutdown(self) -> None:
        """Stop. What has not ended goes on at the next launch."""
        ...

    def agent_changed(self, agent_id: str) -> None:
        """An agent was started, stopped or changed, and that has been committed."""
        ...
