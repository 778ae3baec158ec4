"""Users, and the first one of all."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import ApiKeyId, ApiKeySpec, NewApiKey
from playcall.server.clock import utc_now
from playcall.server.ids import new_id
from playcall.server.store.database import Database
from playcall.server.store.tables.accounts import ApiKeyRow, UserRow

from .passwords import hash_password, new_password
from .secrets import API_KEY_PREFIX, hash_secret, hint_of, new_secret

__all__ = ["FIRST_USER", "add_api_key", "create_user", "first_start"]

FIRST_USER = "admin"


async def create_user(session: AsyncSession, username: str, password_hash: str | None = None) -> UserRow:
    """A new user. Hash the password (`passwords.hash_password`) before the transaction: it takes a while.

    Raises:
        sqlalchemy.exc.IntegrityError: The name is taken.
    """
    user = UserRow(id=new_id("usr"), username=username, password_hash=password_hash, created_at=utc_now())
    session.add(user)
    await session.flush()
    return user


async def add_api_key(session: AsyncSession, user_id: str, spec: ApiKeySpec) -> NewApiKey:
    """A new key; what this returns is the only place where its secret ever stands."""
    secret = new_secret(API_KEY_PREFIX)
    now = utc_now()
    expires_at = None if spec.expires_in_seconds is None else now + timedelta(seconds=spec.expires_in_seconds)
    row = ApiKeyRow(
        id=new_id("key"),
        user_id=user_id,
        name=spec.name,
        scope=spec.scope.value,
        hint=hint_of(secret),
        secret_hash=hash_secret(secret),
        created_at=now,
        expires_at=expires_at,
        last_used_at=None,
    )
    session.add(row)
    await session.flush()
    return NewApiKey(
        id=ApiKeyId(row.id),
        name=row.name,
        scope=spec.scope,
        hint=row.hint,
        created_at=now,
        expires_at=expires_at,
        secret=secret,
    )


async def first_start(database: Database, *, admin_password: str | None) -> str | None:
    """In a database without users: make the first one, with an API key whose secret is returned. Else None.

    Raises:
        UnfitPasswordError: See there.
    """
    async with database.read() as session:
        if (await session.execute(select(UserRow.id).limit(1))).first() is not None:
            return None
    password_hash = None if admin_password is None else await hash_password(new_password(admin_password))
    async with database.write() as tx:
        # Two first starts at once: the second finds the first one's user.
        if (await tx.session.execute(select(UserRow.id).limit(1))).first() is not None:
            return None
        user = await create_user(tx.session, FIRST_USER, password_hash)
        key = await add_api_key(tx.session, user.id, ApiKeySpec(name="first start"))
    return key.secret
