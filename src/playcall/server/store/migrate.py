"""Bringing the tables up to date, at each start (Alembic; the migrations are part of the package)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

__all__ = ["VERSION_TABLE", "SchemaTooNewError", "is_current", "migration_config", "newest_revision", "upgrade"]

VERSION_TABLE = "playcall_schema_version"
"""Not Alembic's default name: the database may be shared with an application that uses Alembic too."""

_LOCK: Final = 0x706C6179  # any number that others of the same database do not take
_FOLDER = Path(__file__).with_name("migrations")


class SchemaTooNewError(Exception):
    """The database has been migrated by a later version of playcall than this one."""


def migration_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@lru_cache(maxsize=1)
def newest_revision() -> str | None:
    """The one that this version's tables have."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return ScriptDirectory.from_config(config).get_current_head()


def is_current(connection: Connection) -> bool:
    """Whether the tables are exactly those of this version."""
    scripts = ScriptDirectory.from_config(migration_config(connection))
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return set(context.get_current_heads()) == set(scripts.get_heads())


def upgrade(connection: Connection) -> None:
    """All migrations that are missing, in the connection's transaction: all of them or none.

    Servers that start at the same time on one database take turns, and may take their time.

    Raises:
        SchemaTooNewError: See there.
    """
    if connection.dialect.name == "postgresql":  # on SQLite there is one writer at a time
        for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {limit} = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = migration_config(connection)
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    known = {script.revision for script in scripts.walk_revisions()}
    if any(revision not in known for revision in context.get_current_heads()):
        raise SchemaTooNewError
    command.upgrade(config, "head")
