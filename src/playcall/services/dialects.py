"""What a `WebSocketClient` speaks with its far end, as far as the front needs to know: our contract, or somebody else's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ..config import API_PREFIX
from ..errors import ConfigurationError, InvalidArgumentError
from ..realtime.items import DEFAULT_WINDOW
from ..realtime.patterns import check_topic, collection_for, is_unicode
from ..realtime.plain_protocol import PlainSockets
from ..realtime.plain_session import PlainSession
from ..realtime.session import Session
from ..realtime.transports.long_poll import LongPollTransport
from ..realtime.transports.plain_websocket import PlainWebSocketTransport
from ..realtime.transports.websocket import WebSocketTransport
from .states import read_topic_state

if TYPE_CHECKING:
    from ..checks import Via
    from ..faces import Awaiting
    from ..http.pool import SessionPool
    from ..realtime.errands import ReadState
    from ..realtime.items import OnGap
    from ..realtime.lifeline import Lifeline
    from ..realtime.plain_items import PlainOnGap
    from ..realtime.transports.base import Transport
    from .api_client import APIClient

__all__ = ["Dialect", "OurContract", "TheirSockets", "dialect_of"]

PLAIN_WINDOW: Final = 1_000
"""More than for a server that waits for credit: what comes in one burst has to be held, or is lost."""

EVERYTHING: Final = "*"
"""What the one topic of a server without topics is called."""


class Dialect(Protocol):
    """Everything in which the two differ. What cannot be asked of the far end raises InvalidArgumentError."""

    keeps_log: bool
    """Whether the far end keeps its events: cursors, history and states after gaps need that."""
    default_window: int

    def address(self, url: str) -> str:
        """The address as HTTP has it."""
        ...

    def api_root(self, url: str) -> str:
        """Where the far end's HTTP begins."""
        ...

    def transports(self, url: str, pool: SessionPool, via: Via) -> tuple[Transport, Transport | None]:
        """The way to connect, and the one for where that is blocked."""
        ...

    def session(self, client: str, *, fallback: bool) -> Lifeline: ...

    def read_state(self, api: APIClient[Awaiting]) -> ReadState | None: ...

    def topic(self, topic: str) -> str: ...

    def handler_topic(self, pattern: str, topic: str | None) -> str:
        """Where a handler listens that is not told where."""
        ...

    def on_gap(self, on_gap: object) -> OnGap | PlainOnGap:
        """None is the default."""
        ...

    def check_options(self, options: Mapping[str, object]) -> None: ...


class OurContract:
    """docs/realtime-protocol.md."""

    keeps_log = True
    default_window = DEFAULT_WINDOW

    def address(self, url: str) -> str:
        return url

    def api_root(self, url: str) -> str:
        return url + API_PREFIX

    def transports(self, url: str, pool: SessionPool, via: Via) -> tuple[Transport, Transport | None]:
        if via == "long_poll":
            return LongPollTransport(url, pool), None
        return WebSocketTransport(url, pool), LongPollTransport(url, pool) if via == "auto" else None

    def session(self, client: str, *, fallback: bool) -> Lifeline:
        return Session(random=random.random, client=client, fallback=fallback)

    def read_state(self, api: APIClient[Awaiting]) -> ReadState | None:
        return partial(read_topic_state, api)

    def topic(self, topic: str) -> str:
        return check_topic(topic)

    def handler_topic(self, pattern: str, topic: str | None) -> str:
        return collection_for(pattern) if topic is None else topic

    def on_gap(self, on_gap: object) -> OnGap | PlainOnGap:
        if on_gap is None:
            return "raise"
        if on_gap not in ("raise", "yield", "snapshot"):
            raise InvalidArgumentError(f'on_gap is "raise", "yield" or "snapshot", got {on_gap!r}')
        return on_gap

    def check_options(self, options: Mapping[str, object]) -> None:
        pass


class TheirSockets:
    """A server of other people, as `protocol` says it."""

    keeps_log = False
    default_window = PLAIN_WINDOW

    def __init__(self, protocol: PlainSockets) -> None:
        self._protocol = protocol

    def address(self, url: str) -> str:
        """`ws` and `wss` are names for what begins as `http` and `https` (RFC 6455 section 3)."""
        if isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            scheme, colon, rest = url.strip().partition(":")
            if colon and scheme.lower() in ("ws", "wss"):
                return f"http{scheme[2:].lower()}:{rest}"
        return url

    def api_root(self, url: str) -> str:
        return url

    def transports(self, url: str, pool: SessionPool, via: Via) -> tuple[Transport, Transport | None]:
        return PlainWebSocketTransport(url, pool, self._protocol), None

    def session(self, client: str, *, fallback: bool) -> Lifeline:
        return PlainSession(self._protocol, random=random.random, wall_clock=partial(datetime.now, UTC))

    def read_state(self, api: APIClient[Awaiting]) -> ReadState | None:
        return None

    def topic(self, topic: str) -> str:
        given = cast("object", topic)
        if not isinstance(given, str) or not given or not is_unicode(given):
            raise InvalidArgumentError(f"a topic is a name that the server knows, got {topic!r}")
        return topic

    def handler_topic(self, pattern: str, topic: str | None) -> str:
        if topic is not None:
            return topic
        if self._protocol.topic_of is None:
            return EVERYTHING
        raise InvalidArgumentError("say topic=: only the server knows which of its topics carries what")

    def on_gap(self, on_gap: object) -> OnGap | PlainOnGap:
        if on_gap is None:
            return "mark"
        if on_gap == "snapshot":
            raise InvalidArgumentError(
                'on_gap="snapshot" reads the state of a backend of our contract: use "yield", and read yours'
            )
        if on_gap not in ("mark", "yield", "raise"):
            raise InvalidArgumentError(f'on_gap is "mark", "yield" or "raise", got {on_gap!r}')
        return on_gap

    def check_options(self, options: Mapping[str, object]) -> None:
        if options.get("start", "head") != "head":
            raise InvalidArgumentError(
                f"start={options['start']!r} needs a server that keeps its events: this one sends what happens from now on"
            )
        for name in ("cursors", "cursor_name"):
            if options.get(name):
                raise InvalidArgumentError(
                    f"{name} needs a server that can go on from a cursor: this one cannot resume"
                )


def dialect_of(session: Any, *, via: Via, authenticated: bool) -> Dialect:  # Any: callers may be untyped
    """Our contract for None. Raises: ConfigurationError: it is no protocol, or what stands beside it makes no sense."""
    if session is None:
        return OurContract()
    if not isinstance(session, PlainSockets):
        what = f"the class {session.__name__}" if isinstance(session, type) else repr(session)
        raise ConfigurationError(f"session is PlainSockets(…), or None for a backend of our contract; got {what}")
    if via == "long_poll":
        raise ConfigurationError('via="long_poll" needs our contract: with session= there is the WebSocket only')
    if not authenticated and (session.auth is not None or session.token_parameter is not None):
        raise ConfigurationError("the protocol says where the token goes, and there is none: give auth=BearerToken(…)")
    return TheirSockets(session)
