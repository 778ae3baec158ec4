"""`BaseAPIClient`: typed HTTP calls that survive, for any JSON backend; `BlockingAPIClient` is its other face."""

from __future__ import annotations

import copy
import ssl
import warnings
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Protocol, Self, cast, overload

from typing_extensions import TypeForm, TypeVar, Unpack

from ..answer import Answer, RawAnswer
from ..checks import check_method
from ..config import DEFAULT_DEADLINE_SECONDS, DEFAULT_MAX_CONCURRENCY
from ..deadline import check_seconds
from ..errors import ConfigurationError, InvalidArgumentError
from ..faces import Awaiting, Blocking, FaceT, Service, bound, call
from ..home_process import HomeProcess
from ..http.answers import adapter, unreadable
from ..http.auth import Auth, check_auth
from ..http.call import Call, IncomingBody
from ..http.engine import READ_TIMEOUT_SECONDS, Engine
from ..http.envelope import Envelope
from ..http.hooks import AttemptHook
from ..http.paths import Path, as_path, base_url
from ..http.pool import CONNECT_TIMEOUT_SECONDS, SessionPool, check_ssl_context
from ..http.problems import ErrorClasses
from ..http.proxies import ENVIRONMENT, Proxy, proxy_for
from ..http.retry import RetryPolicy
from ..http.transport import AiohttpTransport, Transport
from ..loop_thread import LoopThread
from ..status import ConnectionStatus, StatusBoard
from .blocking_body import BlockingBody
from .downloads import save
from .options import ClientOptions, RequestOptions, Settings

if TYPE_CHECKING:
    from ..http.authenticator import Authenticator

__all__ = ["APIClient", "BaseAPIClient", "BlockingAPIClient", "ClientOptions", "RequestOptions"]

T = TypeVar("T", default=Any)
USER_AGENT = "playcall/0.1"
PROBE_SECONDS = 5.0


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
    @overload
    async def raw(self, path: str | Path, *, into: TypeForm[T], **options: Unpack[RequestOptions]) -> RawAnswer[T]: ...
    @overload
    async def raw(self, path: str | Path, **options: Unpack[RequestOptions]) -> RawAnswer[Any]: ...


class BlockingVerb(Protocol):
    """A verb of `BlockingAPIClient`; as `AwaitingVerb`."""

    @overload
    def __call__(self, path: str | Path, *, into: TypeForm[T], **options: Unpack[RequestOptions]) -> T: ...
    @overload
    def __call__(self, path: str | Path, **options: Unpack[RequestOptions]) -> Any: ...
    @overload
    def raw(self, path: str | Path, *, into: TypeForm[T], **options: Unpack[RequestOptions]) -> RawAnswer[T]: ...
    @overload
    def raw(self, path: str | Path, **options: Unpack[RequestOptions]) -> RawAnswer[Any]: ...


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
        return self if obj is None else bound(obj, _request, self._method)


async def _request(
    api: APIClient[Awaiting],
    method: str,
    path: str | Path,
    *,
    into: TypeForm[T] | None = None,
    **options: Unpack[RequestOptions],
) -> T:
    """One call with the verb's method; see `AwaitingVerb` for what it gives and raises."""
    if into is not None:
        adapter(into)  # a type that no answer can be read into is found before anything is sent
    done = await api.engine.request(api.settings.call(method, path, options))
    assert done.wire is not None  # noqa: S101 - it has ended well
    status = done.wire.status
    if status == 304:
        known = options.get("known")
        if known is None:
            raise unreadable(
                done.answer(), "but nothing was known to be current: give known=, or take the answer itself"
            )
        return cast("T", known.value)
    if status == 206 and "range" not in {name.lower() for name in options.get("headers") or {}}:
        raise unreadable(done.answer(), "but a part of it was not asked for")
    return api.engine.value(done, into, api.settings.errors)


class APIClient(HomeProcess, Service[FaceT]):
    """The verbs, typed for both faces. Use `BaseAPIClient` or `BlockingAPIClient`."""

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        deadline_seconds: float | None = DEFAULT_DEADLINE_SECONDS,
        connect_timeout_seconds: float | None = CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds: float | None = READ_TIMEOUT_SECONDS,
        retry: RetryPolicy | None = None,
        idempotency_keys: bool = False,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        send_deadline: bool = False,
        health_path: str = "/health",
        hooks: Sequence[AttemptHook] = (),
        envelope: Envelope | None = None,
        errors: ErrorClasses | None = None,
        transport: Transport | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy = ENVIRONMENT,
        user_agent: str = USER_AGENT,
    ) -> None:
        """A client of the backend at `url`.

        Args:
            url: Where the paths begin, `http://host:port/prefix`.
            auth: `ApiKey`, `BearerToken`, `OAuth2Password`, `FormLogin`, or your own (see docs/authentication.md).
            deadline_seconds: What one call may take, attempts, pauses and body included; None for no bound.
            connect_timeout_seconds: What one attempt may take to connect; None for no bound but the deadline.
            read_timeout_seconds: How long the backend may be silent within one attempt; None likewise.
            retry: When a failed attempt is made again.
            idempotency_keys: The far end honours `Idempotency-Key`, so unsafe requests carry one and are repeated safely.
            max_concurrency: Requests under way at once; the others wait, in order.
            send_deadline: Tell the far end what is left, as `X-Request-Timeout-Ms`.
            health_path: Asked by `status.wait_until_ready()`, and by `status.monitor()` while nothing is called.
            hooks: Called around each attempt, in order: for metrics, tracing, headers of your own.
            envelope: How the far end wraps its answers; None where it does not.
            errors: Classes of your own for its error answers, by status or by its code: `{404: BookNotFoundError}`. They
                are subclasses of StatusError, and made as it is.
            transport: Another way to send, for tests; then `ssl_context`, `proxy` and the connect timeout are its affair.
            ssl_context: For a private certificate authority or client certificates; None for the system's trust.
            proxy: `http://[user:password@]host:port`; `"environment"` for `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
                `NO_PROXY` (never for this very machine); None for none.

        Raises:
            ConfigurationError: one of these makes no sense. Nothing was sent.
        """
        super().__init__(blocking=isinstance(self, BlockingAPIClient))
        check_auth(auth)
        check_ssl_context(ssl_context)
        if envelope is not None and not isinstance(envelope, Envelope):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(f"envelope= takes an Envelope(), got {envelope!r}")
        root = base_url(url)
        self._settings = Settings(
            deadline_seconds,
            retry if retry is not None else RetryPolicy(),
            hooks,
            idempotency_keys,
            {} if errors is None else errors,
        )
        self._board = StatusBoard()
        if transport is not None and not hasattr(transport, "send"):
            raise ConfigurationError(f"transport= takes a Transport, got {type(transport).__name__}")
        if transport is None:
            pool = SessionPool(
                ssl_context, proxy=proxy_for(root, proxy), connect_timeout_seconds=connect_timeout_seconds
            )
            transport = AiohttpTransport(pool)
        self._engine = Engine(
            root,
            transport=transport,
            auth=auth,
            max_concurrency=max_concurrency,
            retry_budget=self._settings.retry.budget,
            status=self._board,
            user_agent=user_agent,
            send_deadline=send_deadline,
            read_timeout_seconds=_checked_timeout(read_timeout_seconds, "read_timeout_seconds"),
            envelope=envelope,
        )
        self._owner = _Owner(self._engine, as_path(health_path))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._engine.base_url!r})"

    # --- verbs --------------------------------------------------------------------------------------------------------

    get = _Verb("GET")
    post = _Verb("POST")
    put = _Verb("PUT")
    patch = _Verb("PATCH")
    delete = _Verb("DELETE")

    @call
    async def answer(
        self: APIClient[Awaiting], method: str, path: str | Path, **options: Unpack[RequestOptions]
    ) -> Answer:
        """The answer itself, for its headers and its timeline; raises as `get`, but reads no value."""
        return (await self._engine.request(self._settings.call(check_method(method), path, options))).answer()

    def read(self, answer: Answer, into: TypeForm[T] | None) -> T:
        """The value of what `answer()` gave; without a type, whatever JSON it is.

        Raises:
            UnreadableAnswerError: it does not fit.
            StatusError: its envelope says that it failed.
        """
        return self._engine.read(answer, into, self._settings.errors)

    @call
    async def download(
        self: APIClient[Awaiting],
        path: str | Path,
        to: str | FilePath,
        **options: Unpack[RequestOptions],
    ) -> FilePath:
        """Writes what `GET path` gives to the file `to`, piece by piece, and returns its path; raises as `get`.

        The file is there whole or not at all: it is written beside its place and moved there at the end. `on_progress` is
        called with the bytes that have come so far, and how many there will be (None where the backend does not say).

        Content that breaks off goes on where it broke, if it has a strong ETag; else, and where it has changed, it begins
        anew. All of it is one call: one deadline, and the policy's attempts, of which a part that came further is the first.
        `raw` gives the last answer without its body.

        Raises:
            InvalidArgumentError: there can be no such file; or an option has no meaning here. Nothing was sent.
            PlaycallError: the disk took no more; its cause is the OSError.
            UnreadableAnswerError: a success without content, such as a 304.
            ConnectionLostError: the content broke off, again and again.
        """
        on_progress = options.pop("on_progress", None)
        if options.get("known") is not None:
            raise InvalidArgumentError("known= has no meaning for a download: its value is a file")
        options["headers"] = {"Accept": "*/*", **(options.get("headers") or {})}
        return await save(self._engine, self._settings.call("GET", path, options), to, on_progress)

    @asynccontextmanager
    async def _streamed(self, method: str, path: str | Path, options: RequestOptions) -> AsyncGenerator[IncomingBody]:
        if options.get("known") is not None:
            raise InvalidArgumentError(
                "known= has no meaning for a stream: ask for the value, or give the header yourself"
            )
        async with self._engine.stream(self._settings.call(check_method(method), path, options)) as incoming:
            yield incoming

    # --- the client itself --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, as it is used."""
        return self._engine.base_url

    @property
    def status(self) -> ConnectionStatus[FaceT]:
        """How the connection stands."""
        return ConnectionStatus(self._board, partial(self._owner.probe, self._settings.hooks), blocking=self._blocking)

    @property
    def authenticator(self) -> Authenticator:
        """The credentials that this client shares with a `WebSocketClient` of the same backend."""
        return self._engine.authenticator

    @property
    def engine(self) -> Engine:
        """What all clones of this client share."""
        return self._engine

    @property
    def settings(self) -> Settings:
        """What holds for each call that does not say otherwise."""
        return self._settings

    @property
    def awaiting(self) -> APIClient[Awaiting]:
        """This client for code that awaits, whichever face it shows: what services are written against."""
        return cast("APIClient[Awaiting]", self._awaiting())

    @property
    def blocking(self) -> bool:
        """Which face it shows."""
        return self._blocking

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other settings over the same connections, credentials, limits and status."""
        clone = copy.copy(self)
        clone._settings = self._settings.changed(options)
        return clone


class BaseAPIClient(APIClient[Awaiting]):
    """The async client: `async with BaseAPIClient(url) as api: item = await api.get("/items/3", into=Item)`."""

    def stream(
        self, method: str, path: str | Path, **options: Unpack[RequestOptions]
    ) -> AbstractAsyncContextManager[IncomingBody]:
        """An answer whose body is read piece by piece; raises as `get`. The deadline bounds its use as well."""
        return self._streamed(method, path, options)

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

    def stream(
        self, method: str, path: str | Path, **options: Unpack[RequestOptions]
    ) -> AbstractContextManager[BlockingBody]:
        """An answer whose body is read piece by piece; raises as `get`. The deadline bounds its use as well."""
        return self._blocking_stream(method, path, options)

    @contextmanager
    def _blocking_stream(self, method: str, path: str | Path, options: RequestOptions) -> Generator[BlockingBody]:
        with BlockingBody(self.awaiting._streamed(method, path, options)) as incoming:
            yield incoming

    def close(self) -> None:
        """Closes the connections; calls after it raise ClientClosedError."""
        if not self._engine.ended:
            LoopThread.shared().call(self._owner.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Owner:
    """Lives as long as a client or one of its clones does; warns when the last goes without `close()`."""

    def __init__(self, engine: Engine, health_path: Path) -> None:
        self.engine = engine
        self._health_path = health_path

    async def probe(self, hooks: Sequence[AttemptHook]) -> None:
        """One GET of the health path, once, for a client with these hooks. Raises as `get`."""
        call = Call(
            "GET",
            self._health_path,
            RetryPolicy(attempts=1),
            PROBE_SECONDS,
            repeatable=True,
            probe=True,
            hooks=hooks,
        )
        await self.engine.request(call)

    async def close(self) -> None:
        await self.engine.close()

    def __del__(self) -> None:
        engine = self.engine
        if engine.abandon():
            warnings.warn(
                f"a client of {engine.base_url} was not closed: use it in a `with` block, or call close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


def _checked_timeout(seconds: float | None, name: str) -> float | None:
    return None if seconds is None else check_seconds(seconds, name)
