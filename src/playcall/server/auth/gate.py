"""The gate: from what a request carries to its caller."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, update
from starlette.datastructures import Headers

from playcall.models import Scope
from playcall.server.clock import utc_now
from playcall.server.problems import ApiError, unauthenticated
from playcall.server.store.database import Database
from playcall.server.store.tables.accounts import ApiKeyRow, TokenFamilyRow, UserRow

from .caller import Caller
from .secrets import API_KEY_PREFIX, hash_secret
from .tokens import InvalidTokenError, TokenIssuer

__all__ = ["Gate", "credential_of"]

_AT_ONCE = 500
"""Databases take a bounded number of parameters in one statement."""


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
    """Knows callers by their credentials, and remembers when API keys were used.

    Each request costs one look at the database, by an index: so what was revoked, and whoever was disabled, is refused
    from the next request on, in every process.
    """

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
            caller = self._tokens.read(credential)
        except InvalidTokenError as error:
            raise unauthenticated(str(error), token_error="invalid_token") from None  # noqa: S106 - RFC 6750's word
        if await self.is_revoked(caller):
            raise unauthenticated("the token has been revoked; log in again", token_error="invalid_token")  # noqa: S106
        return caller

    async def _by_api_key(self, secret: str) -> Caller:
        async with self._database.read() as session:
            found = (
                await session.execute(
                    select(ApiKeyRow, UserRow.username)
                    .join(UserRow, UserRow.id == ApiKeyRow.user_id)
                    .where(ApiKeyRow.secret_hash == hash_secret(secret), UserRow.disabled_at.is_(None))
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
        """Whether the caller's API key, or the family of its token, is no more, or its user disabled."""
        return caller.credential_id not in await self.good_among([caller.credential_id])

    async def good_among(self, credential_ids: Collection[str]) -> set[str]:
        """Those that have not been revoked, and whose users are not disabled. When they expire is not asked."""
        left = list(credential_ids)
        good: set[str] = set()
        async with self._database.read() as session:
            for first in range(0, len(left), _AT_ONCE):
                some = left[first : first + _AT_ONCE]
                for table in (ApiKeyRow, TokenFamilyRow):
                    of_kind = [each for each in some if each.startswith("key_") == (table is ApiKeyRow)]
                    if of_kind:
                        found = await session.execute(
                            select(table.id)
                            .join(UserRow, UserRow.id == table.user_id)
                            .where(table.id.in_(of_kind), UserRow.disabled_at.is_(None))
                        )
                        good.update(found.scalars())
        return good

    async def write_down_use(self) -> None:
        """Store when keys were last used: now and then, in one write, not with every request."""
        used, self._used = self._used, set()
        if not used:
            return
        async with self._database.write() as tx:
            await tx.session.execute(update(ApiKeyRow).where(ApiKeyRow.id.in_(used)).values(last_used_at=utc_now()))
