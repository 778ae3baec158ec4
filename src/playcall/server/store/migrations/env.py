"""Run by Alembic: in the connection that `migrate.upgrade` gives, within its transaction."""

from __future__ import annotations

from alembic import context

from playcall.server.store.migrate import VERSION_TABLE
from playcall.server.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    # DBOS keeps tables of its own in the same database.
    include_name=lambda name, kind, _parents: kind != "table" or name in Base.metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()
