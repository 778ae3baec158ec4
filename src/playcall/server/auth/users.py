"""What an operator does with users: `playcall users`, directly on the database.

Whoever can open the database may do all of it, so there is no kind of user for it, and no route. Servers that run see it
with their next look: a request at once, an open socket within two seconds.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import ApiKeySpec
from playcall.server.clock import utc_now
from playcall.server.store.database import Database
from playcall.server.store.migrate import is_current
from playcall.server.store.tables import ApiKeyRow, Base, RunRow, TaskRow, TokenFamilyRow, UserRow

from .accounts import add_api_key, create_user
from .passwords import hash_password, new_password
from .sign_in import normal_username

__all__ = [
    "ListedUser",
    "UserError",
    "add_user",
    "disable_user",
    "enable_user",
    "list_users",
    "remove_user",
    "require_current",
    "set_password",
]

_MAX_NAME: Final = 200
_OWNER_COLUMNS: Final = ("owner_id", "user_id", "caller_id")


class UserError(Exception):
    """It cannot be done; the message says why, and nothing has been changed."""


@dataclass(frozen=True, slots=True)
class ListedUser:
    name: str
    created_at: datetime
    disabled_at: datetime | None
    has_password: bool
    api_keys: int


async def require_current(database: Database) -> None:
    """Whether its tables are those of this version: a command does not change them under servers that run.

    Raises:
        UserError: They are not.
    """

    def check(connection: Connection) -> None:
        if not is_current(connection):
            raise UserError(
                "the database is of another version of playcall than this; start this version's server once"
            )

    async with database.reader.connect() as connection:
        await connection.run_sync(check)


async def add_user(database: Database, name: str, password: str | None) -> str | None:
    """A user with a password; without one, with an API key, whose secret is returned.

    Raises:
        UserError: The name cannot be one, or is taken.
        UnfitPasswordError: See there.
    """
    name = _new_username(name)
    password_hash = None if password is None else await hash_password(new_password(password))
    try:
        async with database.write() as tx:
            user = await create_user(tx.session, name, password_hash)
            if password is not None:
                return None
            return (await add_api_key(tx.session, user.id, ApiKeySpec(name="first"))).secret
    except IntegrityError:
        raise UserError(f"there is a user {name!r} already") from None


async def list_users(database: Database) -> list[ListedUser]:
    """In the order of their making."""
    keys = select(ApiKeyRow.user_id, func.count().label("count")).group_by(ApiKeyRow.user_id).subquery()
    statement = select(UserRow, keys.c.count).outerjoin(keys, keys.c.user_id == UserRow.id)
    async with database.read() as session:
        found = await session.execute(statement.order_by(UserRow.created_at, UserRow.id))
        return [
            ListedUser(row.username, row.created_at, row.disabled_at, row.password_hash is not None, count or 0)
            for row, count in found
        ]


async def disable_user(database: Database, name: str) -> None:
    """Nothing that they hold is good from now on. Their runs go on, and what is theirs stays.

    API keys are good again once the user is enabled; sessions begin anew, with the password.

    Raises:
        UserError: There is no such user.
    """
    async with database.write() as tx:
        user = await _user(tx.session, name)
        user.disabled_at = user.disabled_at or utc_now()
        await tx.session.execute(delete(TokenFamilyRow).where(TokenFamilyRow.user_id == user.id))


async def enable_user(database: Database, name: str) -> None:
    """
    Raises:
        UserError: There is no such user.
    """
    async with database.write() as tx:
        (await _user(tx.session, name)).disabled_at = None


async def set_password(database: Database, name: str, password: str) -> None:
    """All sessions that began with the old one end; API keys stay.

    Raises:
        UserError: There is no such user.
        UnfitPasswordError: See there.
    """
    password_hash = await hash_password(new_password(password))
    async with database.write() as tx:
        user = await _user(tx.session, name)
        await tx.session.execute(update(UserRow).where(UserRow.id == user.id).values(password_hash=password_hash))
        await tx.session.execute(delete(TokenFamilyRow).where(TokenFamilyRow.user_id == user.id))


async def remove_user(database: Database, name: str) -> list[str]:
    """The user, and all that is theirs; the names of their runs' and tasks' workspaces are returned, for removal.

    Raises:
        UserError: There is no such user, they have not been disabled, or something of theirs still runs.
    """
    async with database.write() as tx:
        user = await _user(tx.session, name)
        if user.disabled_at is None:
            raise UserError(f"{name!r} is not disabled: disable them first")
        workspaces: list[str] = []
        for table in (RunRow, TaskRow):
            owned = await tx.session.execute(select(table.id, table.ended_at).where(table.owner_id == user.id))
            for id_, ended_at in owned:
                if ended_at is None:
                    raise UserError(f"{id_} of {name!r} has not ended: enable them, and let it end or cancel it")
                workspaces.append(id_)
        for owned_table in reversed(Base.metadata.sorted_tables):
            for column in _OWNER_COLUMNS:
                if column in owned_table.columns:
                    await tx.session.execute(delete(owned_table).where(owned_table.columns[column] == user.id))
        await tx.session.delete(user)
    return workspaces


async def _user(session: AsyncSession, name: str) -> UserRow:
    statement = select(UserRow).where(UserRow.username == normal_username(name)).with_for_update()
    user = (await session.execute(statement)).scalar_one_or_none()
    if user is None:
        raise UserError(f"there is no user {name!r}")
    return user


def _new_username(text: str) -> str:
    name = normal_username(text)
    if not 1 <= len(name) <= _MAX_NAME or name != name.strip() or any(_is_odd(character) for character in name):
        raise UserError(f"a name has 1 to {_MAX_NAME} characters, none of control, and no space at its ends")
    return name


def _is_odd(character: str) -> bool:
    """Control, format, surrogates, and what Unicode has not assigned."""
    return unicodedata.category(character).startswith("C")
