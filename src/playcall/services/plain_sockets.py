"""What a `WebSocketClient` takes and refuses where it speaks to somebody else's server, by `session=PlainSockets(…)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict, cast

from ..errors import ConfigurationError, InvalidArgumentError
from ..realtime.patterns import is_unicode
from ..realtime.plain_items import PlainEvent, PlainGap, PlainOnGap
from ..realtime.plain_protocol import PlainSockets
from ..realtime.registration import OnError

__all__ = [
    "PLAIN_WINDOW",
    "OnPlainGap",
    "PlainHandler",
    "PlainHandlerOptions",
    "PlainSubscribeOptions",
    "check_session",
    "plain_handler_topic",
    "plain_on_gap",
    "plain_topic",
    "plain_url",
    "refuse_what_needs_a_log",
]

PlainHandler: TypeAlias = Callable[[PlainEvent[Any]], Any]
"""Called with each event, as `Handler`."""

OnPlainGap: TypeAlias = Callable[[PlainGap], Any]

PLAIN_WINDOW = 1_000
"""More than for a server that waits for credit: what comes in one burst has to be held, or is lost."""

EVERYTHING = "*"
"""What the one topic of a server without topics is called."""


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


def check_session(session: object, *, via: str, authenticated: bool) -> PlainSockets | None:
    """The protocol, None for our own. Raises: ConfigurationError: it is none, or what stands beside it makes no sense."""
    if session is None:
        return None
    if not isinstance(session, PlainSockets):
        what = f"the class {session.__name__}" if isinstance(session, type) else repr(session)
        raise ConfigurationError(f"session is PlainSockets(…), or None for a backend of our contract; got {what}")
    if via == "long_poll":
        raise ConfigurationError('via="long_poll" needs our contract: with session= there is the WebSocket only')
    if not authenticated and (session.auth is not None or session.token_parameter is not None):
        raise ConfigurationError("the protocol says where the token goes, and there is none: give auth=BearerToken(…)")
    return session


def plain_url(url: str) -> str:
    """`ws` and `wss` are names for what begins as `http` and `https` (RFC 6455 section 3)."""
    if isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        scheme, colon, rest = url.strip().partition(":")
        if colon and scheme.lower() in ("ws", "wss"):
            return f"http{scheme[2:].lower()}:{rest}"
    return url


def plain_topic(topic: object) -> str:
    """Raises: InvalidArgumentError: no name."""
    if not isinstance(topic, str) or not topic or not is_unicode(topic):
        raise InvalidArgumentError(f"a topic is a name that the server knows, got {topic!r}")
    return topic


def plain_handler_topic(topic: str | None, protocol: PlainSockets) -> str:
    """Raises: InvalidArgumentError: it is not said, and there are several."""
    if topic is not None:
        return topic
    if protocol.topic_of is None:
        return EVERYTHING
    raise InvalidArgumentError("say topic=: only the server knows which of its topics carries what")


def plain_on_gap(on_gap: object) -> PlainOnGap:
    """Raises: InvalidArgumentError: it is none of them."""
    if on_gap is None:
        return "mark"
    if on_gap == "snapshot":
        raise InvalidArgumentError(
            'on_gap="snapshot" reads the state of a backend of our contract: use "yield", and read yours'
        )
    if on_gap not in ("mark", "yield", "raise"):
        raise InvalidArgumentError(f'on_gap is "mark", "yield" or "raise", got {on_gap!r}')
    return on_gap


def refuse_what_needs_a_log(options: object) -> None:
    """Raises: InvalidArgumentError: an option asks for what only a log with cursors can do."""
    given = cast("dict[str, object]", options)
    if given.get("start", "head") != "head":
        raise InvalidArgumentError(
            f"start={given['start']!r} needs a server that keeps its events: this one sends what happens from now on"
        )
    for name in ("cursors", "cursor_name"):
        if given.get(name):
            raise InvalidArgumentError(f"{name} needs a server that can go on from a cursor: this one cannot resume")
