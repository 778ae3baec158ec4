"""Tokens of the OAuth2 password flow (RFC 6749 sections 4.3 and 6).

The access token is a signed JWT that nobody needs to look up. The refresh token is a stored secret that is changed for
a new one at each use. The answer to that may get lost, so the old one stays valid until the new one is first used.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from sqlalchemy import and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import Scope, TokenPair
from playcall.server.clock import utc_now
from playcall.server.ids import new_id
from playcall.server.store.tables.accounts import RefreshTokenRow, UserRow

from .caller import Caller
from .secrets import REFRESH_PREFIX, hash_secret, new_secret

__all__ = ["InvalidTokenError", "TokenIssuer"]

_ALGORITHM = "HS256"
_ISSUER = "playcall"


class InvalidTokenError(Exception):
    """The token is not ours, has expired or has been replaced; the message says which, and nothing of the token."""


class TokenIssuer:
    """Issues and reads tokens with the database's own signing key."""

    def __init__(self, signing_key: str, *, access_seconds: int, refresh_seconds: int) -> None:
        self._key = signing_key
        self._access_seconds = access_seconds
        self._refresh_seconds = refresh_seconds

    async def issue(
        self, session: AsyncSession, user: UserRow, scope: Scope, *, parent_id: str | None = None
    ) -> TokenPair:
        """A new pair; `parent_id` is the refresh token that was given for it."""
        now = utc_now()
        secret = new_secret(REFRESH_PREFIX)
        session.add(
            RefreshTokenRow(
                id=new_id("rft"),
                user_id=user.id,
                parent_id=parent_id,
                scope=scope.value,
                secret_hash=hash_secret(secret),
                created_at=now,
                expires_at=now + timedelta(seconds=self._refresh_seconds),
            )
        )
        claims = {
            "iss": _ISSUER,
            "sub": user.id,
            "name": user.username,
            "scope": scope.value,
            "iat": now,
            # To the fraction (RFC 7519 section 2 has it so): whole seconds would take up to one from what we say it lives.
            "exp": (now + timedelta(seconds=self._access_seconds)).timestamp(),
            "jti": new_id("tok"),
        }
        return TokenPair(
            access_token=jwt.encode(claims, self._key, algorithm=_ALGORITHM),  # pyright: ignore[reportUnknownMemberType] - its key type is partly untyped
            expires_in=self._access_seconds,
            refresh_token=secret,
        )

    async def refresh(self, session: AsyncSession, secret: str) -> TokenPair:
        """A new pair for a refresh token.

        This first use of a token is the end of the one before it, and of others that were given for that one but never
        arrived.

        Raises:
            InvalidTokenError: It is unknown, has expired, or the one after it has been used.
        """
        now = utc_now()
        row = (
            await session.execute(
                select(RefreshTokenRow).where(RefreshTokenRow.secret_hash == hash_secret(secret)).with_for_update()
            )
        ).scalar_one_or_none()
        if row is None or row.expires_at <= now:
            raise InvalidTokenError("the refresh token is unknown, has expired or has been replaced; log in again")
        user = (await session.execute(select(UserRow).where(UserRow.id == row.user_id))).scalar_one()
        if row.parent_id is not None:
            await session.execute(
                delete(RefreshTokenRow).where(
                    or_(
                        RefreshTokenRow.id == row.parent_id,
                        and_(RefreshTokenRow.parent_id == row.parent_id, RefreshTokenRow.id != row.id),
                    )
                )
            )
            row.parent_id = None
        await session.execute(
            delete(RefreshTokenRow).where(RefreshTokenRow.user_id == user.id, RefreshTokenRow.expires_at <= now)
        )
        return await self.issue(session, user, Scope(row.scope), parent_id=row.id)

    def read(self, token: str) -> Caller:
        """Who an access token belongs to.

        Raises:
            InvalidTokenError: It is not ours, or has expired.
        """
        try:
            claims: dict[str, Any] = jwt.decode(  # pyright: ignore[reportUnknownMemberType] - its key type is partly untyped
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={"require": ["exp", "sub", "iss"], "verify_exp": False},  # it would cut the fraction off
            )
            expires_at = datetime.fromtimestamp(float(claims["exp"]), UTC)
            if expires_at <= utc_now():
                raise InvalidTokenError("the token has expired")
            return Caller(
                user_id=str(claims["sub"]),
                username=str(claims.get("name", "")),
                scope=Scope(claims.get("scope", Scope.READ)),
                credential="token",
                credential_id=None,
                expires_at=expires_at,
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            # `from None`: the library's message may quote what was sent.
            raise InvalidTokenError("the token is not one of ours") from None
