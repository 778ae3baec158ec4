"""What a registered handler shows on either face, and what becomes of the exceptions that it raises."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, cast

from ..errors import ClientClosedError, PlaycallError, RealtimeError
from ..models.event import AnyEvent
from .feed import Opening
from .items import Gap
from .plain_items import PlainGap
from .plain_protocol import EventT
from .set_aside import SetAside, SetAsideQueue

__all__ = ["Handler", "OnError", "OnHandlerGap", "Reactions", "RegistrationBase"]

log = logging.getLogger("playcall.realtime")

Handler: TypeAlias = Callable[[AnyEvent], Any] | Callable[[AnyEvent], Awaitable[Any]]
"""Called with each event; what it returns is not looked at, beyond being awaited if it can be."""

OnHandlerGap: TypeAlias = Callable[[Gap], Any] | Callable[[Gap], Awaitable[Any]]
OnError: TypeAlias = Literal["set_aside", "stop"]


@dataclass(frozen=True, slots=True)
class Reactions:
    """What a handler does about a gap, and about an exception."""

    on_gap: OnHandlerGap | None = None
    on_error: OnError = "set_aside"


class RegistrationBase(ABC, Generic[EventT]):
    """What a registration shows, and what becomes of an exception."""

    def __init__(self, pattern: str, opening: Opening, handler: Handler, reactions: Reactions) -> None:
        self.pattern = pattern
        self.topic = opening.want.topic
        self._handler = handler
        self._on_gap = reactions.on_gap
        self._on_error = reactions.on_error
        self._keeps_cursor = opening.cursors is not None
        self._aside = SetAsideQueue()
        self.handled = 0
        """Calls of the handler that have begun: those that raised and those of `replay` are among them."""
        self.errors = 0
        """Calls that raised."""
        self.gaps = 0
        self.error: PlaycallError | None = None
        """Why it ended by itself, None otherwise."""
        self.active = True

    def __repr__(self) -> str:
        if self.error is not None:
            state = f"ended by {type(self.error).__name__}"
        else:
            state = "active" if self.active else "ended"
        lag = "unknown" if self.lag is None else self.lag
        return (
            f"<{type(self).__name__} of {self.pattern!r} on {self.topic!r}: {state}, handled {self.handled}, "
            f"errors {self.errors}, gaps {self.gaps}, set aside {len(self._aside)}, dropped {self.dropped}, lag {lag}>"
        )

    @property
    def set_aside(self) -> tuple[SetAside[EventT], ...]:
        """Events whose handler raised, oldest first, until a `replay` of them succeeds; at most 1,000. From any thread."""
        return cast("tuple[SetAside[EventT], ...]", self._aside.entries)  # what the feed gave, which is of that type

    @property
    def dropped(self) -> int:
        """Events that were set aside when there was no more room: the oldest made way."""
        return self._aside.dropped

    @property
    @abstractmethod
    def lag(self) -> int | None:
        """How many log entries the handler is behind the newest that was heard of; None while that is not known."""

    def _raised(self, event: AnyEvent, error: BaseException) -> None:
        """Raises: RealtimeError: that ends the handler."""
        if self._on_error == "stop":
            self.errors += 1
            again = "; it does not count as processed, and comes again after a restart" if self._keeps_cursor else ""
            raise RealtimeError(
                f"the handler of {self.pattern!r} raised {type(error).__name__} for the event {event.id} "
                f"({event.type}), and is stopped by it{again}"
            ) from error
        self._aside.add(event, error)
        self.errors += 1
        self._log_raised(event, error, "the event was set aside")

    def _raised_again(self, number: int, event: AnyEvent, error: BaseException) -> None:
        self._aside.put_back(number, error)
        self.errors += 1
        self._log_raised(event, error, "it stays set aside")

    def _log_raised(self, event: AnyEvent, error: BaseException, then: str) -> None:
        log.error(
            "the handler of %r raised for the event %s (%s); %s",
            self.pattern,
            event.id,
            event.type,
            then,
            exc_info=error,
            extra={"event": "realtime.handler_failed", "event_id": event.id, "topic": self.topic},
        )

    def _lost(self, gap: Gap | PlainGap) -> None:
        self.gaps += 1
        if isinstance(gap, PlainGap):  # logged by the connection, for whoever has it in hand
            return
        log.warning(
            "events of %s after %s are gone (%s); the handler of %r goes on after %s",
            gap.topic,
            gap.lost_after,
            gap.reason,
            self.pattern,
            gap.resume,
            extra={"event": "realtime.handler_gap", "topic": self.topic},
        )

    def _on_gap_raised(self) -> None:
        log.exception("the on_gap of %r raised", self.pattern, extra={"event": "realtime.callback_failed"})

    def _ended(self, error: PlaycallError | None) -> None:
        self.active = False
        if error is None or isinstance(error, ClientClosedError):
            return
        self.error = error
        log.error(
            "the handler of %r gets no more events: %s",
            self.pattern,
            error,
            exc_info=error.__cause__,
            extra={"event": "realtime.handler_ended", "topic": self.topic},
        )

    def _ended_by(self, error: BaseException) -> RealtimeError:
        """What ended a handler that is no error of ours: its cursor store's, or a `SystemExit` in the handler."""
        kind = type(error).__name__
        if self._keeps_cursor and isinstance(error, Exception):
            why = f"its cursor store raised {kind}, so the last event may come again"
        else:
            why = f"it was ended by {kind}"
        ended = RealtimeError(f"the handler of {self.pattern!r} stops: {why}")
        ended.__cause__ = error
        return ended
