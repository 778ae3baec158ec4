"""Credentials: what they are, and the ways in which they are had."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, runtime_checkable

from ..checks import check_header
from ..errors import AuthenticationError, ConfigurationError, InvalidArgumentError, StatusError
from .paths import as_path

__all__ = [
    "ApiKey",
    "Auth",
    "BearerToken",
    "Credentials",
    "OAuth2Password",
    "TokenEndpoint",
    "TokenFields",
    "TokenGrant",
    "bearer",
    "check_auth",
    "check_header_value",
    "check_lifetime",
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


def check_auth(auth: object) -> None:
    """Raises: ConfigurationError: it is no scheme, or the class of one."""
    if auth is not None and (isinstance(auth, type) or not isinstance(auth, Auth)):
        given = auth.__name__ if isinstance(auth, type) else type(auth).__name__
        raise ConfigurationError(
            f"auth= takes an ApiKey(…), BearerToken(…), OAuth2Password(…) or the like, got {given}"
        )


def check_lifetime(seconds: object) -> None:
    """Raises: ConfigurationError: it is neither None nor a positive number of seconds."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"lifetime_seconds must be positive, got {seconds!r}")


class ApiKey:
    """An API key, sent in `header`."""

    def __init__(self, key: str, *, header: str = "X-API-Key") -> None:
        """Raises: ConfigurationError: the key is empty, or it or the header's name cannot be sent."""
        try:
            check_header(header, "")
        except InvalidArgumentError as error:
            raise ConfigurationError(error.message) from None
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
        check_lifetime(lifetime_seconds)
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
        """
        Raises:
            ConfigurationError: the username or password is empty.
            InvalidArgumentError: `token_path` is no path within the base URL: the password would go elsewhere.
        """
        if not username or not password:
            raise ConfigurationError("OAuth2Password needs a username and a password")
        self._username = username
        self._password = password
        self._token_path = as_path(token_path).text

    def __repr__(self) -> str:
        return f"OAuth2Password({self._username!r}, ***)"

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
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
