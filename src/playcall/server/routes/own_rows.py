"""The caller's own rows: to everybody else they do not exist."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.server.auth.caller import Caller
from playcall.server.problems import not_found
from playcall.server.store.tables import OwnedRow

__all__ = ["find_own_row", "own_row"]

RowT = TypeVar("RowT", bound=OwnedRow)


async def find_own_row(
    session: AsyncSession, table: type[RowT], caller: Caller, id: str, *, lock: bool = False
) -> RowT | None:
    """None where there is none, or it is somebody else's; with `lock`, nobody else changes it before the transaction ends:
    its version is not raised twice from the same."""
    statement: Select[RowT] = select(table).where(table.id == id, table.owner_id == caller.user_id)
    return (await session.execute(statement.with_for_update() if lock else statement)).scalar_one_or_none()


async def own_row(
    session: AsyncSession, table: type[RowT], caller: Caller, id: str, noun: str, *, lock: bool = False
) -> RowT:
    """As `find_own_row`.

    Raises:
        ApiError: 404.
    """
    row = await find_own_row(session, table, caller, id, lock=lock)
    if row is None:
        raise not_found(noun)
    return row
