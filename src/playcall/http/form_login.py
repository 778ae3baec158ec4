"""Logging in where the backend follows no standard: its own path, field names, statuses and answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ..errors import AuthenticationError, ConfigurationError
from .auth import Credentials, TokenEndpoint, TokenFields, TokenGrant, bearer, check_lifetime
from .paths import as_path

__all__ = ["FormLogin"]

_REFUSED: Final = frozenset({400, 401, 403, 422})


class FormLogin:
    """User name and password, posted to the backend's own login, for a bearer token.

        FormLogin("ann@example.org", "…", path="/login", username_field="email", token_field="data.token")

    For an endpoint as RFC 6749 has it, use `OAuth2Password`.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        path: str = "/login",
        username_field: str = "username",
        password_field: str = "password",  # noqa: S107 - a field's name
        json: bool = False,
        extra: Mapping[str, str] | None = None,
        token_field: str = "access_token",  # noqa: S107 - a field's name
        expires_field: str = "expires_in",
        lifetime_seconds: float | None = None,
        refused: Collection[int] = _REFUSED,
        refresh_path: str | None = None,
        refresh_field: str = "refresh_token",
    ) -> None:
        """The login of one user.

        Args:
            path: Within the client's base URL, as written: with its trailing slash, if the route has one.
            json: Send the fields as a JSON object; else as a form.
            extra: Fields beside these two, `{"grant_type": "password"}`.
            token_field: Where the answer has the token; a dot goes one object deeper. It is looked for at the top of the
                answer, and in the data of the client's `Envelope`.
            expires_field: Where it has the seconds that the token lives.
            lifetime_seconds: The same, where the answer does not say; None: the token is used until a 401 refuses it.
            refused: Statuses that mean wrong credentials, and end the call as AuthenticationError. Other failures of the
                login (404, 5xx, no answer) are told as what they are.
            refresh_path: Where a refresh token, found in the answer's `refresh_field`, is exchanged, in a field of the
                same name. None: the user name and password are sent again.

        Raises:
            ConfigurationError: a setting makes no sense. The message holds none of the secrets.
            InvalidArgumentError: a path is none.
        """
        if not username or not password:
            raise ConfigurationError("FormLogin needs a username and a password")
        for name in (username_field, password_field, token_field, expires_field, refresh_field):
            if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise ConfigurationError("FormLogin's fields are named by non-empty strings")
        if username_field == password_field:
            raise ConfigurationError(f"the username and the password cannot both be the field {username_field!r}")
        check_lifetime(lifetime_seconds)
        self._username = username
        self._password = password
        self._path = as_path(path).text
        self._refresh_path = None if refresh_path is None else as_path(refresh_path).text
        self._username_field = username_field
        self._password_field = password_field
        self._extra = dict(extra or {})
        self._json = json
        self._fields = TokenFields(token_field, expires_field, refresh_field)
        self._lifetime_seconds = lifetime_seconds
        self._refused = frozenset(refused)

    def __repr__(self) -> str:
        return f"FormLogin({self._username!r}, ***, path={self._path!r})"

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        """Raises: AuthenticationError: the login is refused; RequestError: it failed otherwise."""
        refresh_token = None if previous is None else previous.refresh_token
        if self._refresh_path is not None and refresh_token is not None:
            try:
                grant = await self._post(
                    token_endpoint, self._refresh_path, {self._fields.refresh_token.rpartition(".")[2]: refresh_token}
                )
            except AuthenticationError:
                pass  # the refresh token is no longer good; the password may be
            else:
                # Where no other is given, the old one goes on being good (RFC 6749 section 6).
                return self._credentials(grant, grant.refresh_token or refresh_token)
        form = {**self._extra, self._username_field: self._username, self._password_field: self._password}
        grant = await self._post(token_endpoint, self._path, form)
        return self._credentials(grant, grant.refresh_token)

    async def _post(self, token_endpoint: TokenEndpoint, path: str, form: Mapping[str, str]) -> TokenGrant:
        return await token_endpoint(path, form, json=self._json, fields=self._fields, refused=self._refused)

    def _credentials(self, grant: TokenGrant, refresh_token: str | None) -> Credentials:
        seconds = grant.expires_in_seconds if grant.expires_in_seconds is not None else self._lifetime_seconds
        return bearer(grant.access_token, lifetime_seconds=seconds, refresh_token=refresh_token)
