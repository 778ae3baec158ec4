"""Credentials: where they come from, when they are renewed, and that only one caller at a time renews them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import math
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias, runtime_checkable

from ..errors import ClientClosedError, ConfigurationError

__all__ = [
    "ApiKey",
    "Auth",
    "Authenticator",
    "BearerToken",
    "Credentials",
    "OAuth2Password",
    "TokenEndpoint",
    "TokenFields",
    "TokenGrant",
    "bearer",
    "check_header_value",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who is calling.

    `headers` go with each request to the base URL's origin. `bearer` is the token for the realtime contract's in-band
    `auth`, None where the credentials are not a token. `expires_at` is a `time.monotonic()` moment, None if not known.
    """

    headers: Mapping[str, str] = field(repr=False)
    bearer: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What a token endpoint gave (RFC 6749 section 5.1)."""

    access_token: str = field(repr=False)
    expires_in_seconds: float | None = None
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenFields:
    """Where a login's answer has its parts; a dot goes one object deeper, `data.token`."""

    access_token: str = "access_token"  # noqa: S105 - a field's name
    expires_in: str = "expires_in"
    refresh_token: str = "refresh_token"  # noqa: S105 - a field's name


RFC_6749: Final = TokenFields()
REFUSED: Final = frozenset({400, 401, 403})
"""RFC 6749 section 5.2 has 400 for a refused grant, and 401 for a refused client; others answer 403."""


class TokenEndpoint(Protocol):
    """Posts a form, or an object as JSON, to a path of the backend: without credentials, within a deadline of its own."""

    async def __call__(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        json: bool = False,
        fields: TokenFields = RFC_6749,
        refused: Collection[int] = REFUSED,
    ) -> TokenGrant:
        """The tokens that the answer holds, at its top or in the envelope that the client expects.

        Raises:
            AuthenticationError: the answer has one of the statuses `refused`, or its envelope says that it failed.
            UnreadableAnswerError: the answer holds no token.
            RequestError: the endpoint could not be asked, or failed otherwise.
        """
        ...


@runtime_checkable
class Auth(Protocol):
    """How credentials are had; implement it for a scheme of your own."""

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        """New credentials.

        Args:
            previous: The ones that expired or were refused, None the first time.
            token_endpoint: For schemes that ask the backend itself.
        """
        ...


def check_header_value(value: str, what: str) -> str:
    """`value`, fit to stand in a header. Raises: ConfigurationError, which does not repeat it."""
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"{what} must be a string, got {type(value).__name__}")
    if not value or not value.isprintable() or not value.isascii() or value != value.strip():
        raise ConfigurationError(f"{what} must be a non-empty line of printable ASCII, without spaces around it")
    return value


class ApiKey:
    """An API key, sent in `header`."""

    def __init__(self, key: str, *, header: str = "X-API-Key") -> None:
        """Raises: ConfigurationError: the key is empty or cannot stand in a header."""
        self._credentials = Credentials({header: check_header_value(key, "an API key")})

    def __repr__(self) -> str:
        return "ApiKey(***)"

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        return self._credentials


TokenProvider: TypeAlias = Callable[[], str | Awaitable[str]]


class BearerToken:
    """A bearer token (RFC 6750): a string, or a sync or async function that gives one.

    The function is asked again after `lifetime_seconds`, if given, and after the backend refused its last token. A sync
    function runs in a thread, so it may block.
    """

    def __init__(self, token: str | TokenProvider, *, lifetime_seconds: float | None = None) -> None:
        """Raises: ConfigurationError: the token is empty or cannot stand in a header, or the lifetime is not positive."""
        if lifetime_seconds is not None and not 0 < lifetime_seconds < math.inf:
            raise ConfigurationError(f"lifetime_seconds must be positive, got {lifetime_seconds!r}")
        if not isinstance(token, str) and not callable(token):  # pyright: ignore[reportUnnecessaryComparison] - callers may be untyped
            raise ConfigurationError(f"BearerToken takes a string or a function, got {type(token).__name__}")
        self._source = check_header_value(token, "a bearer token") if isinstance(token, str) else token
        self._lifetime_seconds = lifetime_seconds

    def __repr__(self) -> str:
        return "BearerToken(***)"

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        if isinstance(self._source, str):
            return bearer(self._source)
        if inspect.iscoroutinefunction(self._source):
            token = await self._source()
        else:
            token = await asyncio.to_thread(self._source)
            if inspect.isawaitable(token):
                token = await token
        if not isinstance(token, str):
            raise ConfigurationError(f"the token provider gave {type(token).__name__}, not a string")
        check_header_value(token, "a bearer token")
        return bearer(token, lifetime_seconds=self._lifetime_seconds)


class OAuth2Password:
    """Username and password against a token endpoint (RFC 6749 section 4.3), with its refresh token (section 6)."""

    def __init__(self, username: str, password: str, *, token_path: str = "/auth/token") -> None:  # noqa: S107 - a path
        """Raises: ConfigurationError: the username or password is empty."""
        if not username or not password:
            raise ConfigurationError("OAuth2Password needs a username and a password")
        self._username = username
        self._password = password
        self._token_path = token_path

    def __repr__(self) -> str:
        return f"OAuth2Password({self._username!r}, ***)"

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        from ..errors import AuthenticationError, StatusError

        if previous is not None and previous.refresh_token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": previous.refresh_token}
            try:
                return self._credentials(await token_endpoint(self._token_path, form))
            except StatusError as error:
                if not isinstance(error, AuthenticationError) and error.status not in REFUSED:
                    raise
                # The refresh token is no longer good; the password may be.
        form = {"grant_type": "password", "username": self._username, "password": self._password}
        return self._credentials(await token_endpoint(self._token_path, form))

    @staticmethod
    def _credentials(grant: TokenGrant) -> Credentials:
        return bearer(grant.access_token, lifetime_seconds=grant.expires_in_seconds, refresh_token=grant.refresh_token)


def bearer(token: str, *, lifetime_seconds: float | None = None, refresh_token: str | None = None) -> Credentials:
    """A bearer token's credentials (RFC 6750), for `lifetime_seconds` from now; None: until it is refused."""
    expires_at = None if lifetime_seconds is None else time.monotonic() + lifetime_seconds
    return Credentials({"Authorization": f"Bearer {token}"}, token, expires_at, refresh_token)


EXPIRY_MARGIN_SECONDS = 10.0
"""Credentials are renewed this long before they expire, or at four fifths of a shorter life."""


class _AbandonedError(Exception):
    """The task that renewed for everybody was cancelled: its loop ended, or its client was closed."""


class Authenticator:
    """The current credentials of one client: cached, renewed once for everybody, ahead of their expiry.

    The renewal runs as a task of its own, so no caller's cancellation stops it for the others; callers of other threads
    and loops wait for the same one.
    """

    def __init__(self, auth: Auth | None, token_endpoint: TokenEndpoint) -> None:
        self._auth = auth
        self._token_endpoint = token_endpoint
        self._lock = threading.Lock()
        self._current: Credentials | None = None if auth is not None else Credentials({})
        self._renew_at: float | None = None
        self._renewal: concurrent.futures.Future[Credentials] | None = None
        self._tasks: set[asyncio.Task[Credentials]] = set()
        self._closed = False

    async def credentials(self) -> Credentials:
        """The current credentials, fetched or renewed first if need be.

        Raises:
            ConfigurationError: the provider gave something that is no token.
            RequestError: the token endpoint could not be asked, or refused.
            ClientClosedError: the client was closed meanwhile.
            Exception: whatever the provider raises.
        """
        current = self._current
        if current is not None and (self._renew_at is None or time.monotonic() < self._renew_at):
            return current
        return await self._renewed(current)

    async def renew(self, refused: Credentials) -> bool:
        """Called after the backend refused `refused`; True if other credentials are current now.

        Renews only if the refused ones are still the current ones: the others who were refused wait, or find the new.
        """
        if self._auth is None:
            return False
        renewed = await self._renewed(refused)
        return renewed.headers != refused.headers

    async def _renewed(self, previous: Credentials | None) -> Credentials:
        while True:
            with self._lock:
                if self._current is not None and self._current is not previous:
                    return self._current
                if self._closed:
                    raise ClientClosedError("the client is closed: make a new one")
                renewal = self._renewal
                if renewal is None:
                    renewal = self._renewal = concurrent.futures.Future()
                    # An empty context: the renewal serves everybody, so it has nobody's deadline.
                    task = asyncio.get_running_loop().create_task(self._fetch(previous), context=contextvars.Context())
                    self._tasks.add(task)
                    # Not in the task itself: one that is cancelled before its first step runs none of its code.
                    task.add_done_callback(partial(self._settle, renewal))
            try:
                # shield: our own cancellation must not cancel the future that the others wait for.
                return await asyncio.shield(asyncio.wrap_future(renewal))
            except _AbandonedError:
                continue  # let one of us begin anew

    async def _fetch(self, previous: Credentials | None) -> Credentials:
        assert self._auth is not None  # noqa: S101 - without it there is nothing to renew
        try:
            fetched = await self._auth.fetch(previous, self._token_endpoint)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConfigurationError("the provider of credentials cancelled itself") from None
        if not isinstance(fetched, Credentials):  # pyright: ignore[reportUnnecessaryIsInstance] - it is a user's
            raise ConfigurationError(
                f"{type(self._auth).__name__}.fetch gave {type(fetched).__name__}, not Credentials"
            )
        return fetched

    def _settle(self, renewal: concurrent.futures.Future[Credentials], task: asyncio.Task[Credentials]) -> None:
        self._tasks.discard(task)
        error = _AbandonedError() if task.cancelled() else task.exception()
        with self._lock:
            if self._renewal is renewal:
                self._renewal = None
            if error is None:
                self._current = task.result()
                self._renew_at = _renew_at(self._current)
        if error is None:
            renewal.set_result(task.result())
        else:
            renewal.set_exception(error)

    def after_fork(self) -> None:
        """In a forked child: a renewal of the parent's will not end here."""
        self._lock = threading.Lock()
        self._renewal = None
        self._tasks = set()

    async def close(self) -> None:
        """Cancels a renewal that is under way on this loop; after it none begins."""
        self._closed = True
        tasks = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _renew_at(credentials: Credentials) -> float | None:
    if credentials.expires_at is None:
        return None
    left = credentials.expires_at - time.monotonic()
    return credentials.expires_at - min(EXPIRY_MARGIN_SECONDS, left / 5)
