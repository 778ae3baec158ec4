"""Cursors in a SQLite file: they outlive the process, however it ends.

    with SqliteCursors("cursors.db") as cursors, client.subscribe("tasks", cursors=cursors) as feed:
        for event in feed: ...

Each saved cursor is one small transaction.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from os import PathLike
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from ..errors import ConfigurationError, RealtimeError
from ..models.cursor import Cursor
from .own_thread import OwnThread

__all__ = ["SqliteCursors"]

P = ParamSpec("P")
T = TypeVar("T")

BUSY_SECONDS = 10.0
"""How long a save waits for other processes that write to the file."""
RETRY_SECONDS = 0.01

_TABLE = """
CREATE TABLE IF NOT EXISTS playcall_cursors (
    name TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, event_id TEXT
) WITHOUT ROWID
"""
# One statement, so that whoever else writes stands wholly before or wholly after it.
_SAVE = """
INSERT INTO playcall_cursors VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, event_id = CASE
    WHEN excluded.epoch = playcall_cursors.epoch AND excluded.seq = playcall_cursors.seq
    THEN coalesce(excluded.event_id, playcall_cursors.event_id) ELSE excluded.event_id END
WHERE excluded.epoch <> playcall_cursors.epoch OR excluded.seq >= playcall_cursors.seq
"""
_LOAD = "SELECT epoch, seq, event_id FROM playcall_cursors WHERE name = ?"


class SqliteCursors:
    """A `CursorStore` in the file at `path`, made when it is first needed; give it one of its own.

    Serves both faces, any number of subscriptions, threads and processes; nothing blocks the event loop. It may be
    closed when its consumers are: by `with`, by `async with`, or by `close()`. A forked child opens the file anew.

    What was saved survives the process being killed at any moment. After a power failure the last saves may be missing
    (`synchronous=NORMAL`): the events after the ones that are there are delivered again.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._closed = False
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        self._file = _File(self._path)
        self._forget = weakref.finalize(self, self._file.end)
        self._forget.atexit = False  # at exit nothing is lost: the process's end closes the file

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Another process opens the file for itself."""
        return type(self), (self._path,)

    async def load(self, name: str) -> Cursor | None:
        """What was saved last under `name`, by whichever process.

        Raises:
            ConfigurationError: the file cannot be opened, or holds something else.
            RealtimeError: it cannot be read now, or the store is closed.
        """
        return await asyncio.wrap_future(self._do(self._file.load, name))

    async def save(self, name: str, cursor: Cursor) -> None:
        """Keeps `cursor`, unless a later one of its epoch is there.

        Raises:
            RealtimeError: it cannot be written, because the disk is full for example. Else as `load`.
        """
        await asyncio.wrap_future(self._do(self._file.save, name, cursor))

    def _do(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return self._file.thread.submit(fn, *args, **kwargs)
        except RuntimeError as error:
            why = "is closed" if self._closed else f"can do no more ({error})"
            raise RealtimeError(f"the cursor store in {self._path} {why}") from None

    # --- its life -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Waits for what is being saved, at most seconds, and closes the file. Safe to call again."""
        self._closed = True
        self._forget.detach()
        if (thread := self._file.end()) is not None:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        closing = OwnThread("playcall-cursors-close")
        closed = closing.submit(self.close)
        closing.end()
        await asyncio.wrap_future(closed)

    def begin_in_child(self) -> None:
        """In a forked child the thread is not there, and closing the parent's connection could harm its file."""
        self._forget.detach()
        _parked.append(self._file)
        self._begin()
        if self._closed:
            self._file.end()


class _File:
    """The connection, used on its one thread only; opened by its first use there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.thread = OwnThread("playcall-cursors")
        self._connection: sqlite3.Connection | None = None

    def end(self) -> threading.Thread | None:
        """Closes it after what was asked of it; the thread to wait for, None if it was never opened."""
        return self.thread.end(self._close)

    # --- on its thread ------------------------------------------------------------------------------------------------

    def load(self, name: str) -> Cursor | None:
        try:
            row = self._opened().execute(_LOAD, (name,)).fetchone()
            return None if row is None else Cursor(row[0], row[1], row[2])
        except sqlite3.Error as error:
            raise RealtimeError(f"the cursor {name!r} cannot be read from {self.path}: {error}") from error
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"what {self.path} has under {name!r} is no cursor: {error}") from error

    def save(self, name: str, cursor: Cursor) -> None:
        try:
            self._opened().execute(_SAVE, (name, cursor.epoch, cursor.seq, cursor.event_id))
        except sqlite3.Error as error:
            raise RealtimeError(
                f"the cursor {name!r} could not be kept in {self.path}: {error}; "
                "the event does not count as processed, and comes again after a restart"
            ) from error

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = _connect(self.path)
            except sqlite3.Error as error:
                raise ConfigurationError(f"cursors cannot be kept in {self.path}: {error}") from error
        return self._connection


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        ends_at = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                # Changing to WAL does not wait for others, unlike all else, and fails while they do the same.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(_TABLE)
                return connection
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                    raise
                time.sleep(RETRY_SECONDS)
    except BaseException:
        connection.close()
        raise


_stores: weakref.WeakSet[SqliteCursors] = weakref.WeakSet()
_parked: list[_File] = []


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.begin_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
