"""The connection that events come over, in a word or two."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from ..realtime.states import ConnectionState, StateChange

__all__ = ["Badge", "Turn"]

Turn: TypeAlias = Literal["lost", "back"]

_AT_REST: Final = {ConnectionState.IDLE, ConnectionState.CLOSING, ConnectionState.CLOSED}
"""Nobody wants a connection then, so none is missing."""


class Badge:
    """Feed it each change of state, in order."""

    def __init__(self) -> None:
        self.reconnects = 0
        self._state = ConnectionState.IDLE
        self._away = False
        self._why = ""

    def take(self, change: StateChange) -> Turn | None:
        """What the change means to whoever watches; None for a step on the way."""
        self._state = change.new
        if change.old is ConnectionState.READY and change.new not in _AT_REST:
            self._away, self._why = True, change.why
            return "lost"
        if change.new is ConnectionState.READY and self._away:
            self._away = False
            self.reconnects += 1
            return "back"
        return None

    @property
    def text(self) -> str:
        if self._state is ConnectionState.FAILED:
            return "✗ no connection"
        if self._away:
            return "↻ reconnecting"
        if self._state is ConnectionState.READY:
            times = f", {self.reconnects} reconnect{'' if self.reconnects == 1 else 's'}" if self.reconnects else ""
            return f"● connected{times}"
        return "○ connecting" if self._state not in _AT_REST else ""

    @property
    def style(self) -> str:
        if self._state is ConnectionState.FAILED:
            return "bold red"
        if self._away:
            return "bold yellow"
        return "green" if self._state is ConnectionState.READY else "dim"
