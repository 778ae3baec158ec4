"""The folder that holds everything a server keeps: its owner's only, out of file tools' reach, one server's at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .settings import Settings

__all__ = ["StartupError", "hold_folder", "prepare_folder", "reason_of"]

LOCK_FILE = ".lock"


class StartupError(Exception):
    """The server cannot start; the message is one sentence for people, with what to do."""


def prepare_folder(settings: Settings) -> None:
    """Make the folder if it is missing, readable by nobody else: it holds the key that signs tokens.

    Raises:
        StartupError: The data folder cannot be made, or not be written, or a read root reaches into it.
    """
    folder = settings.data_dir
    for root in settings.read_roots:
        _require_apart(root, folder)
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
    database = settings.database_path
    if database.exists() and not (database.is_file() and os.access(database, os.R_OK | os.W_OK)):
        raise StartupError(f"the database {database} cannot be written; change its rights, or use another --data")


def _require_apart(root: Path, folder: Path) -> None:
    """Tools of every user may read a root: with the database in it they could read, and sign, anything.

    And closing a file drops every lock that the process holds on it (fcntl(2)): SQLite's own too.
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
    """Hold a prepared folder for this server alone: two on one database would carry out each other's runs.

    The system lets go of it when the process ends, however it ends. The database file is made here if it is missing,
    because SQLite gives its other files the rights of the database.

    Raises:
        StartupError: Another server holds it, or nothing can be written there.
    """
    folder = settings.data_dir
    try:
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(
                f"another server uses the data folder {folder}; stop it, or choose another with --data"
            ) from None
        try:
            # Not if it is there: opening and closing a database from outside SQLite is never safe in its process.
            if not settings.database_path.exists():
                os.close(os.open(settings.database_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            settings.workspaces_dir.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield
    finally:
        os.close(lock)


def _unwritable(folder: Path, error: OSError) -> StartupError:
    return StartupError(f"the folder {folder} cannot be written: {reason_of(error)}; choose another with --data")


def reason_of(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
