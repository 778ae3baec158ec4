"""Bringing the tables up to date, at each start (Alembic; the migrations are part of the package)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

__all__ = ["VERSION_TABLE", "SchemaTooNewError", "migration_config", "upgrade"]

VERSION_TABLE = "playcall_schema_version"
"""Not Alembic's default name: the database may be shared with an application that uses Alembic too."""

_FOLDER = Path(__file__).with_name("migrations")


class SchemaTooNewError(Exception):
    """The database has been migrated by a later version of playcall than this one."""


def migration_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """All migrations that are missing, in the connection's transaction: all of them or none.

    Raises:
        SchemaTooNewError: See there.
    """
    config = migration_config(connection)
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    known = {script.revision for script in scripts.walk_revisions()}
    if any(revision not in known for revision in context.get_current_heads()):
        raise SchemaTooNewError
    command.upgrade(config, "head")
