"""Everybody's tools, written down as this version has them."""

from __future__ import annotations

from sqlalchemy import select

from ..clock import utc_now
from ..ids import new_id
from ..store.database import Database
from ..store.dialect import insert_for
from ..store.tables import ToolRow
from ..tools import builtin_tools

__all__ = ["write_builtin_tools"]


async def write_builtin_tools(database: Database, *, with_shell: bool = False) -> None:
    """At each launch. One that this version does not have any more goes; several processes may do it at once."""
    async with database.write() as tx:
        found = await tx.session.execute(
            select(ToolRow).where(ToolRow.owner_id.is_(None)).order_by(ToolRow.name).with_for_update()
        )
        rows = {row.name: row for row in found.scalars()}
        now = utc_now()
        for name, tool in sorted(builtin_tools(with_shell=with_shell).items()):
            row = rows.pop(name, None)
            schema = tool.schema()
            if row is None:
                await tx.session.execute(
                    insert_for(tx.session, ToolRow)
                    .values(
                        id=new_id("tol"),
                        version=1,
                        created_at=now,
                        updated_at=now,
                        name=name,
                        kind="builtin",
                        description=tool.description,
                        parameters=schema,
                        defaults={},
                        secret_headers={},
                    )
                    .on_conflict_do_nothing()
                )
            elif (row.description, row.parameters) != (tool.description, schema):
                row.description, row.parameters = tool.description, schema
                row.version += 1
                row.updated_at = now
        for row in rows.values():
            await tx.session.delete(row)
