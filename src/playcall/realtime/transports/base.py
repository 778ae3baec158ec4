"""What the connection asks of a transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ...errors import PlaycallError

__all__ = ["Closed", "Link", "LinkLostError", "Transport", "UpgradeRefusedError"]


class UpgradeRefusedError(PlaycallError):
    """The far end answered, but not with a connection. `detail` is its own word on it, "" if it gave none."""

    def __init__(self, status: int, *, retry_after_seconds: float | None = None, detail: str = "") -> None:
        super().__init__(f"the upgrade was answered {status}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.detail = detail


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

    async def dial(self, headers: Mapping[str, str], *, max_frame_bytes: int) -> Link:
        """Opens a connection; the caller bounds the time.

        Raises:
            UpgradeRefusedError: it was answered with another status.
            LinkLostError: no connection.
        """
        ...

    async def is_known(self, headers: Mapping[str, str]) -> bool | None:
        """Whether the backend accepts these credentials over HTTP; None when it could not be asked."""
        ...
