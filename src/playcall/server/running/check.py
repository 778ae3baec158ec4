"""What a start would find, without starting: each point with what is true of it, and whether a start could live with it.

Nothing is made or changed: no folder, no file, no table, and of locks only such as a running server does not notice.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from playcall.server.running.address import bind, url_host
from playcall.server.running.data_folder import ID_FILE, LOCK_FILE, read_id, require_apart, require_kind
from playcall.server.running.database_url import postgresql_url, shown
from playcall.server.running.starting import StartupError, reason_of
from playcall.server.settings import Settings
from playcall.server.store import migrate
from playcall.server.store.dialect import CONNECT_ERRORS, connect
from playcall.server.store.migrate import VERSION_TABLE
from playcall.server.store.tables.meta import FOLDER

__all__ = ["Finding", "Verdict", "check"]

MIGRATIONS: Final = Path(migrate.__file__).with_name("migrations")
SCARCE_BYTES: Final = 1 << 30
TOO_FEW_BYTES: Final = 100 << 20
CLOCK_SECONDS: Final = 2.0
OLDEST_POSTGRESQL: Final = 13
CONNECTIONS_EACH: Final = 40
"""What one process may hold at a time, its own pool and the engine's."""
FILES_BESIDE_SOCKETS: Final = 256


class Verdict(StrEnum):
    """`WARNING`: it starts, and somebody should know."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    verdict: Verdict
    says: str


async def check(settings: Settings, *, workers: int) -> list[Finding]:
    """One for each subject, in the order in which a start comes to them."""
    return [
        _try("address", lambda: _address(settings)),
        _try("data folder", lambda: _folder(settings)),
        _disk(settings),
        *([_try("read roots", lambda: _roots(settings))] if settings.read_roots else []),
        *(await _database(settings, workers=workers)),
        *_packages(),
        _open_files(settings),
    ]


def _try(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, Verdict.OK, look())
    except StartupError as error:
        return Finding(subject, Verdict.FAILED, str(error))


# --- the machine ------------------------------------------------------------------------------------------------------


def _address(settings: Settings) -> str:
    with closing(bind(settings)):
        where = (
            f"{url_host(settings.host)}:{settings.port}" if settings.port else f"{settings.host}, a port that is free"
        )
        return f"{where} can be listened on"


def _folder(settings: Settings) -> str:
    folder = settings.data_dir
    if not folder.exists():
        parent = _nearest(folder)
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise StartupError(f"{folder} cannot be made, because {parent} is not a folder that can be written")
        return f"{folder} would be made"
    if not folder.is_dir():
        raise StartupError(f"{folder} is a file; --data takes a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartupError(f"{folder} cannot be written; change its rights, or choose another with --data")
    require_kind(settings)
    _require_not_held(settings)
    return str(folder)


def _require_not_held(settings: Settings) -> None:
    """A shared lock, for a moment: with PostgreSQL servers share theirs, and with SQLite there is to be no server."""
    try:
        lock = os.open(settings.data_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartupError(f"another server uses {settings.data_dir}; stop it, or choose another with --data") from None
    except OSError as error:
        raise StartupError(f"{settings.data_dir} is on a file system without locks: {reason_of(error)}") from None
    finally:
        os.close(lock)


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest(settings.data_dir)).free
    says = f"{free / 1e9:,.1f} GB are free"
    verdict = Verdict.FAILED if free < TOO_FEW_BYTES else Verdict.WARNING if free < SCARCE_BYTES else Verdict.OK
    return Finding("disk space", verdict, says if verdict == Verdict.OK else f"only {says}")


def _nearest(path: Path) -> Path:
    """That exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _roots(settings: Settings) -> str:
    for root in settings.read_roots:
        require_apart(root, settings.data_dir)
        if not os.access(root, os.R_OK | os.X_OK):
            raise StartupError(f"--read-root {root} cannot be read; change its rights, or leave it out")
    return ", ".join(str(root) for root in settings.read_roots)


def _open_files(settings: Settings) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= settings.max_sockets + FILES_BESIDE_SOCKETS:
        return Finding("open files", Verdict.OK, "as many as sockets need")
    return Finding(
        "open files",
        Verdict.WARNING,
        f"{soft} at most, which is too few for {settings.max_sockets} sockets; raise it with ulimit -n "
        f"{settings.max_sockets + FILES_BESIDE_SOCKETS}",
    )


def _packages() -> Iterator[Finding]:
    try:
        from playcall.server.engine import Engine as _  # noqa: F401 - whether it can be

        yield Finding("engine", Verdict.OK, f"DBOS {version('dbos')}")
    except ImportError as error:
        yield Finding("engine", Verdict.FAILED, f"it cannot be loaded: {error}; pip install 'playcall[server]'")
    for extra, package, without in (
        ("llm", "pydantic-ai-slim", "agents have tools only, and no model"),
        ("fast", "uvloop", "asyncio's own loop is used"),
    ):
        try:
            yield Finding(f"extra {extra}", Verdict.OK, f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding(f"extra {extra}", Verdict.OK, f"not installed: {without}")


# --- the database -----------------------------------------------------------------------------------------------------


async def _database(settings: Settings, *, workers: int) -> list[Finding]:
    if settings.database_url is None:
        found = _try("database", lambda: _sqlite(settings))
        if workers > 1:
            says = f"{workers} workers need PostgreSQL; give --database-url, or leave out --workers"
            return [found, Finding("workers", Verdict.FAILED, says)]
        return [found]
    try:
        url = postgresql_url(settings.database_url)
        connection = await connect(make_url(url))
    except StartupError as error:
        return [Finding("database", Verdict.FAILED, str(error))]
    except CONNECT_ERRORS as error:
        name = shown(postgresql_url(settings.database_url))
        return [Finding("database", Verdict.FAILED, f"{name} cannot be reached: {str(error) or 'it does not answer'}")]
    try:
        async with connection.transaction(readonly=True):
            return [
                await _version(connection, shown(url)),
                await _rights(connection),
                *(await _tables(connection, settings)),
                await _connections(connection, workers),
                await _clock(connection),
            ]
    except CONNECT_ERRORS as error:
        return [Finding("database", Verdict.FAILED, f"{shown(url)} does not answer questions: {error}")]
    finally:
        await connection.close()


def _sqlite(settings: Settings) -> str:
    path = settings.database_path
    if not path.exists():
        return f"SQLite {sqlite3.sqlite_version}, a new file"
    if not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        raise StartupError(f"{path} cannot be written; change its rights, or use another --data")
    if path.with_name(f"{path.name}-wal").exists():
        # Looking into it would do what the next start does: put in its place what is still beside it.
        return f"SQLite {sqlite3.sqlite_version}, not closed by its last server, which a start makes up for"
    try:
        # Immutable: without it, reading makes files beside the database.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone()
            rows = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() if tables else []  # noqa: S608
    except sqlite3.Error as error:
        raise StartupError(f"{path} cannot be used: {error}") from None
    return f"SQLite {sqlite3.sqlite_version}, {_migrations([row[0] for row in rows])}"


def _migrations(current: list[str]) -> str:
    """`current`: the revision that the tables have, if there are any."""
    known = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]  # the newest first
    if not current:
        return "no tables yet; a start makes them"
    if current[0] not in known:
        raise StartupError("the tables were made by a later playcall; install that one again")
    pending = known.index(current[0])
    return f"{pending} migrations pending; a start does them" if pending else "tables up to date"


async def _version(connection: Any, name: str) -> Finding:
    number, text, encoding = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), "
        "current_setting('server_encoding')"
    )
    if number < OLDEST_POSTGRESQL * 10_000:
        says = f"PostgreSQL {text} is too old; {OLDEST_POSTGRESQL} or later is needed"
        return Finding("database", Verdict.FAILED, says)
    if encoding != "UTF8":
        says = f"{name} has the encoding {encoding}; make one with UTF8"
        return Finding("database", Verdict.FAILED, says)
    return Finding("database", Verdict.OK, f"PostgreSQL {text}, {name}")


async def _rights(connection: Any) -> Finding:
    row = await connection.fetchrow(
        "SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') = 'on' AS read_only, "
        "current_schema() AS schema, has_schema_privilege(current_schema(), 'CREATE') AS tables, "
        "has_database_privilege(current_database(), 'CREATE') AS schemas, "
        "EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'dbos' AND has_schema_privilege(oid, 'CREATE')) AS engine"
    )
    missing = [
        *(["a server that can be written: this one is a standby"] if row["standby"] else []),
        *(["transactions that write: default_transaction_read_only is on"] if row["read_only"] else []),
        *([] if row["tables"] else [f"the right to CREATE in the schema {row['schema']}"]),
        *([] if row["schemas"] or row["engine"] else ["the right to CREATE in the database, for the schema dbos"]),
    ]
    if missing:
        return Finding("rights", Verdict.FAILED, "missing: " + "; ".join(missing))
    return Finding("rights", Verdict.OK, "to make tables and write them")


async def _tables(connection: Any, settings: Settings) -> list[Finding]:
    has_tables = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", VERSION_TABLE)
    current: list[str] = []
    if has_tables:
        current = [row[0] for row in await connection.fetch(f"SELECT version_num FROM {VERSION_TABLE}")]  # noqa: S608
    migrations = _try("migrations", lambda: _migrations(current))
    if not current:
        return [migrations]
    there = await connection.fetchval("SELECT value FROM meta WHERE key = $1", FOLDER)
    is_used = await connection.fetchval("SELECT EXISTS (SELECT 1 FROM users)")

    def together() -> str:
        path = settings.data_dir / ID_FILE
        try:
            here = read_id(path)
        except OSError as error:
            raise StartupError(f"{path} cannot be read: {reason_of(error)}") from None
        if here is None and is_used and not settings.new_epoch:
            raise StartupError(f"the database is used with another data folder than {settings.data_dir}")
        if here is not None and here != there:
            raise StartupError(f"the data folder {settings.data_dir} belongs with another database")
        return "folder and database belong together" if here else "a start makes folder and database belong together"

    return [migrations, _try("folder of it", together)]


async def _connections(connection: Any, workers: int) -> Finding:
    most, used = await connection.fetchrow(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    needed = workers * CONNECTIONS_EACH
    says = f"{used} of {most} are used, and a start may need {needed}"
    return Finding("connections", Verdict.OK if used + needed <= most else Verdict.WARNING, says)


async def _clock(connection: Any) -> Finding:
    before = time.time()
    theirs: float = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    ahead = theirs - (before + time.time()) / 2
    if abs(ahead) <= CLOCK_SECONDS:
        return Finding("clock", Verdict.OK, "the database's and this machine's agree")
    says = (
        f"the database's is {abs(ahead):,.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's; set one of them"
    )
    return Finding("clock", Verdict.WARNING, says)
