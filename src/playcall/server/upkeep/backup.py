"""A copy of a SQLite server's data folder while it serves: a data folder too, which a server can be started on.

The database first, as it stands at one moment, then the files that it tells of. So every file that an entry of the copy tells
of is there, unless it was deleted in between; what was written in between has no entry, or an older one, and is of steps that
begin again where the copy is put back.

The witness is left out: a server that is started on the copy finds that nothing vouches for it, and takes a new epoch.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playcall.server.running.data_folder import ID_FILE
from playcall.server.settings import DATABASE_FILE, Settings

__all__ = ["BackupError", "Copied", "back_up"]

WAIT_SECONDS: Final = 30.0


class BackupError(Exception):
    """There is no copy; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Copied:
    files: int
    size_bytes: int
    """Of files and database together."""


def back_up(data_dir: Path, target: Path) -> Copied:
    """Copy the folder to `target`, which is to be missing or empty, and is there whole or not at all.

    Raises:
        BackupError: See there.
    """
    settings = Settings(data_dir=data_dir)
    if (data_dir / ID_FILE).exists():
        raise BackupError(
            f"the database of {data_dir} is in PostgreSQL: dump that first (pg_dump), then copy the folder without `witness`"
        )
    if not settings.database_path.is_file():
        raise BackupError(f"there is no database in {data_dir}; --data is the folder that the server uses")
    if target.resolve().is_relative_to(settings.workspaces_dir.resolve()):
        raise BackupError(f"{target} is among what is to be copied")
    try:
        with _whole_or_not_at_all(target) as draft:
            _copy_database(settings.database_path, draft / DATABASE_FILE)
            files, size = 0, (draft / DATABASE_FILE).stat().st_size
            workspaces = draft / settings.workspaces_dir.name
            workspaces.mkdir(mode=0o700)
            for name in _workspaces(draft / DATABASE_FILE):
                for copied in _copy_files(settings.workspaces_dir / name, workspaces / name):
                    files, size = files + 1, size + copied
    except sqlite3.Error as error:
        raise BackupError(f"the database {settings.database_path} cannot be copied: {error}") from None
    except OSError as error:
        raise BackupError(f"{error.filename or target} cannot be copied: {error.strerror or error}") from None
    return Copied(files, size)


@contextmanager
def _whole_or_not_at_all(target: Path) -> Generator[Path]:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already, and not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)  # the database holds the key that signs tokens
    try:
        yield draft
        for folder, _, _ in os.walk(draft):
            _sync(Path(folder))
        draft.rename(target)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _copy_database(source: Path, target: Path) -> None:
    """In one step, so that it is of one moment: readers and writers of the server are not held up by it."""
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", uri=True, timeout=WAIT_SECONDS)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing, pages=-1)
        # One file, without a log beside it.
        writing.execute("PRAGMA journal_mode = DELETE")
    _sync(target)
    target.chmod(0o600)


def _workspaces(database: Path) -> list[str]:
    """Those that the copy knows of: what began later is not in it."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id FROM runs UNION ALL SELECT id FROM tasks WHERE run_id IS NULL")
        return [name for (name,) in rows]


def _copy_files(source: Path, target: Path) -> Generator[int]:
    """The sizes of what was copied. What goes away meanwhile, or is no file, is left out."""
    for folder, _, names in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            file = Path(folder, name)
            if file.is_symlink() or not file.is_file():
                continue
            with contextlib.suppress(FileNotFoundError):
                # With its time: an entry tells by it whether it is of this content.
                shutil.copy2(file, here / name, follow_symlinks=False)
                _sync(here / name)
                yield (here / name).stat().st_size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
