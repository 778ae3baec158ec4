"""`BaseAPIClient`: typed HTTP calls that survive, for any JSON backend; `BlockingAPIClient` is its other face."""

from __future__ import annotations

import copy
import re
import ssl
import uuid
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypedDict, overload

from typing_extensions import TypeForm, TypeVar, Unpack

from ..config import DEFAULT_DEADLINE_SECONDS, DEFAULT_MAX_CONCURRENCY
from ..deadline import check_seconds
from ..errors import ConfigurationError, InvalidArgumentError
from ..faces import Awaiting, Blocking, FaceT, Service, call
from ..http.answers import adapter, encode
from ..http.auth import Auth
from ..http.call import Answer, Call, IncomingBody
from ..http.engine import Engine
from ..http.paths import Path, as_path, base_url
from ..http.pool import SessionPool
from ..http.retry import SAFE_METHODS, RetryPolicy
from ..http.transport import AiohttpTransport, Transport
from ..loop_thread import LoopThread
from ..status import ConnectionStatus, StatusBoard

if TYPE_CHECKING:
    from ..http.auth import Authenticator

__all__ = ["APIClient", "BaseAPIClient", "BlockingAPIClient", "ClientOptions", "RequestOptions"]

T = TypeVar("T", default=Any)
USER_AGENT = "playcall/0.1"
PROBE_SECONDS = 5.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""


class RequestOptions(TypedDict, total=False):
    """What every verb takes beside its path."""

    params: Mapping[str, str | int | float | bool | None]
    """The query; a None is left out."""
    headers: Mapping[str, str]
    json: object
    """The body: a pydantic model, or anything that is JSON."""
    content: bytes | str
    """A body of another kind; give `content_type` too."""
    content_type: str
    idempotency_key: str
    """Your own key, to make the same command again after a crash; one is made for you otherwise, where keys are on."""
    deadline_seconds: float | None
    """For this call, in place of the client's; None for no bound but the context's."""
    retry: RetryPolicy
    repeatable: bool
    """Whether it may reach the backend twice without harm, where you know better than method and key tell."""


class ClientOptions(TypedDict, total=False):
    """What a clone can have of its own."""

    deadline_seconds: float | None
    retry: RetryPolicy


class AwaitingVerb(Protocol):
    """A verb of `BaseAPIClient`: the answer read into `into`; without it, whatever JSON comes.

    Raises:
        StatusError: the backend said no; its classes say what.
        TransportError: no answer came. A lost answer is repeated only where that is safe.
        DeadlineExceededError: the time was used up.
        UnreadableAnswerError: the answer does not fit `into`.
        InvalidArgumentError: an argument makes no sense; nothing was sent.
    """

    @overload
    async def __call__(self, path: str | Path, *, into: TypeForm[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    async def __call__(self, path: str | Path, **options: Unpack[RequestOptions]) -> Any: ...


class BlockingVerb(Protocol):
    """A verb of `BlockingAPIClient`; as `AwaitingVerb`."""

    @overload
    def __call__(self, path: str | Path, *, into: TypeForm[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    def __call__(self, path: str | Path, **options: Unpack[RequestOptions]) -> Any: ...


class _Verb:
    """One HTTP method on both faces."""

    def __init__(self, method: str) -> None:
        self._method = method
        self.__doc__ = f"{method}; see `AwaitingVerb` for what it gives and raises."

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: APIClient[Awaiting], owner: type) -> AwaitingVerb: ...
    @overload
    def __get__(self, obj: APIClient[Blocking], owner: type) -> BlockingVerb: ...
    def __get__(self, obj: APIClient[Any] | None, owner: type) -> Any:
        return self if obj is None else partial(obj._request, self._method)  # pyright: ignore[reportPrivateUsage] - half of it


class APIClient(Service[FaceT]):
    """The verbs, typed for both faces. Use `BaseAPIClient` or `BlockingAPIClient`."""

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        retry: RetryPolicy | None = None,
        idempotency_keys: bool = False,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        send_deadline: bool = False,
        health_path: str = "/health",
        transport: Transport | None = None,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        """A client of the backend at `url`.

        Args:
            url: Where the paths begin, `http://host:port/prefix`.
            auth: `ApiKey`, `BearerToken`, `OAuth2Password`, or your own (see docs/authentication.md).
            deadline_seconds: What one call may take, attempts, pauses and body included; None for no bound.
            retry: When a failed attempt is made again.
            idempotency_keys: The far end honours `Idempotency-Key`, so unsafe requests carry one and are repeated safely.
            max_concurrency: Requests under way at once; the others wait, in order.
            send_deadline: Tell the far end what is left, as `X-Request-Timeout-Ms`.
            health_path: Asked by `status.wait_until_ready()`.
            transport: Another way to send, for tests.
            ssl_context: For a private certificate authority or client certificates; None for the system's trust.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        super().__init__(blocking=isinstance(self, BlockingAPIClient))
        if auth is not None and not isinstance(auth, Auth):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(
                f"auth= takes ApiKey, BearerToken, OAuth2Password or the like, got {type(auth).__name__}"
            )
        self._retry = retry if retry is not None else RetryPolicy()
        self._deadline_seconds = _checked_deadline(deadline_seconds)
        self._idempotency_keys = idempotency_keys
        self._health_path = as_path(health_path)
        self._board = StatusBoard()
        self._engine = Engine(
            base_url(url),
            transport=transport if transport is not None else AiohttpTransport(SessionPool(ssl_context)),
            auth=auth,
            max_concurrency=max_concurrency,
            retry_budget=self._retry.budget,
            status=self._board,
            user_agent=user_agent,
            send_deadline=send_deadline,
        )
        self._owner = _Owner(self._engine)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._engine.base_url!r})"

    # --- verbs --------------------------------------------------------------------------------------------------------

    get = _Verb("GET")
    post = _Verb("POST")
    put = _Verb("PUT")
    patch = _Verb("PATCH")
    delete = _Verb("DELETE")

    @call
    async def _request(
        self: APIClient[Awaiting],
        method: str,
        path: str | Path,
        *,
        into: TypeForm[T] | None = None,
        **options: Unpack[RequestOptions],
    ) -> T:
        if into is not None:
            adapter(into)  # a type that no answer can be read into is found before anything is sent
        answer = await self._engine.request(self._call(method, path, options))
        return self._engine.read(answer, into)

    @call
    async def answer(
        self: APIClient[Awaiting], method: str, path: str | Path, **options: Unpack[RequestOptions]
    ) -> Answer:
        """The answer itself, for its headers and its timeline; raises as `get`, but reads no value."""
        return await self._engine.request(self._call(method, path, options))

    def _call(self, method: str, path: str | Path, options: RequestOptions) -> Call:
        _refuse_unknown(options, RequestOptions)
        body, content_type = _body(options)
        key = options.get("idempotency_key")
        if key is None and self._idempotency_keys and method not in SAFE_METHODS:
            key = str(uuid.uuid4())
        elif key is not None:
            _check_key(key)
        headers = options.get("headers")
        for name, value in (headers or {}).items():
            # Their types are checked because callers may be untyped. No value in the message: it may be a secret.
            if not isinstance(name, str) or not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidArgumentError(f"the header {name!r} cannot be sent: names and values are strings")
            if not _TOKEN.fullmatch(name) or not _sendable(value):
                raise InvalidArgumentError(f"the header {name!r} cannot be sent: no token, or control characters in it")
        return Call(
            method,
            as_path(path),
            options.get("retry", self._retry),
            _checked_deadline(options["deadline_seconds"]) if "deadline_seconds" in options else self._deadline_seconds,
            # A key makes a repeat safe only where the far end honours keys.
            repeatable=options.get("repeatable", method in SAFE_METHODS or self._idempotency_keys),
            params=options.get("params"),
            headers=headers,
            body=body,
            content_type=content_type,
            idempotency_key=key,
        )

    # --- the client itself --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, as it is used."""
        return self._engine.base_url

    @property
    def status(self) -> ConnectionStatus[FaceT]:
        """How the connection stands."""
        return ConnectionStatus(self._board, self.probe, blocking=self._blocking)

    async def probe(self) -> None:
        """One GET of the health path, once. Raises as `get`."""
        call = Call("GET", self._health_path, RetryPolicy(attempts=1), PROBE_SECONDS, repeatable=True)
        await self._engine.request(call)

    @property
    def authenticator(self) -> Authenticator:
        """The credentials that this client shares with a `WebSocketClient` of the same backend."""
        return self._engine.authenticator

    @property
    def engine(self) -> Engine:
        """What all clones of this client share."""
        return self._engine

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other settings over the same connections, credentials, limits and status."""
        _refuse_unknown(options, ClientOptions)
        clone = copy.copy(self)
        if "deadline_seconds" in options:
            clone._deadline_seconds = _checked_deadline(options["deadline_seconds"])
        if "retry" in options:
            clone._retry = options["retry"]
        return clone


class BaseAPIClient(APIClient[Awaiting]):
    """The async client: `async with BaseAPIClient(url) as api: item = await api.get("/items/3", into=Item)`."""

    def stream(
        self, method: str, path: str | Path, **options: Unpack[RequestOptions]
    ) -> AbstractAsyncContextManager[IncomingBody]:
        """An answer whose body is read piece by piece; raises as `get`. The deadline bounds its use as well."""
        return self._stream(method, path, options)

    @asynccontextmanager
    async def _stream(self, method: str, path: str | Path, options: RequestOptions) -> AsyncGenerator[IncomingBody]:
        async with self._engine.stream(self._call(method, path, options)) as incoming:
            yield incoming

    async def close(self) -> None:
        """Closes the connections of this loop; calls after it raise ClientClosedError."""
        await self._owner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class BlockingAPIClient(APIClient[Blocking]):
    """The blocking client: `with BlockingAPIClient(url) as api: item = api.get("/items/3", into=Item)`.

    Safe to share between threads.
    """

    def close(self) -> None:
        """Closes the connections; calls after it raise ClientClosedError."""
        if not self._engine.closed:
            LoopThread.shared().call(self._owner.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Owner:
    """Lives as long as a client or one of its clones does; warns when the last goes without `close()`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def close(self) -> None:
        await self._engine.close()

    def __del__(self) -> None:
        engine = self._engine
        if engine.abandon():
            warnings.warn(
                f"a client of {engine.base_url} was not closed: use it in a `with` block, or call close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


def _refuse_unknown(options: Mapping[str, object], known: type) -> None:
    """A misspelt option must not be lost in silence where no type checker looks.

    Raises:
        TypeError: as for any function's unknown argument.
    """
    unknown = options.keys() - known.__annotations__
    if unknown:
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}; there are {', '.join(known.__annotations__)}")


def _sendable(value: str) -> bool:
    """No control character, and text that UTF-8 can carry (`isprintable` refuses lone surrogates too)."""
    return value.replace("\t", " ").isprintable()


def _checked_deadline(seconds: float | None) -> float | None:
    return None if seconds is None else check_seconds(seconds, "deadline_seconds")


def _check_key(key: str) -> None:
    if not key or len(key) > 255 or not key.isascii() or not key.isprintable():
        raise InvalidArgumentError("an idempotency key is 1 to 255 printable ASCII characters")


def _body(options: RequestOptions) -> tuple[bytes | None, str | None]:
    if "json" in options and "content" in options:
        raise InvalidArgumentError("give json= or content=, not both")
    if "json" in options:
        return encode(options["json"]), "application/json"
    content = options.get("content")
    if content is None:
        return None, options.get("content_type")
    if not isinstance(content, bytes | str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"content= takes bytes or str, got {type(content).__name__}; for JSON give json=")
    data = content.encode() if isinstance(content, str) else content
    return data, options.get("content_type", "application/octet-stream")
