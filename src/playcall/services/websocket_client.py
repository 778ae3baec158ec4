"""`WebSocketClient`: subscriptions and handlers over one connection; `BlockingWebSocketClient` is its other face.

    async with WebSocketClient("http://127.0.0.1:8000", auth=ApiKey("pk_…")) as client:
        async with client.subscribe("tasks", types=["task.failed"]) as feed:
            async for event in feed: ...

What is promised, and what not, is docs/realtime.md; how it is done, `playcall.realtime`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, overload

from typing_extensions import Unpack

from ..config import API_PREFIX, DEFAULT_DEADLINE_SECONDS
from ..deadline import check_seconds
from ..errors import ClientClosedError, ConfigurationError, InvalidArgumentError
from ..home_process import HomeProcess
from ..http.auth import check_auth
from ..http.paths import base_url
from ..http.pool import SessionPool
from ..loop_thread import LoopThread
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..realtime.connection import Connection
from ..realtime.cursors import CursorStore
from ..realtime.feed import BlockingFeed, Feed, Opening
from ..realtime.handlers import BlockingRegistration, Handler, OnHandlerGap, Registration
from ..realtime.items import DEFAULT_WINDOW, Gap, OnGap, Start, Want
from ..realtime.patterns import check_topic, check_types, collection_for, is_unicode
from ..realtime.states import ConnectionState, RealtimePicture, StateChange
from ..realtime.transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..http.auth import Auth
    from ..http.authenticator import Authenticator
    from ..http.engine import Engine
    from ..realtime.transports.base import Transport
    from ..status import StatusBoard

__all__ = ["BlockingWebSocketClient", "HandlerOptions", "SubscribeOptions", "WebSocketClient"]

log = logging.getLogger("playcall.realtime")

USER_AGENT = "playcall/0.1"
_parked: list[Connection] = []

MAX_WINDOW = 100_000
JOIN_SECONDS = 2.0
"""How long `close()` waits for handlers that are in the middle of an event."""


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
    cursors: CursorStore | None
    """Where to keep how far events were processed; what it has wins over `start`."""
    cursor_name: str
    """The name in `cursors`; the topic and types if left out."""


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
    """Called when events were lost for good; they are logged and counted in any case, and the handler goes on."""


class WebSocketClient(HomeProcess):
    """The async face. It connects when something is first wanted, and stays connected until `close()`.

    Each event loop that it is used on has a connection of its own.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = USER_AGENT,
        pool: SessionPool | None = None,
        authenticator: Authenticator | None = None,
        board: StatusBoard | None = None,
        transport: Transport | None = None,
    ) -> None:
        """A client of the backend at `url`.

        Args:
            url: `http://host:port`, without the API's prefix.
            auth: `ApiKey`, `BearerToken`, `OAuth2Password` or your own.
            deadline_seconds: How long opening a subscription waits for the server's answer.
            ssl_context: For a private certificate authority or client certificates; None for the system's trust.
            user_agent: What `hello` says.
            pool: Shared connections; whoever gives them closes them. Then `ssl_context` is the pool's affair.
            authenticator: Shared credentials, in place of `auth`.
            board: A status picture to feed.
            transport: Another way to carry frames.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        if auth is not None and authenticator is not None:
            raise ConfigurationError("give auth= or authenticator=, not both")
        check_auth(auth)
        if not is_unicode(user_agent):
            raise ConfigurationError(f"user_agent is not Unicode: {user_agent!r}")
        self._url = base_url(url)
        self._deadline_seconds = (
            None if deadline_seconds is None else check_seconds(deadline_seconds, "deadline_seconds")
        )
        self._user_agent = user_agent
        self._owned_pool = SessionPool(ssl_context) if pool is None else None
        self._pool = pool or self._owned_pool or SessionPool()
        self._owned_engine = None if auth is None else _engine(self._url, auth, self._pool, user_agent)
        self._authenticator = authenticator if self._owned_engine is None else self._owned_engine.authenticator
        self._transport = transport if transport is not None else WebSocketTransport(self._url, self._pool)
        self._board = board
        self._connections: list[Connection] = []
        self._registrations: set[Registration] = set()
        self._callbacks: list[Callable[[StateChange], object]] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    # --- subscriptions ------------------------------------------------------------------------------------------------

    @overload
    def subscribe(
        self, topic: str, *, on_gap: Literal["raise"] = "raise", **options: Unpack[SubscribeOptions]
    ) -> Feed[AnyEvent]: ...
    @overload
    def subscribe(
        self, topic: str, *, on_gap: Literal["yield"], **options: Unpack[SubscribeOptions]
    ) -> Feed[AnyEvent | Gap]: ...
    def subscribe(
        self, topic: str, *, on_gap: OnGap = "raise", **options: Unpack[SubscribeOptions]
    ) -> Feed[AnyEvent] | Feed[AnyEvent | Gap]:
        """The events of a topic: `async with client.subscribe(topic) as feed`, then iterate. See `SubscribeOptions`.

        Args:
            topic: `run:ID`, `task:ID`, `agent:ID`, or `playbooks`, `runs`, `agents`, `tasks`, `tools`.
            on_gap: When events are lost for good: `raise` EventGapError, or `yield` a `Gap` where they stood and go on.

        Raises:
            InvalidArgumentError: an argument makes no sense. Everything else is raised when the feed is entered.
            ClientClosedError: the client is closed.
        """
        self.refuse_closed()
        return Feed(self, self.opening(topic, on_gap, options))

    def on(self, pattern: str, handler: Handler, **options: Unpack[HandlerOptions]) -> Registration:
        """Has `handler(event)` called for each event whose type matches `pattern`, one after another. See `HandlerOptions`.

        Registered at once, connected or not; `await client.on(...)` returns when the server has answered. The handler's
        exceptions are logged and counted, the event is set aside, and the next delivered.

        Raises:
            InvalidArgumentError: only the topic of one run or task carries the pattern: say `topic=`.
            ClientClosedError: the client is closed.
        """
        self.refuse_closed()
        opening, on_gap = self.handler_opening(pattern, options)
        registration = Registration(pattern, handler, on_gap, partial(Feed[AnyEvent | Gap], self), opening)
        self._registrations.add(registration)
        registration.task.add_done_callback(lambda _: self._registrations.discard(registration))
        return registration

    # --- status -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """Of the connection; with several event loops, of the newest."""
        if self._closed:
            return ConnectionState.CLOSED
        return self._connections[-1].state if self._connections else ConnectionState.IDLE

    @property
    def picture(self) -> RealtimePicture:
        """How the connection and its subscriptions stand now; costs no request. Readable from any thread."""
        if self._connections:
            return self._connections[-1].picture()
        return RealtimePicture(
            state=self.state,
            transport=self._transport.name,
            connection_id=None,
            problem=None,
            retry_in_seconds=None,
            latency_seconds=None,
            attempts=0,
            reconnects=0,
            received=0,
            repeated=0,
            gaps=0,
            subscriptions=(),
        )

    def on_state(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """Calls `callback` at each change of the connection's state, on the event loop: it must not block.

        Returns a function that ends it. An exception in the callback is logged.
        """
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

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
        current = asyncio.current_task()
        tasks = {each.task for each in self._registrations if each.task is not current and each.task.get_loop() is loop}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=JOIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._owned_engine is not None:
            await self._owned_engine.authenticator.close()
        if self._owned_pool is not None:
            await self._owned_pool.close()

    @property
    def closed(self) -> bool:
        return self._closed

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
            self._transport, self._authenticator, client=self._user_agent, on_change=self._state_changed
        )
        self._connections.append(connection)
        return connection

    def refuse_closed(self) -> None:
        if self._closed:
            raise ClientClosedError("the realtime client is closed: make a new one")

    def opening(self, topic: str, on_gap: OnGap, options: SubscribeOptions) -> Opening:
        """The arguments of `subscribe`, checked."""
        check_topic(topic)
        if on_gap not in ("raise", "yield"):
            raise InvalidArgumentError(f'on_gap is "raise" or "yield", got {on_gap!r}')
        types = check_types(options.get("types"))
        want = Want(topic, types, _start(options.get("start", "head")), on_gap, _window(options))
        return Opening(
            want,
            wait=options.get("wait", True),
            deadline_seconds=self._deadline(options.get("deadline_seconds", self._deadline_seconds)),
            cursors=options.get("cursors"),
            cursor_name=options.get("cursor_name") or (topic if types is None else f"{topic}?types={','.join(types)}"),
        )

    def handler_opening(self, pattern: str, options: HandlerOptions) -> tuple[Opening, OnHandlerGap | None]:
        """The arguments of `on`, checked."""
        check_types([pattern])
        topic = options.get("topic")
        opening = self.opening(
            collection_for(pattern) if topic is None else topic,
            "yield",
            {
                "types": [pattern],
                "start": options.get("start", "head"),
                "wait": options.get("wait", True),
                "deadline_seconds": options.get("deadline_seconds", self._deadline_seconds),
                "window": options.get("window", DEFAULT_WINDOW),
            },
        )
        return opening, options.get("on_gap")

    @staticmethod
    def _deadline(seconds: float | None) -> float | None:
        return None if seconds is None else check_seconds(seconds, "deadline_seconds")

    def _state_changed(self, change: StateChange) -> None:
        if self._board is not None and self._connections:
            newest = self._connections[-1]
            self._board.realtime(
                str(change.new), auth_failed=newest.auth_failed, reconnects=newest.picture().reconnects
            )
        for callback in list(self._callbacks):
            try:
                callback(change)
            except Exception:
                log.exception("a callback for realtime states raised", extra={"event": "realtime.callback_failed"})


class BlockingWebSocketClient(HomeProcess):
    """The blocking face: the same client, driven by the loop thread. Safe to share between threads.

    `with BlockingWebSocketClient(url, auth=…) as client:`, then `with client.subscribe("tasks") as feed: for event in feed`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        awaiting: WebSocketClient | None = None,
        auth: Auth | None = None,
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        """A client of the backend at `url`; or the other face of `awaiting`, which must be used on the loop thread only.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        if (url is None) == (awaiting is None):
            raise ConfigurationError("give a url, or the awaiting client whose other face this is")
        if awaiting is None:
            assert url is not None  # noqa: S101 - one of the two is there
            awaiting = WebSocketClient(
                url, auth=auth, deadline_seconds=deadline_seconds, ssl_context=ssl_context, user_agent=user_agent
            )
        self._awaiting = awaiting
        self._registrations: set[BlockingRegistration] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return repr(self._awaiting).replace("WebSocketClient", type(self).__name__, 1)

    @overload
    def subscribe(
        self, topic: str, *, on_gap: Literal["raise"] = "raise", **options: Unpack[SubscribeOptions]
    ) -> BlockingFeed[AnyEvent]: ...
    @overload
    def subscribe(
        self, topic: str, *, on_gap: Literal["yield"], **options: Unpack[SubscribeOptions]
    ) -> BlockingFeed[AnyEvent | Gap]: ...
    def subscribe(
        self, topic: str, *, on_gap: OnGap = "raise", **options: Unpack[SubscribeOptions]
    ) -> BlockingFeed[AnyEvent] | BlockingFeed[AnyEvent | Gap]:
        """As `WebSocketClient.subscribe`, for `with` and `for`."""
        self._awaiting.refuse_closed()
        return BlockingFeed(self._awaiting, self._awaiting.opening(topic, on_gap, options))

    def on(self, pattern: str, handler: Handler, **options: Unpack[HandlerOptions]) -> BlockingRegistration:
        """As `WebSocketClient.on`, with a thread for the handler; returns when the server has answered.

        With `wait=False` it only registers, connected or not.

        Raises:
            RealtimeTimeoutError: no answer in time; nothing is registered.
            RealtimeError: the connection cannot be made, or the topic is not for this caller.
        """
        self._awaiting.refuse_closed()
        opening, on_gap = self._awaiting.handler_opening(pattern, options)
        make_feed = partial(BlockingFeed[AnyEvent | Gap], self._awaiting)
        registration = BlockingRegistration(pattern, handler, on_gap, make_feed, opening)
        with self._lock:
            self._registrations = {each for each in self._registrations if each.active} | {registration}
        return registration

    @property
    def state(self) -> ConnectionState:
        """As `WebSocketClient.state`."""
        return self._awaiting.state

    @property
    def picture(self) -> RealtimePicture:
        """As `WebSocketClient.picture`."""
        return self._awaiting.picture

    def on_state(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """As `WebSocketClient.on_state`; `callback` runs on the loop thread, and must neither block nor call the client."""
        return self._awaiting.on_state(callback)

    def wake(self) -> None:
        """As `WebSocketClient.wake`."""
        self._awaiting.wake()

    def close(self) -> None:
        """As `WebSocketClient.close`; a handler may call it. Waits a moment for other handlers to finish their event."""
        if not self._awaiting.closed:
            LoopThread.shared().call(self._awaiting.close)
        with self._lock:
            registrations = list(self._registrations)
        for registration in registrations:
            registration.join(JOIN_SECONDS)

    @property
    def closed(self) -> bool:
        return self._awaiting.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _start(start: Start) -> Start:
    if not isinstance(start, Cursor) and start not in ("start", "head"):
        raise InvalidArgumentError(f'start is "start", "head" or a Cursor, got {start!r}')
    return start


def _window(options: SubscribeOptions) -> int:
    window: Any = options.get("window", DEFAULT_WINDOW)  # Any: callers may be untyped
    if not isinstance(window, int) or isinstance(window, bool) or not 1 <= window <= MAX_WINDOW:
        raise InvalidArgumentError(f"window is a number of events from 1 to {MAX_WINDOW}, got {window!r}")
    return window


def _engine(url: str, auth: Auth, pool: SessionPool, user_agent: str) -> Engine:
    """What renews credentials where no HTTP client shares its own: only its authenticator is used."""
    from ..http.engine import Engine
    from ..http.transport import AiohttpTransport
    from ..status import StatusBoard

    return Engine(
        url + API_PREFIX,
        transport=AiohttpTransport(pool),
        auth=auth,
        max_concurrency=4,
        retry_budget=None,
        status=StatusBoard(),
        user_agent=user_agent,
        send_deadline=False,
    )
