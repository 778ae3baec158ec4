"""What subscriptions and handlers take where a `WebSocketClient` speaks to somebody else's server, typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

from ..realtime.plain_items import PlainEvent, PlainGap
from ..realtime.registration import OnError

__all__ = ["OnPlainGap", "PlainHandler", "PlainHandlerOptions", "PlainSubscribeOptions"]

PlainHandler: TypeAlias = Callable[[PlainEvent[Any]], Any]
"""Called with each event, as `Handler`."""

OnPlainGap: TypeAlias = Callable[[PlainGap], Any]


class PlainSubscribeOptions(TypedDict, total=False):
    """What `subscribe` takes beside its topic and `on_gap`."""

    types: Sequence[str] | None
    """Patterns of event types (`order.*`), looked at here; None for all."""
    wait: bool
    """Whether opening waits until the subscription is in force (the default); otherwise it only registers it."""
    deadline_seconds: float | None
    """For that, in place of the client's; None for no bound but the context's."""
    window: int
    """Events and gaps that may wait for the consumer, two at least, 1,000 unless told; beyond that events are dropped, and
    a gap says so. A quarter of it may be taken up by what the consumer has just taken."""


class PlainHandlerOptions(TypedDict, total=False):
    """What `on` takes beside the pattern and the handler."""

    topic: str | None
    """Where to listen; needed where the server has topics."""
    wait: bool
    deadline_seconds: float | None
    window: int
    on_gap: OnPlainGap | None
    """Called, as the handler is, when events may have been lost: logged and counted anyway, and the handler goes on."""
    on_error: OnError
    """When the handler raises: `"set_aside"` keeps the event for `replay()` and goes on; `"stop"` ends the handler."""
