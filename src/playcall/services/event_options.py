"""What subscriptions, handlers and history take beside what they are about, typed and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import InvalidArgumentError
from ..models.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..realtime.cursors import AnyCursorStore
    from ..realtime.items import Start
    from ..realtime.registration import OnError, OnHandlerGap

__all__ = [
    "HandlerOptions",
    "HistoryOptions",
    "SubscribeOptions",
    "check_cursors",
    "check_start",
    "check_window",
]

MAX_WINDOW = 100_000


class SubscribeOptions(TypedDict, total=False):
    """What `subscribe` takes beside its topic and `on_gap`."""

    types: Sequence[str] | None
    """Patterns of event types (`task.*`), filtered by the server; None for all."""
    start: Start
    """A cursor, `"start"` (the oldest kept) or `"head"` (from now on; the default)."""
    wait: bool
    """Whether opening waits for the server's answer (the default); otherwise it only registers what is wanted."""
    deadline_seconds: float | None
    """For that answer, in place of the client's; None for no bound but the context's."""
    window: int
    """Events that may wait for the consumer; beyond that they wait in the log."""
    cursors: AnyCursorStore | None
    """Where to keep how far events were processed; what it has wins over `start`."""
    cursor_name: str
    """The name in `cursors`, of one open consumer at a time; the topic and types if left out."""


class HistoryOptions(TypedDict, total=False):
    """What `history` takes beside its topic and its ends."""

    types: Sequence[str] | None
    """Patterns of event types, filtered by the server; None for all."""
    page_size: int | None
    """Events to ask for at once, up to 1,000."""


class HandlerOptions(TypedDict, total=False):
    """What `on` takes beside the pattern and the handler."""

    topic: str | None
    """Where to listen; None for the collection topic that carries the pattern."""
    start: Start
    wait: bool
    """On the blocking client, whether `on` waits for the server's answer (the default)."""
    deadline_seconds: float | None
    window: int
    on_gap: OnHandlerGap | None
    """Called, as the handler is, when events were lost for good: logged and counted anyway, and the handler goes on."""
    cursors: AnyCursorStore | None
    """Where to keep how far the handler has come: an event counts when it has returned. What is there wins over `start`."""
    cursor_name: str
    """The name in `cursors`, of one handler at a time; the topic and pattern if left out."""
    on_error: OnError
    """When the handler raises: `"set_aside"` keeps the event for `replay()` and goes on, which is the default without
    `cursors`; `"stop"` ends the handler, and the event does not count, which is the default with them."""


def check_start(start: Start) -> Start:
    if not isinstance(start, Cursor) and start not in ("start", "head"):
        raise InvalidArgumentError(f'start is "start", "head" or a Cursor, got {start!r}')
    return start


def check_cursors(options: SubscribeOptions) -> None:
    cursors = options.get("cursors")
    if cursors is None:
        if options.get("cursor_name"):
            raise InvalidArgumentError("cursor_name is a name in a store: give cursors= too")
    elif not (callable(getattr(cursors, "load", None)) and callable(getattr(cursors, "save", None))):
        raise InvalidArgumentError(f"cursors has to have the methods load and save, got {cursors!r}")


def check_window(window: Any) -> int:  # Any: callers may be untyped
    if not isinstance(window, int) or isinstance(window, bool) or not 1 <= window <= MAX_WINDOW:
        raise InvalidArgumentError(f"window is a number of events from 1 to {MAX_WINDOW}, got {window!r}")
    return window
