"""What the connection asks of a transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ...errors import PlaycallError
from ..states import Identity

__all__ = ["Closed", "HeaderSource", "Link", "LinkLostError", "Transport", "UpgradeRefusedError"]


HeaderSource: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]
"""Gives the headers that prove who is calling, current at each call. What it raises, the transport lets through."""


class UpgradeRefusedError(PlaycallError):
    """The far end answered, but not with a connection.

    `detail` and `code` are its own words on it (the problem's, RFC 9457), "" where it gave none.
    """

    def __init__(
        self, status: int, *, retry_after_seconds: float | None = None, detail: str = "", code: str = ""
    ) -> None:
        super().__init__(f"the upgrade was answered {status}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.detail = detail
        self.code = code


class LinkLostError(PlaycallError):
    """No connection, or it broke. `reached` and `permanent` as in `Session.lost`."""

    def __init__(self, message: str, *, reached: bool = True, permanent: bool = False) -> None:
        super().__init__(message)
        self.reached = reached
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection has ended. `code` is the far end's, 1006 when it ended without a close."""

    code: int
    reason: str = ""


class Link(Protocol):
    """One open connection."""

    async def receive(self) -> str | Closed:
        """The next frame's text, or how the connection ended; frames that came before the end come first.

        Raises:
            LinkLostError: it broke in a way that has no close code.
            UpgradeRefusedError: the far end has refused to go on, by an HTTP status.
            UnreadableFrameError: a frame that is no text; the connection is of no more use.
        """
        ...

    async def send(self, text: str) -> None:
        """Raises: LinkLostError: it could not be sent, or not in time."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Closes within a bounded time; never raises, and may be called at any time."""
        ...


class Transport(Protocol):
    """How connections to one backend are made."""

    name: str

    async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> Link:
        """Opens a connection; the caller bounds the time.

        Args:
            headers: Asked once for each HTTP request that the connection is made of.

        Raises:
            UpgradeRefusedError: it was answered with another status.
            LinkLostError: no connection.
        """
        ...

    async def identity(self, headers: Mapping[str, str]) -> Identity | None:
        """What the backend says of these credentials over HTTP; None when it could not be asked."""
        ...
