"""`BlockingWebSocketClient`: the other face of `WebSocketClient`, for the calling thread.

with BlockingWebSocketClient("http://127.0.0.1:8000", auth=ApiKey("pk_…")) as client:
    with client.subscribe("tasks", types=["task.failed"]) as feed:
        for event in feed: ...
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, cast, overload

from typing_extensions import Unpack

from ..blocking_iterator import BlockingIterator
from ..checks import Via
from ..config import DEFAULT_DEADLINE_SECONDS
from ..errors import ConfigurationError
from ..home_process import HomeProcess
from ..http.proxies import ENVIRONMENT
from ..loop_thread import LoopThread
from ..models.cursor import Cursor
from ..models.event import AnyEvent
from ..realtime.blocking_handlers import BlockingRegistration
from ..realtime.feed import BlockingFeed
from ..realtime.items import Gap, OnGap, Snapshot
from ..realtime.plain_items import PlainEvent, PlainGap, PlainOnGap
from ..realtime.plain_protocol import Contract, EventT
from ..realtime.registration import Handler
from ..realtime.states import ConnectionState, RealtimePicture, StateChange, SubscriptionChange
from .event_options import HandlerOptions, HistoryOptions, SubscribeOptions
from .plain_sockets import PlainHandler, PlainHandlerOptions, PlainSubscribeOptions
from .websocket_client import JOIN_SECONDS, USER_AGENT, WebSocketClient

if TYPE_CHECKING:
    from ..http.auth import Auth
    from ..http.proxies import Proxy

__all__ = ["BlockingWebSocketClient"]


class BlockingWebSocketClient(HomeProcess, Generic[EventT]):
    """The blocking face: the same client, driven by the loop thread. Safe to share between threads.

    `with BlockingWebSocketClient(url, auth=…) as client:`, then `with client.subscribe("tasks") as feed: for event in feed`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        awaiting: WebSocketClient[EventT] | None = None,
        session: Contract[EventT] | None = None,
        auth: Auth | None = None,
        via: Via = "auto",
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy = ENVIRONMENT,
        user_agent: str = USER_AGENT,
    ) -> None:
        """A client of the backend at `url`; or the other face of `awaiting`, which must be used on the loop thread only.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        if (url is None) == (awaiting is None):
            raise ConfigurationError("give a url, or the awaiting client whose other face this is")
        if awaiting is not None and session is not None:
            raise ConfigurationError("session is what the awaiting client has already: leave it out here")
        if awaiting is None:
            assert url is not None  # noqa: S101 - one of the two is there
            awaiting = WebSocketClient(
                url,
                session=session,
                auth=auth,
                via=via,
                deadline_seconds=deadline_seconds,
                ssl_context=ssl_context,
                proxy=proxy,
                user_agent=user_agent,
            )
        self._awaiting = awaiting
        self._registrations: set[BlockingRegistration[Any]] = set()
        self._lock = threading.Lock()
        self._ended = False
        """A `close` has come to its end."""

    def __repr__(self) -> str:
        return repr(self._awaiting).replace("WebSocketClient", type(self).__name__, 1)

    @overload
    def subscribe(
        self: BlockingWebSocketClient[AnyEvent],
        topic: str,
        *,
        on_gap: Literal["raise"] = "raise",
        **options: Unpack[SubscribeOptions],
    ) -> BlockingFeed[AnyEvent]: ...
    @overload
    def subscribe(
        self: BlockingWebSocketClient[AnyEvent],
        topic: str,
        *,
        on_gap: Literal["yield"],
        **options: Unpack[SubscribeOptions],
    ) -> BlockingFeed[AnyEvent | Gap]: ...
    @overload
    def subscribe(
        self: BlockingWebSocketClient[AnyEvent],
        topic: str,
        *,
        on_gap: Literal["snapshot"],
        **options: Unpack[SubscribeOptions],
    ) -> BlockingFeed[AnyEvent | Snapshot]: ...
    @overload
    def subscribe(
        self: BlockingWebSocketClient[PlainEvent[Any]],
        topic: str,
        *,
        on_gap: Literal["mark", "raise"] = "mark",
        **options: Unpack[PlainSubscribeOptions],
    ) -> BlockingFeed[PlainEvent[Any]]: ...
    @overload
    def subscribe(
        self: BlockingWebSocketClient[PlainEvent[Any]],
        topic: str,
        *,
        on_gap: Literal["yield"],
        **options: Unpack[PlainSubscribeOptions],
    ) -> BlockingFeed[PlainEvent[Any] | PlainGap]: ...
    def subscribe(
        self, topic: str, *, on_gap: OnGap | PlainOnGap | None = None, **options: Unpack[SubscribeOptions]
    ) -> BlockingFeed[Any]:  # Any: as the overloads have it
        """As `WebSocketClient.subscribe`, for `with` and `for`."""
        self._awaiting.refuse_closed()
        return BlockingFeed(self._awaiting, self._awaiting.opening(topic, on_gap, options))

    @overload
    def on(
        self: BlockingWebSocketClient[AnyEvent], pattern: str, handler: Handler, **options: Unpack[HandlerOptions]
    ) -> BlockingRegistration: ...
    @overload
    def on(
        self: BlockingWebSocketClient[PlainEvent[Any]],
        pattern: str,
        handler: PlainHandler,
        **options: Unpack[PlainHandlerOptions],
    ) -> BlockingRegistration[PlainEvent[Any]]: ...
    def on(
        self, pattern: str, handler: Any, **options: Any
    ) -> BlockingRegistration[Any]:  # Any: as the overloads have it
        """As `WebSocketClient.on`, with a thread for the handler; returns when the server has answered.

        With `wait=False` it only registers, connected or not.

        Raises:
            RealtimeTimeoutError: no answer in time; nothing is registered.
            RealtimeError: the connection cannot be made, or the topic is not for this caller.
        """
        self._awaiting.refuse_closed()
        opening, reactions = self._awaiting.handler_opening(pattern, cast("HandlerOptions", options))
        make_feed = partial(BlockingFeed[Any], self._awaiting)
        registration = BlockingRegistration(pattern, handler, reactions, make_feed, opening)
        with self._lock:
            self._registrations = {each for each in self._registrations if each.running} | {registration}
        return registration

    def history(
        self: BlockingWebSocketClient[AnyEvent],
        topic: str,
        start: Cursor | Literal["start"] = "start",
        end: Cursor | None = None,
        **options: Unpack[HistoryOptions],
    ) -> BlockingIterator[AnyEvent]:
        """As `WebSocketClient.history`, for `for`."""
        return BlockingIterator(LoopThread.shared(), self._awaiting.history(topic, start, end, **options))

    @property
    def state(self) -> ConnectionState:
        """As `WebSocketClient.state`."""
        return self._awaiting.state

    @property
    def picture(self) -> RealtimePicture:
        """As `WebSocketClient.picture`."""
        with self._lock:
            set_aside = sum(len(each.set_aside) for each in self._registrations)
        picture = self._awaiting.picture
        return replace(picture, set_aside=picture.set_aside + set_aside)

    def on_state(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """As `WebSocketClient.on_state`; `callback` runs on the loop thread, and must neither block nor call the client."""
        return self._awaiting.on_state(callback)

    def on_subscription_state(self, callback: Callable[[SubscriptionChange], object]) -> Callable[[], None]:
        """As `WebSocketClient.on_subscription_state`, and as `on_state` runs."""
        return self._awaiting.on_subscription_state(callback)

    def wake(self) -> None:
        """As `WebSocketClient.wake`."""
        self._awaiting.wake()

    def close(self) -> None:
        """As `WebSocketClient.close`; a handler may call it. Waits a moment for other handlers to finish their event.

        After one that was interrupted another does what is left. Threads may call it at the same time.
        """
        if not self._ended:  # one that was interrupted has closed some of it only
            LoopThread.shared().call(self._awaiting.close)
            self._ended = True
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
