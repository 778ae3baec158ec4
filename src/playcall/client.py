"""The front door: `Playcall` (blocking) and `AsyncPlaycall`, holding services, events and status.

What a program does not use it does not load: a service's models come with the service, and all of realtime with the
first look at events.
"""

from __future__ import annotations

import copy
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self
from weakref import WeakMethod

from typing_extensions import Unpack

from .checks import Via, check_via
from .config import (
    API_PREFIX,
    DEFAULT_DEADLINE_SECONDS,
    DEFAULT_MAX_CONCURRENCY,
    auth_from_environment,
    url_from_environment,
)
from .faces import Awaiting, Blocking, FaceT
from .home_process import HomeProcess
from .http.engine import READ_TIMEOUT_SECONDS
from .http.paths import base_url
from .http.pool import CONNECT_TIMEOUT_SECONDS, SessionPool
from .http.proxies import ENVIRONMENT, Proxy, proxy_for
from .http.transport import AiohttpTransport, Transport
from .loop_thread import LoopThread
from .services.api_client import APIClient, BaseAPIClient, BlockingAPIClient, ClientOptions
from .status import ConnectionStatus

if TYPE_CHECKING:
    from .http.auth import Auth
    from .http.hooks import AttemptHook
    from .http.retry import RetryPolicy
    from .models.cursor import Cursor
    from .services.account_service import AccountService
    from .services.agent_service import AgentService
    from .services.blocking_websocket_client import BlockingWebSocketClient
    from .services.live import EventFeed
    from .services.playbook_service import PlaybookService
    from .services.run_service import OnRunGap, RunService
    from .services.task_service import TaskService
    from .services.tool_service import ToolService
    from .services.websocket_client import WebSocketClient

__all__ = ["AsyncPlaycall", "Playcall"]


class _Realtime:
    """The client of events, made when it is first asked for; clones share it."""

    def __init__(self, root: str, *, api: APIClient[Awaiting], pool: SessionPool, via: Via) -> None:
        check_via(via, "realtime")
        self._root = root
        self._api = api
        self._pool = pool
        self._via: Via = via

    @cached_property
    def events(self) -> WebSocketClient:
        from .services.websocket_client import WebSocketClient

        events = WebSocketClient(self._root, api=self._api, pool=self._pool, via=self._via)
        # The backend has answered, so a pause of the events' connection need not be waited out. Weakly: the events hold
        # the engine already, and what is dropped without close() must not have to wait for the collector of cycles.
        self._api.engine.status.nudge = partial(_call, WeakMethod(events.wake))
        return events

    async def close(self) -> None:
        if "events" in self.__dict__:
            await self.events.close()


class _RunEvents:
    """Events as `RunService` takes them."""

    def __init__(self, realtime: _Realtime) -> None:
        self._realtime = realtime

    def events_of(
        self,
        topic: str,
        *,
        start: Cursor | Literal["start"],
        types: Sequence[str] | None = None,
        on_gap: OnRunGap = "raise",
    ) -> AbstractAsyncContextManager[EventFeed]:
        if on_gap == "raise":
            return self._realtime.events.subscribe(topic, start=start, types=types, on_gap="raise")
        return self._realtime.events.subscribe(topic, start=start, types=types, on_gap="snapshot")


class _Client(HomeProcess, Generic[FaceT]):
    """What both clients are. Their services share one engine, one credential, one event connection."""

    _api_kind: ClassVar[type[APIClient[Any]]]  # Any: the face, which a class variable cannot name

    def __init__(
        self,
        url: str | None = None,
        *,
        auth: Auth | None = None,
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        connect_timeout_seconds: float | None = CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds: float | None = READ_TIMEOUT_SECONDS,
        retry: RetryPolicy | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        hooks: Sequence[AttemptHook] = (),
        transport: Transport | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy = ENVIRONMENT,
        realtime: Via = "auto",
    ) -> None:
        """A client of the playcall backend at `url`.

        Args:
            url: `http://host:port`, without the API's prefix; None for `PLAYCALL_URL`, else http://127.0.0.1:8000.
            auth: `ApiKey`, `BearerToken`, `OAuth2Password` or your own; None for `PLAYCALL_API_KEY` or `PLAYCALL_TOKEN`.
            deadline_seconds: What one call may take, attempts, pauses and body included; None for no bound.
            connect_timeout_seconds: What one attempt may take to connect; None for no bound but the deadline.
            read_timeout_seconds: How long the backend may be silent within one attempt; None likewise.
            retry: When a failed attempt is made again.
            max_concurrency: Requests under way at once; the others wait, in order.
            hooks: Called around each attempt, in order: for metrics, tracing, headers of your own.
            transport: Another way to send, for tests (`playcall.testing.MockTransport`).
            ssl_context: For a private certificate authority or client certificates; None for the system's trust.
            proxy: `http://[user:password@]host:port`; `"environment"` for `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
                `NO_PROXY` (never for this very machine); None for none. Events go through it as well.
            realtime: How events come: `"websocket"`, `"long_poll"`, or `"auto"` for the first, and the second for as long
                as the first is blocked on the way.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        root = base_url(url if url is not None else url_from_environment())
        # With a transport of its own only events go through a proxy: one in the environment is found when they begin.
        later = transport is not None and proxy == ENVIRONMENT
        way = partial(proxy_for, root, proxy) if later else proxy_for(root, proxy)
        pool = SessionPool(ssl_context, proxy=way, connect_timeout_seconds=connect_timeout_seconds)
        self._api: APIClient[FaceT] = self._api_kind(
            root + API_PREFIX,
            auth=auth if auth is not None else auth_from_environment(),
            deadline_seconds=deadline_seconds,
            read_timeout_seconds=read_timeout_seconds,
            retry=retry,
            idempotency_keys=True,
            max_concurrency=max_concurrency,
            send_deadline=True,
            health_path="/ready",
            hooks=hooks,
            transport=transport if transport is not None else AiohttpTransport(pool),
        )
        self._realtime = _Realtime(root, api=self._api.awaiting, pool=pool, via=realtime)
        self._pool = pool
        self._root = root
        self._ended = threading.Event()
        """Whether a `close` has come to its end; clones share it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._root!r})"

    @property
    def url(self) -> str:
        """The backend's address."""
        return self._root

    @cached_property
    def playbooks(self) -> PlaybookService[FaceT]:
        from .services.playbook_service import PlaybookService

        return PlaybookService(self._api)

    @cached_property
    def runs(self) -> RunService[FaceT]:
        from .services.run_service import RunService

        return RunService(self._api, _RunEvents(self._realtime))

    @cached_property
    def agents(self) -> AgentService[FaceT]:
        from .services.agent_service import AgentService

        return AgentService(self._api)

    @cached_property
    def tasks(self) -> TaskService[FaceT]:
        from .services.task_service import TaskService

        return TaskService(self._api)

    @cached_property
    def tools(self) -> ToolService[FaceT]:
        from .services.tool_service import ToolService

        return ToolService(self._api)

    @cached_property
    def account(self) -> AccountService[FaceT]:
        from .services.account_service import AccountService

        return AccountService(self._api)

    @cached_property
    def status(self) -> ConnectionStatus[FaceT]:
        """One picture of HTTP and realtime."""
        return self._api.status

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other settings over the same connections, credentials, limits, events and status."""
        clone = copy.copy(self)
        for name in ("playbooks", "runs", "agents", "tasks", "tools", "account"):
            clone.__dict__.pop(name, None)  # they hold the old options
        clone._api = self._api.with_options(**options)
        return clone

    async def _close(self) -> None:
        await self._realtime.close()
        await self._api.engine.close()
        await self._pool.close()  # the engine has closed it already, unless it sends in another way


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    if (alive := method()) is not None:
        alive()


class AsyncPlaycall(_Client[Awaiting]):
    """The async client: `async with AsyncPlaycall(url, auth=ApiKey("…")) as client: …`.

    It may be used from several event loops, one after another: each has its own connections.
    """

    _api_kind = BaseAPIClient

    @property
    def events(self) -> WebSocketClient:
        """Subscriptions and handlers."""
        return self._realtime.events

    async def close(self) -> None:
        """Ends subscriptions and closes the connections; calls after it raise ClientClosedError."""
        await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class Playcall(_Client[Blocking]):
    """The blocking client: `with Playcall(url, auth=ApiKey("…")) as client: …`. Safe to share between threads."""

    _api_kind = BlockingAPIClient

    @cached_property
    def events(self) -> BlockingWebSocketClient:
        """Subscriptions and handlers."""
        from .services.blocking_websocket_client import BlockingWebSocketClient

        return BlockingWebSocketClient(awaiting=self._realtime.events)

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other settings over the same connections, credentials, limits, events and status."""
        _ = self.events  # made before it is cloned, so that all clones share its handlers, and any close() ends them
        return super().with_options(**options)

    def close(self) -> None:
        """Ends subscriptions and closes the connections; calls after it raise ClientClosedError."""
        if not self._ended.is_set():
            if "events" in self.__dict__:
                self.events.close()  # waits for handlers, on this thread
            LoopThread.shared().call(self._close)
            self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
