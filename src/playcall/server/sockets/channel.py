"""What a connection needs of the socket: texts in, texts out, closed once."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Channel", "ChannelClosedError"]


class ChannelClosedError(Exception):
    """The other end is gone, or we have closed: nothing more can be sent."""


class Channel(Protocol):
    async def receive(self) -> str | bytes | None:
        """The next message; bytes for a binary one, None once the socket has closed."""
        ...

    async def send(self, text: str) -> None:
        """Waits while the peer reads too slowly.

        Raises:
            ChannelClosedError: It is closed, or the peer has read nothing for so long that it is.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Closing twice, or a closed one, does nothing. Returns soon, though the peer may never learn of it."""
        ...

    def abort(self) -> None:
        """Close without a word."""
        ...
