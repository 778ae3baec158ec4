"""`WebSocketClient`: subscriptions and handlers over one connection; its other face is `BlockingWebSocketClient`.

    async with WebSocketClient("http://127.0.0.1:8000", auth=ApiKey("pk_…")) as client:
        async with client.subscribe("tasks", types=["task.failed"]) as feed:
            async for event in feed: ...

Servers that know nothing of our contract are spoken to by `session=PlainSockets(…)` (docs/your-own-backend.md, «WebSockets»).

What is promised, and what not, is docs/realtime.md; how it is done, `playcall.realtime`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, cast, overload

from typing_extensions import Unpack

from ..checks import Via, check_via
from ..config import DEFAULT_DEADLINE_SECONDS
from ..deadline import check_seconds
from ..errors import ClientClosedError, ConfigurationError, InvalidArgumentError
from ..home_process import HomeProcess
from ..http.auth import check_auth
from ..http.paths import base_url
from ..http.pool import SessionPool
from ..http.proxies import ENVIRONMENT, proxy_for
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..realtime.connection import Connection
from ..realtime.feed import Feed, Opening
from ..realtime.handlers import Registration
from ..realtime.items import Gap, OnGap, Snapshot, Want
from ..realtime.patterns import check_topic, check_types, is_unicode
from ..realtime.plain_items import PlainEvent, PlainGap, PlainOnGap
from ..realtime.plain_protocol import Contract, EventT
from ..realtime.registration import Handler, Reactions
from ..realtime.states import ConnectionState, RealtimePicture, StateChange, SubscriptionChange
from .dialects import dialect_of
from .event_options import (
    HandlerOptions,
    HistoryOptions,
    SubscribeOptions,
    check_cursors,
    check_start,
    check_window,
)
from .history import read_history
from .plain_sockets import PlainHandler, PlainHandlerOptions, PlainSubscribeOptions

if TYPE_CHECKING:
    from ..faces import Awaiting
    from ..http.auth import Auth
    from ..http.proxies import Proxy
    from ..realtime.transports.base import Transport
    from .api_client import APIClient

__all__ = ["WebSocketClient"]

T = TypeVar("T")

log = logging.getLogger("playcall.realtime")

USER_AGENT = "playcall/0.1"
_parked: list[Connection] = []

JOIN_SECONDS = 2.0
"""How long `close()` waits for handlers that are in the middle of an event."""


class WebSocketClient(HomeProcess, Generic[EventT]):
    """The async face. It connects when something is first wanted, and stays connected until `close()`.

    Each event loop that it is used on has a connection of its own. `EventT` follows from `session`: with `PlainSockets`, for
    servers of other people, events are `PlainEvent`s.
    """

    def __init__(
        self,
        url: str,
        *,
        session: Contract[EventT] | None = None,
        auth: Auth | None = None,
        via: Via = "auto",
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy = ENVIRONMENT,
        user_agent: str = USER_AGENT,
        api: APIClient[Awaiting] | None = None,
        pool: SessionPool | None = None,
        transport: Transport | None = None,
    ) -> None:
        """A client of the backend at `url`.

        Args:
            url: `http://host:port`, without the API's prefix; with `session` any address, `ws://…` and `wss://…` too.
            session: What a server speaks that knows nothing of our contract: `PlainSockets(…)`.
            auth: `ApiKey`, `BearerToken`, `OAuth2Password` or your own.
            via: `"websocket"`; `"long_poll"`, which goes through where upgrades do not; `"auto"` for the first, or the
                second for as long as the first is blocked.
            deadline_seconds: How long opening a subscription waits for the server's answer.
            ssl_context: For a private certificate authority or client certificates; None for the system's trust.
            proxy: As for `Playcall`.
            user_agent: What `hello` says.
            api: The HTTP client whose credentials and status are shared, in place of `auth`; whoever gives it closes it.
            pool: Its connections. Then `ssl_context` and `proxy` are the pool's affair.
            transport: Another way to carry frames, in place of `via`.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        if auth is not None and api is not None:
            raise ConfigurationError("give auth= or api=, not both")
        check_via(via, "via")
        check_auth(auth)
        if not is_unicode(user_agent):
            raise ConfigurationError(f"user_agent is not Unicode: {user_agent!r}")
        if session is not None and user_agent != USER_AGENT:
            raise ConfigurationError("user_agent is said in the hello of our contract: with session= nobody hears it")
        self._dialect = dialect_of(session, via=via, authenticated=auth is not None or api is not None)
        self._url = base_url(self._dialect.address(url))
        self._deadline_seconds = (
            None if deadline_seconds is None else check_seconds(deadline_seconds, "deadline_seconds")
        )
        self._user_agent = user_agent
        self._owns_pool, self._owns_api = pool is None, api is None
        self._pool = SessionPool(ssl_context, proxy=proxy_for(self._url, proxy)) if pool is None else pool
        self._api = _api(self._dialect.api_root(self._url), auth, self._pool) if api is None else api
        self._transport, self._fallback = (
            (transport, None) if transport is not None else self._dialect.transports(self._url, self._pool, via)
        )
        self._board = None if api is None else api.engine.status
        self._connections: list[Connection] = []
        self._registrations: set[Registration[Any]] = set()
        self._callbacks: list[Callable[[StateChange], object]] = []
        self._subscription_callbacks: list[Callable[[SubscriptionChange], object]] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    # --- subscriptions ------------------------------------------------------------------------------------------------

    @overload
    def subscribe(
        self: WebSocketClient[AnyEvent],
        topic: str,
        *,
        on_gap: Literal["raise"] = "raise",
        **options: Unpack[SubscribeOptions],
    ) -> Feed[AnyEvent]: ...
    @overload
    def subscribe(
        self: WebSocketClient[AnyEvent], topic: str, *, on_gap: Literal["yield"], **options: Unpack[SubscribeOptions]
    ) -> Feed[AnyEvent | Gap]: ...
    @overload
    def subscribe(
        self: WebSocketClient[AnyEvent], topic: str, *, on_gap: Literal["snapshot"], **options: Unpack[SubscribeOptions]
    ) -> Feed[AnyEvent | Snapshot]: ...
    @overload
    def subscribe(
        self: WebSocketClient[PlainEvent[Any]],
        topic: str,
        *,
        on_gap: Literal["mark", "raise"] = "mark",
        **options: Unpack[PlainSubscribeOptions],
    ) -> Feed[PlainEvent[Any]]: ...
    @overload
    def subscribe(
        self: WebSocketClient[PlainEvent[Any]],
        topic: str,
        *,
        on_gap: Literal["yield"],
        **options: Unpack[PlainSubscribeOptions],
    ) -> Feed[PlainEvent[Any] | PlainGap]: ...
    def subscribe(
        self, topic: str, *, on_gap: OnGap | PlainOnGap | None = None, **options: Unpack[SubscribeOptions]
    ) -> Feed[Any]:  # Any: as the overloads have it
        """The events of a topic: `async with client.subscribe(topic) as feed`, then iterate. See `SubscribeOptions`.

        Args:
            topic: `run:ID`, `task:ID`, `agent:ID`, or `playbooks`, `runs`, `agents`, `tasks`, `tools`.
            on_gap: When events are lost for good: `raise` EventGapError (the default); `yield` a `Gap` where they stood and
                go on; or give a `Snapshot` there, the state as it stands, read over HTTP, and go on from its place in the
                log. With `PlainSockets`: `mark` the next event by its `after_gap` (the default), `yield` a `PlainGap` before
                it, or `raise` EventsMissedError.

        Raises:
            InvalidArgumentError: an argument makes no sense. Everything else is raised when the feed is entered.
            ClientClosedError: the client is closed.
        """
        self.refuse_closed()
        return Feed(self, self.opening(topic, on_gap, options))

    @overload
    def on(
        self: WebSocketClient[AnyEvent], pattern: str, handler: Handler, **options: Unpack[HandlerOptions]
    ) -> Registration: ...
    @overload
    def on(
        self: WebSocketClient[PlainEvent[Any]],
        pattern: str,
        handler: PlainHandler,
        **options: Unpack[PlainHandlerOptions],
    ) -> Registration[PlainEvent[Any]]: ...
    def on(self, pattern: str, handler: Any, **options: Any) -> Registration[Any]:  # Any: as the overloads have it
        """Has `handler(event)` called for each event whose type matches `pattern`, one after another. See `HandlerOptions`.

        Registered at once, connected or not; `await client.on(...)` returns when the server has answered. The handler's
        exceptions are logged and counted, the event is set aside, and the next delivered; see `on_error`. What is no
        coroutine function runs on a thread of its own; see `Registration`.

        Raises:
            InvalidArgumentError: only the topic of one run or task carries the pattern: say `topic=`; or an option makes
                no sense.
            ClientClosedError: the client is closed.
        """
        self.refuse_closed()
        opening, reactions = self.handler_opening(pattern, cast("HandlerOptions", options))
        registration = Registration(pattern, handler, reactions, partial(Feed[Any], self), opening)
        self._registrations.add(registration)
        registration.task.add_done_callback(lambda _: self._registrations.discard(registration))
        return registration

    def history(
        self: WebSocketClient[AnyEvent],
        topic: str,
        start: Cursor | Literal["start"] = "start",
        end: Cursor | None = None,
        **options: Unpack[HistoryOptions],
    ) -> AsyncIterator[AnyEvent]:
        """The events that the log keeps of a topic, after `start` up to and with `end`: `async for event in …`.

        They are read over HTTP, page by page; nothing is subscribed. See `HistoryOptions`.

        Args:
            end: None for the end that the log has when reading begins.

        Raises:
            InvalidArgumentError: an argument makes no sense; while iterating, `end` is of another epoch than the log.
            ClientClosedError: the client is closed.
            TopicForbiddenError: while iterating: there is no such topic for this caller.
            EventGapError: while iterating: events after `start` are not kept any more.
            RequestError: while iterating: the backend could not be asked.
        """
        self.refuse_closed()
        if not self._dialect.keeps_log:
            raise InvalidArgumentError(
                "history() reads the log of a backend of our contract: this one keeps none for us"
            )
        check_topic(topic)
        if not isinstance(start, Cursor) and start != "start":
            raise InvalidArgumentError(f'start is "start" or a Cursor, got {start!r}')
        if end is not None and not isinstance(end, Cursor):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise InvalidArgumentError(f"end is a Cursor or None, got {end!r}")
        types = check_types(options.get("types"))
        return read_history(self._api, topic, start=start, end=end, types=types, page_size=options.get("page_size"))

    # --- status -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Of the connection; with several event loops, of the newest."""
        if self.closed:
            return ConnectionState.CLOSED
        return self._connections[-1].state if self._connections else ConnectionState.IDLE

    @property
    def picture(self) -> RealtimePicture:
        """How the connection and its subscriptions stand now; costs no request. Readable from any thread."""
        if self._connections:
            set_aside = sum(len(each.set_aside) for each in list(self._registrations))
            return replace(self._connections[-1].picture(), set_aside=set_aside)
        return RealtimePicture(
            state=self.state,
            transport=self._transport.name,
            fallback=None,
            connection_id=None,
            problem=None,
            retry_in_seconds=None,
            latency_seconds=None,
            attempts=0,
            reconnects=0,
            received=0,
            repeated=0,
            gaps=0,
            set_aside=0,
            outages=(),
            subscriptions=(),
        )

    def on_state(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """Calls `callback` at each change of the connection's state, on the event loop: it must not block.

        Returns a function that ends it. An exception in the callback is logged.
        """
        return _added(self._callbacks, callback)

    def on_subscription_state(self, callback: Callable[[SubscriptionChange], object]) -> Callable[[], None]:
        """As `on_state`, at each change of a subscription's state."""
        return _added(self._subscription_callbacks, callback)

    def wake(self) -> None:
        """The backend has answered over HTTP: a pause that waits for it to be there ends now. From any thread."""
        for connection in self._connections:
            if connection.usable and connection.state is ConnectionState.BACKOFF:
                try:
                    connection.loop.call_soon_threadsafe(connection.wake)
                except RuntimeError:
                    pass  # its loop has closed this very moment

    # --- closing ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends subscriptions, handlers and the connection; returns when nothing of them runs any more. Safe to repeat.

        What runs on other event loops is told to end, and not waited for.
        """
        self._closed = True
        loop = asyncio.get_running_loop()
        connections = [each for each in self._connections if each.loop is loop and each.usable]
        for connection in self._connections:
            if connection.loop is not loop and connection.usable:
                with suppress(RuntimeError):  # its loop has closed this very moment
                    connection.loop.call_soon_threadsafe(connection.close_soon)
        for connection in connections:
            await connection.close()
        # Their feeds have ended with the connection; a handler in the middle of an event gets a moment to finish it.
        tasks = {each.task for each in self._registrations if not each.is_caller and each.task.get_loop() is loop}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=JOIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._owns_api:
            await self._api.engine.close()
        if self._owns_pool:
            await self._pool.close()

    @property
    def closed(self) -> bool:
        return self._closed or (not self._owns_api and self._api.engine.closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- for feeds, and for the other face ----------------------------------------------------------------------------

    async def connection(self) -> Connection:
        """The running loop's connection, made if there is none."""
        self.refuse_closed()
        loop = asyncio.get_running_loop()
        for connection in self._connections:
            if connection.loop is loop and connection.usable:
                return connection
        # In a forked child nothing may free what the parent's thread was using.
        _parked.extend(each for each in self._connections if each.pid != os.getpid())
        self._connections = [each for each in self._connections if each.usable]
        connection = Connection(
            self._dialect.session(self._user_agent, fallback=self._fallback is not None),
            self._transport,
            self._api.authenticator,
            fallback=self._fallback,
            read_state=self._dialect.read_state(self._api),
            on_change=self._changed,
        )
        self._connections.append(connection)
        return connection

    def refuse_closed(self) -> None:
        if self.closed:
            raise ClientClosedError("the realtime client is closed: make a new one")

    def opening(self, topic: str, on_gap: OnGap | PlainOnGap | None, options: SubscribeOptions) -> Opening:
        """The arguments of `subscribe`, checked. `on_gap` is None for what is spoken's own default."""
        topic = self._dialect.topic(topic)
        on_gap = self._dialect.on_gap(on_gap)
        self._dialect.check_options(options)
        types = check_types(options.get("types"))
        check_cursors(options)
        window = check_window(options.get("window", self._dialect.default_window))
        want = Want(topic, types, check_start(options.get("start", "head")), on_gap, window)
        return Opening(
            want,
            wait=options.get("wait", True),
            deadline_seconds=self._deadline(options.get("deadline_seconds", self._deadline_seconds)),
            cursors=options.get("cursors"),
            cursor_name=options.get("cursor_name") or (topic if types is None else f"{topic}?types={','.join(types)}"),
        )

    def handler_opening(self, pattern: str, options: HandlerOptions) -> tuple[Opening, Reactions]:
        """The arguments of `on`, checked."""
        check_types([pattern])
        cursors = options.get("cursors")
        on_error = options.get("on_error", "set_aside" if cursors is None else "stop")
        if on_error not in ("set_aside", "stop"):
            raise InvalidArgumentError(f'on_error is "set_aside" or "stop", got {on_error!r}')
        opening = self.opening(
            self._dialect.handler_topic(pattern, options.get("topic")),
            "yield",
            {
                "types": [pattern],
                "start": options.get("start", "head"),
                "wait": options.get("wait", True),
                "deadline_seconds": options.get("deadline_seconds", self._deadline_seconds),
                "window": options.get("window", self._dialect.default_window),
                "cursors": cursors,
                "cursor_name": options.get("cursor_name", ""),
            },
        )
        return opening, Reactions(options.get("on_gap"), on_error)

    @staticmethod
    def _deadline(seconds: float | None) -> float | None:
        return None if seconds is None else check_seconds(seconds, "deadline_seconds")

    def _changed(self, change: StateChange | SubscriptionChange) -> None:
        if isinstance(change, SubscriptionChange):
            _call_all(self._subscription_callbacks, change)
            return
        if self._board is not None and self._connections:
            newest = self._connections[-1]
            self._board.realtime(str(change.new), auth_failed=newest.auth_failed, reconnects=newest.reconnects)
        _call_all(self._callbacks, change)


def _api(url: str, auth: Auth | None, pool: SessionPool) -> APIClient[Awaiting]:
    """What renews credentials and reads over HTTP where no client shares its own."""
    from ..http.transport import AiohttpTransport
    from .api_client import BaseAPIClient

    return BaseAPIClient(url, auth=auth, transport=AiohttpTransport(pool), max_concurrency=4)


def _added(callbacks: list[Callable[[T], object]], callback: Callable[[T], object]) -> Callable[[], None]:
    """Adds it, and gives the function that removes it."""
    callbacks.append(callback)

    def remove() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return remove


def _call_all(callbacks: list[Callable[[T], object]], change: T) -> None:
    for callback in list(callbacks):
        try:
            callback(change)
        except Exception:
            log.exception("a callback for realtime states raised", extra={"event": "realtime.callback_failed"})
