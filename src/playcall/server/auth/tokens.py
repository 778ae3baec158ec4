"""Tokens of the OAuth2 password flow (RFC 6749 sections 4.3 and 6).

Both kinds are signed JWTs of one family, which is what follows one sign-in. An access token is good as long as its family
is there and it has not expired: that is looked up with each request, as an API key is, so that nothing outlives the end of
a family.

Refresh tokens are numbered, and each use gives the next. The answer may get lost, so the old one stays valid until the new
one is first used. A token that is over, or one of two that were given for the same, of which the other was used, is in the
hands of two: the family ends (RFC 9700 section 4.14.2), for the thief and for the owner, who signs in again.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import Scope, TokenPair
from playcall.server.clock import utc_now
from playcall.server.ids import new_id
from playcall.server.store.database import Database
from playcall.server.store.tables.accounts import TokenFamilyRow, UserRow

from .caller import Caller
from .secrets import REFRESH_PREFIX, hash_secret

__all__ = ["InvalidTokenError", "ReusedTokenError", "TokenIssuer"]

logger = logging.getLogger("playcall.server.auth")

_ALGORITHM = "HS256"
_ISSUER = "playcall"
_SIGN_IN_AGAIN = "the refresh token is unknown, has expired or has been replaced; log in again"


class InvalidTokenError(Exception):
    """The token is not ours, has expired or has been replaced; the message says which, and nothing of the token."""


class ReusedTokenError(InvalidTokenError):
    """It was used after it was over. Its family has ended: its access tokens are no good any more, nor its sockets."""

    def __init__(self, family_id: str) -> None:
        super().__init__(_SIGN_IN_AGAIN)
        self.family_id = family_id


class TokenIssuer:
    """Issues and reads tokens with the database's own signing key."""

    def __init__(self, signing_key: str, *, access_seconds: int, refresh_seconds: int) -> None:
        self._key = signing_key
        self._access_seconds = access_seconds
        self._refresh_seconds = refresh_seconds

    async def issue(self, session: AsyncSession, user: UserRow, scope: Scope) -> TokenPair:
        """The first pair of a new family."""
        now = utc_now()
        await session.execute(
            delete(TokenFamilyRow).where(TokenFamilyRow.user_id == user.id, TokenFamilyRow.expires_at <= now)
        )
        family = TokenFamilyRow(
            id=new_id("fam"),
            user_id=user.id,
            scope=scope.value,
            generation=1,
            current_hash="",
            created_at=now,
            expires_at=now,
        )
        session.add(family)
        pair = self._pair(family, user, 1, now)
        family.current_hash = hash_secret(pair.refresh_token or "")
        return pair

    async def refresh(self, database: Database, token: str, *, wait_seconds: float | None = None) -> TokenPair:
        """The next pair for a refresh token, whose first use is the end of those before it.

        Raises:
            InvalidTokenError: It is not ours, has expired, or its family has ended.
            ReusedTokenError: Its family has ended by this.
            NoTurnError: See `Database.write`.
        """
        family_id, generation = self._read_refresh(token)
        async with database.write(wait_seconds=wait_seconds) as tx:
            found = await tx.session.execute(
                select(TokenFamilyRow, UserRow)
                .join(UserRow, UserRow.id == TokenFamilyRow.user_id)
                .where(TokenFamilyRow.id == family_id, UserRow.disabled_at.is_(None))
                .with_for_update(of=TokenFamilyRow)
            )
            known = found.one_or_none()
            if known is None:
                raise InvalidTokenError(_SIGN_IN_AGAIN)
            family, user = known
            if generation > family.generation:
                family.generation, family.current_hash = generation, hash_secret(token)
            if family.generation == generation and family.current_hash == hash_secret(token):
                return self._pair(family, user, generation + 1, utc_now())
            user_id = family.user_id
            await tx.session.delete(family)
        logger.warning("refresh_token_reused", extra={"user_id": user_id, "family_id": family_id})
        raise ReusedTokenError(family_id)

    def _pair(self, family: TokenFamilyRow, user: UserRow, generation: int, now: datetime) -> TokenPair:
        expires_at = now + timedelta(seconds=self._refresh_seconds)
        family.expires_at = max(expires_at, now + timedelta(seconds=self._access_seconds))
        # An access token has a `sub`, a refresh token an `n`: neither is taken for the other, which lacks it.
        common = {"iss": _ISSUER, "fam": family.id, "iat": now, "jti": new_id("tok")}
        access = {
            **common,
            "sub": user.id,
            "name": user.username,
            "scope": family.scope,
            # To the fraction (RFC 7519 section 2 has it so): whole seconds would take up to one from what we say it lives.
            "exp": (now + timedelta(seconds=self._access_seconds)).timestamp(),
        }
        refresh = {**common, "n": generation, "exp": expires_at.timestamp()}
        return TokenPair(
            access_token=_encode(access, self._key),
            expires_in=self._access_seconds,
            refresh_token=REFRESH_PREFIX + _encode(refresh, self._key),
        )

    def _read_refresh(self, token: str) -> tuple[str, int]:
        """Its family and number."""
        try:
            claims = _decode(token.removeprefix(REFRESH_PREFIX), self._key, ["exp", "iss", "fam", "n"])
            family_id, generation = str(claims["fam"]), int(claims["n"])
            if datetime.fromtimestamp(float(claims["exp"]), UTC) > utc_now():
                return family_id, generation
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            pass  # its message may quote what was sent
        raise InvalidTokenError(_SIGN_IN_AGAIN)

    def read(self, token: str) -> Caller:
        """Who an access token belongs to, if its family is still there: `credential_id` names it.

        Raises:
            InvalidTokenError: It is not ours, or has expired.
        """
        try:
            claims = _decode(token, self._key, ["exp", "sub", "iss", "fam"])
            expires_at = datetime.fromtimestamp(float(claims["exp"]), UTC)
            if expires_at <= utc_now():
                raise InvalidTokenError("the token has expired")
            return Caller(
                user_id=str(claims["sub"]),
                username=str(claims.get("name", "")),
                scope=Scope(claims.get("scope", Scope.READ)),
                credential="token",
                credential_id=str(claims["fam"]),
                expires_at=expires_at,
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            # `from None`: the library's message may quote what was sent.
            raise InvalidTokenError("the token is not one of ours") from None


def _encode(claims: dict[str, Any], key: str) -> str:
    """`Any`, here and below: claims are any JSON."""
    return jwt.encode(claims, key, algorithm=_ALGORITHM)  # pyright: ignore[reportUnknownMemberType] - its key type is partly untyped


def _decode(token: str, key: str, required: list[str]) -> dict[str, Any]:
    return jwt.decode(  # pyright: ignore[reportUnknownMemberType] - its key type is partly untyped
        token,
        key,
        algorithms=[_ALGORITHM],
        issuer=_ISSUER,
        # The expiry we hold ourselves, to the fraction. When it was issued is by the clock of another machine, maybe, which
        # is a little ahead: that makes it no less ours.
        options={"require": required, "verify_exp": False, "verify_iat": False},
    )
