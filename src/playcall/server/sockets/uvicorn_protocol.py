"""uvicorn's WebSocket protocol, with an end that does not depend on the peer.

uvicorn closes a transport in good order: what is buffered goes out first. A peer that has stopped reading, or is no more,
takes nothing, and would keep its socket, its buffer and the end of the server waiting for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame
    from websockets.http11 import Request

__all__ = ["ABORT", "BoundedProtocol"]

ABORT: Final = "playcall.abort"
"""The ASGI extension: under `call`, a function that ends the connection now, whatever the peer does."""

CLOSE_SECONDS: Final = 10.0
"""What a peer has to take the last frames and close, once the application is through with it."""
SHUTDOWN_SECONDS: Final = 1.0
"""The same when the server ends: it has been told goodbye before."""


class BoundedProtocol(WebSocketsSansIOProtocol):
    """Each of uvicorn's own closes is followed by an abort; nothing that a client sends piles up in memory."""

    _abort_timer: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # else the upgrade was no good, and no application runs
            self.scope.setdefault("extensions", {})[ABORT] = {"call": self.transport.abort}

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self._abort_within(CLOSE_SECONDS)

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_within(SHUTDOWN_SECONDS)

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by a refusal; else uvicorn logs an error for each

    def handle_ping(self) -> None:
        """RFC 6455 section 5.5.3 lets us answer the last of several: pongs that nobody reads would pile up in memory."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """An empty part of a message adds nothing but its entry in a list, and counts for no limit."""
        if event.data or event.fin:
            super().handle_cont(event)

    def _abort_within(self, seconds: float) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(seconds, self.transport.abort)
