"""The folder that holds everything a server keeps: its owner's only, out of file tools' reach, one database's.

With SQLite that database is in it, and the folder is one server's at a time. With PostgreSQL it is shared by all servers
of the database, and the two know each other by an id that is kept in both: with another folder the files of all runs
would be missing, and with another database those of strangers would be there.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from playcall.server.running.starting import StartupError, reason_of
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.store.dialect import insert_for
from playcall.server.store.tables import UserRow
from playcall.server.store.tables.meta import FOLDER, MetaRow

__all__ = [
    "ID_FILE",
    "LOCK_FILE",
    "hold_folder",
    "join_database",
    "prepare_folder",
    "read_id",
    "require_apart",
    "require_kind",
]

LOCK_FILE = ".lock"
ID_FILE = "database-id"


def prepare_folder(settings: Settings) -> None:
    """Make the folder if it is missing, readable by nobody else: it holds the key that signs tokens.

    Raises:
        StartupError: The data folder cannot be made, or not be written, or a read root reaches into it.
    """
    folder = settings.data_dir
    for root in settings.read_roots:
        require_apart(root, folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise StartupError(f"{folder} is a file; --data takes a folder") from None
    except OSError as error:
        raise StartupError(
            f"the folder {folder} cannot be made: {reason_of(error)}; choose another with --data"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartupError(f"the folder {folder} cannot be written; choose another with --data, or change its rights")
    if settings.database_url is not None:
        return
    database = settings.database_path
    if database.exists() and not (database.is_file() and os.access(database, os.R_OK | os.W_OK)):
        raise StartupError(f"the database {database} cannot be written; change its rights, or use another --data")


def require_apart(root: Path, folder: Path) -> None:
    """Tools of every user may read a root: with the database in it they could read, and sign, anything.

    And closing a file drops every lock that the process holds on it (fcntl(2)): SQLite's own too.

    Raises:
        StartupError: They overlap, or the root is no folder.
    """
    if not root.is_dir():
        raise StartupError(f"--read-root {root} is not a folder")
    real_root, real_folder = root.resolve(), folder.resolve()
    if real_folder.is_relative_to(real_root) or real_root.is_relative_to(real_folder):
        raise StartupError(
            f"--read-root {root} and the data folder {folder} overlap, so file tools could read the server's own "
            "database; keep the data elsewhere with --data"
        )


@contextmanager
def hold_folder(settings: Settings) -> Generator[None]:
    """Hold a prepared folder until the process ends, however it ends: with SQLite for this server alone, as two on one
    file would carry out each other's runs; with PostgreSQL together with its other servers.

    The database file is made here if it is missing, because SQLite gives its other files the rights of the database.

    Raises:
        StartupError: Another server holds it, it is another kind of database's, or nothing can be written there.
    """
    folder = settings.data_dir
    try:
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        is_sqlite = settings.database_url is None
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if is_sqlite else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(
                f"another server uses the data folder {folder}; stop it, or choose another with --data"
            ) from None
        except OSError as error:
            raise StartupError(
                f"the data folder {folder} is on a file system without locks ({reason_of(error)}); choose another with "
                "--data"
            ) from None
        require_kind(settings)
        try:
            # Not if it is there: opening and closing a database from outside SQLite is never safe in its process.
            if is_sqlite and not settings.database_path.exists():
                os.close(os.open(settings.database_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            settings.workspaces_dir.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield
    finally:
        os.close(lock)


def require_kind(settings: Settings) -> None:
    """Raises: StartupError: the folder is another kind of database's."""
    folder = settings.data_dir
    if settings.database_url is None and (folder / ID_FILE).exists():
        raise StartupError(
            f"the data folder {folder} belongs with a PostgreSQL database; give that with --database-url, or another "
            "folder with --data"
        )
    if settings.database_url is not None and settings.database_path.exists():
        raise StartupError(
            f"the data folder {folder} has a SQLite database in it; leave out the database URL, or give another folder "
            "with --data"
        )


async def join_database(settings: Settings, database: Database) -> None:
    """Write down that the held folder and the open PostgreSQL database belong together, or see that they do.

    Raises:
        StartupError: They do not.
        sqlalchemy.exc.DBAPIError: The database cannot be written.
    """
    path = settings.data_dir / ID_FILE
    try:
        here = read_id(path)
        async with database.write() as tx:
            is_used = (await tx.session.execute(select(UserRow.id).limit(1))).first() is not None
            if here is None and is_used:
                here = read_id(path)  # the database's first server may be starting here at this moment
            if here is None and is_used and not settings.new_epoch:
                raise StartupError(
                    f"the database is used with another data folder than {settings.data_dir}; give that one with --data, "
                    "or, if it is lost, take this one instead with --new-epoch"
                )
            if here is None:
                made = insert_for(tx.session, MetaRow).values(key=FOLDER, value=secrets.token_hex(16))
                await tx.session.execute(
                    made.on_conflict_do_update(index_elements=[MetaRow.key], set_={"value": made.excluded.value})
                    if is_used  # whoever still has the other folder is not to go on with it
                    else made.on_conflict_do_nothing()
                )
            there = await tx.session.scalar(select(MetaRow.value).where(MetaRow.key == FOLDER))
        if here is None:
            # After the commit: a folder that knew an id which no database has could not be used again.
            here = _write_id(path, there or "")
    except OSError as error:
        raise _unwritable(settings.data_dir, error) from None
    if here != there:
        raise StartupError(
            f"the data folder {settings.data_dir} belongs with another database; give that with --database-url, or "
            f"another folder with --data (if the other database is gone for good, {path} may be removed)"
        )


def read_id(path: Path) -> str | None:
    """What the folder knows its database by; None if it belongs with none yet. Raises: OSError."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None


def _write_id(path: Path, id: str) -> str:
    """Whole or not at all; the id that is there now, which is another's if that one was first."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{id}\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, path)
    except FileExistsError:
        return read_id(path) or ""
    finally:
        draft.unlink(missing_ok=True)
    return id


def _unwritable(folder: Path, error: OSError) -> StartupError:
    return StartupError(f"the folder {folder} cannot be written: {reason_of(error)}; choose another with --data")
