"""The gate: from what a request carries to its caller."""

from __future__ import annotations

from sqlalchemy import select, update
from starlette.datastructures import Headers

from playcall.models import Scope
from playcall.server.clock import utc_now
from playcall.server.problems import ApiError, unauthenticated
from playcall.server.store.database import Database
from playcall.server.store.tables.accounts import ApiKeyRow, UserRow

from .caller import Caller
from .secrets import API_KEY_PREFIX, hash_secret
from .tokens import InvalidTokenError, TokenIssuer

__all__ = ["Gate", "credential_of"]


def credential_of(headers: Headers) -> str | None:
    """The API key or token that the headers carry; None if they carry none.

    Raises:
        ApiError: 400 `ambiguous_credentials`: both headers are there. 401: `Authorization` is not a bearer's.
    """
    api_key, authorization = headers.get("x-api-key"), headers.get("authorization")
    if api_key is not None and authorization is not None:
        raise ApiError(400, "ambiguous_credentials", "send X-API-Key or Authorization, not both")
    if api_key is not None:
        return api_key.strip()
    if authorization is None:
        return None
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise unauthenticated("Authorization must be: Bearer, a space, and a token or API key")
    return value.strip()


class Gate:
    """Knows callers by their credentials, and remembers when API keys were used."""

    def __init__(self, database: Database, tokens: TokenIssuer) -> None:
        self._database = database
        self._tokens = tokens
        self._used: set[str] = set()

    async def caller(self, credential: str | None) -> Caller:
        """
        Raises:
            ApiError: 401: there is no credential, or it is not valid.
        """
        if not credential:
            raise unauthenticated("this needs an API key (X-API-Key) or a token (Authorization: Bearer)")
        if credential.startswith(API_KEY_PREFIX):
            return await self._by_api_key(credential)
        try:
            return self._tokens.read(credential)
        except InvalidTokenError as error:
            raise unauthenticated(str(error), token_error="invalid_token") from None  # noqa: S106 - RFC 6750's word

    async def _by_api_key(self, secret: str) -> Caller:
        async with self._database.read() as session:
            found = (
                await session.execute(
                    select(ApiKeyRow, UserRow.username)
                    .join(UserRow, UserRow.id == ApiKeyRow.user_id)
                    .where(ApiKeyRow.secret_hash == hash_secret(secret))
                )
            ).one_or_none()
        if found is None:
            raise unauthenticated("the API key is unknown or has been revoked")
        row, username = found
        if row.expires_at is not None and row.expires_at <= utc_now():
            raise unauthenticated("the API key has expired")
        self._used.add(row.id)
        return Caller(
            user_id=row.user_id,
            username=username,
            scope=Scope(row.scope),
            credential="api_key",
            credential_id=row.id,
            expires_at=row.expires_at,
        )

    async def is_revoked(self, caller: Caller) -> bool:
        """Whether the caller's API key is no more. A token cannot be revoked."""
        if caller.credential_id is None:
            return False
        async with self._database.read() as session:
            found = await session.execute(select(ApiKeyRow.id).where(ApiKeyRow.id == caller.credential_id))
            return found.first() is None

    async def write_down_use(self) -> None:
        """Store when keys were last used: now and then, in one write, not with every request."""
        used, self._used = self._used, set()
        if not used:
            return
        async with self._database.write() as tx:
            await tx.session.execute(update(ApiKeyRow).where(ApiKeyRow.id.in_(used)).values(last_used_at=utc_now()))
