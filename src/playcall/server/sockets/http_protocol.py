"""uvicorn's HTTP protocol, with an end to waiting for a request's head.

uvicorn bounds how long a connection is idle between two requests, and nothing before: whoever connects and says nothing, or a
byte now and then, would keep a socket for ever, and a process has a thousand or so. From its head on a request has a deadline
(`playcall.server.middleware`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["PromptProtocol"]

HEAD_SECONDS: Final = 30.0


class PromptProtocol(H11Protocol):
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """`Any`: uvicorn's own type is narrower than that of asyncio's protocols."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """The time counts from the head's first byte, of a new connection from its beginning; what comes changes nothing."""
        if self.conn.their_state is not h11.IDLE:
            self._forget_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
