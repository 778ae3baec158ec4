"""The front door: `Playcall` (blocking) and `AsyncPlaycall`, holding services, events and status."""

from __future__ import annotations

import copy
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, Self

from typing_extensions import Unpack

from .config import (
    API_PREFIX,
    DEFAULT_DEADLINE_SECONDS,
    DEFAULT_MAX_CONCURRENCY,
    auth_from_environment,
    url_from_environment,
)
from .faces import Awaiting, Blocking, FaceT
from .http.paths import base_url
from .http.pool import SessionPool
from .http.transport import AiohttpTransport, Transport
from .loop_thread import LoopThread
from .models.cursor import Cursor
from .services.account_service import AccountService
from .services.agent_service import AgentService
from .services.api_client import BaseAPIClient, ClientOptions
from .services.playbook_service import PlaybookService
from .services.run_service import RunService
from .services.task_service import TaskService
from .services.tool_service import ToolService
from .services.websocket_client import BlockingWebSocketClient, WebSocketClient
from .status import ConnectionStatus

if TYPE_CHECKING:
    from .http.auth import Auth
    from .http.retry import RetryPolicy
    from .models.event import AnyEvent

__all__ = ["AsyncPlaycall", "Playcall"]


class _RunEvents:
    """Events as `RunService` takes them: gaps raised, so the stream holds events alone."""

    def __init__(self, events: WebSocketClient) -> None:
        self._events = events

    def events_of(
        self, topic: str, *, start: Cursor | Literal["start"]
    ) -> AbstractAsyncContextManager[AsyncIterator[AnyEvent]]:
        return self._events.subscribe(topic, start=start, on_gap="raise")


class _Client(Generic[FaceT]):
    """What both clients are. Their services share one engine, one credential, one event connection."""

    _blocking: bool

    def __init__(
        self,
        url: str | None = None,
        *,
        auth: Auth | None = None,
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        retry: RetryPolicy | None = None,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        transport: Transport | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """A client of the playcall backend at `url`.

        Args:
            url: `http://host:port`, without the API's prefix; None for `PLAYCALL_URL`, else http://127.0.0.1:8000.
            auth: `ApiKey`, `BearerToken`, `OAuth2Password` or your own; None for `PLAYCALL_API_KEY` or `PLAYCALL_TOKEN`.
            deadline_seconds: What one call may take, attempts, pauses and body included; None for no bound.
            retry: When a failed attempt is made again.
            max_concurrency: Requests under way at once; the others wait, in order.
            transport: Another way to send, for tests (`playcall.testing.MockTransport`).
            ssl_context: For a private certificate authority or client certificates; None for the system's trust.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        root = base_url(url if url is not None else url_from_environment())
        pool = SessionPool(ssl_context)
        self._api = BaseAPIClient(
            root + API_PREFIX,
            auth=auth if auth is not None else auth_from_environment(),
            deadline_seconds=deadline_seconds,
            retry=retry,
            idempotency_keys=True,
            max_concurrency=max_concurrency,
            send_deadline=True,
            health_path="/ready",
            transport=transport if transport is not None else AiohttpTransport(pool),
        )
        self._events = WebSocketClient(
            root, authenticator=self._api.authenticator, pool=pool, board=self._api.engine.status
        )
        # The backend has answered, so a pause of the events' connection need not be waited out.
        self._api.engine.status.nudge = self._events.wake
        self._root = root

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._root!r})"

    @property
    def url(self) -> str:
        """The backend's address."""
        return self._root

    @cached_property
    def playbooks(self) -> PlaybookService[FaceT]:
        return PlaybookService(self._api, blocking=self._blocking)

    @cached_property
    def runs(self) -> RunService[FaceT]:
        return RunService(self._api, _RunEvents(self._events), blocking=self._blocking)

    @cached_property
    def agents(self) -> AgentService[FaceT]:
        return AgentService(self._api, blocking=self._blocking)

    @cached_property
    def tasks(self) -> TaskService[FaceT]:
        return TaskService(self._api, blocking=self._blocking)

    @cached_property
    def tools(self) -> ToolService[FaceT]:
        return ToolService(self._api, blocking=self._blocking)

    @cached_property
    def account(self) -> AccountService[FaceT]:
        return AccountService(self._api, blocking=self._blocking)

    @cached_property
    def status(self) -> ConnectionStatus[FaceT]:
        """One picture of HTTP and realtime."""
        return ConnectionStatus(self._api.engine.status, self._api.probe, blocking=self._blocking)

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other settings over the same connections, credentials, limits, events and status."""
        clone = copy.copy(self)
        for name in ("playbooks", "runs", "agents", "tasks", "tools", "account"):
            clone.__dict__.pop(name, None)  # they hold the old options
        clone._api = self._api.with_options(**options)
        return clone

    async def _close(self) -> None:
        await self._events.close()
        await self._api.close()


class AsyncPlaycall(_Client[Awaiting]):
    """The async client: `async with AsyncPlaycall(url, auth=ApiKey("…")) as client: …`.

    It may be used from several event loops, one after another: each has its own connections.
    """

    _blocking = False

    @property
    def events(self) -> WebSocketClient:
        """Subscriptions and handlers."""
        return self._events

    async def close(self) -> None:
        """Ends subscriptions and closes the connections; calls after it raise ClientClosedError."""
        await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class Playcall(_Client[Blocking]):
    """The blocking client: `with Playcall(url, auth=ApiKey("…")) as client: …`. Safe to share between threads."""

    _blocking = True

    @cached_property
    def events(self) -> BlockingWebSocketClient:
        """Subscriptions and handlers."""
        return BlockingWebSocketClient(awaiting=self._events)

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other settings over the same connections, credentials, limits, events and status."""
        _ = self.events  # made before it is cloned, so that all clones share its handlers, and any close() ends them
        return super().with_options(**options)

    def close(self) -> None:
        """Ends subscriptions and closes the connections; calls after it raise ClientClosedError."""
        if not self._api.engine.closed:
            if "events" in self.__dict__:
                self.events.close()  # waits for handlers, on this thread
            LoopThread.shared().call(self._close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
