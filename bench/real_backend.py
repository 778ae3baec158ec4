"""The real backend as the measurements start it: on SQLite or PostgreSQL, with a user and where its database is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from tests.postgresql import PostgreSQL, PostgreSQLMissingError

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend

from .history import fill

__all__ = ["Kind", "RealBackend", "RealBackends"]

Kind: TypeAlias = Literal["SQLite", "PostgreSQL"]

DURABLE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "shared_buffers": "128MB",
    "autovacuum": "on",
}
"""As durable as PostgreSQL is by default: what was committed outlives a power cut, which SQLite in WAL mode leaves to the
next checkpoint.
"""
_LAST: Final = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


@dataclass(frozen=True, slots=True)
class RealBackend:
    """`owner` is the user of `key`; `database_url` is for SQLAlchemy."""

    live: LiveBackend
    database_url: str
    owner: str

    @property
    def url(self) -> str:
        return self.live.url

    @property
    def key(self) -> str:
        return self.live.api_key

    @property
    def auth(self) -> ApiKey:
        return ApiKey(self.key)

    def fill(self, topics: Sequence[str], events: int) -> None:
        asyncio.run(fill(self.database_url, self.owner, topics, events))


class RealBackends:
    """Those that one measurement compares; all of them end with the block.

    Args:
        pinned: On the last processor, where there are two; else wherever the system puts them.
    """

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._stack = ExitStack()
        self._postgresql: PostgreSQL | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can be started here: PostgreSQL where its programs are."""
        try:
            self._server()
        except PostgreSQLMissingError:
            return ("SQLite",)
        return ("SQLite", "PostgreSQL")

    def start(self, kind: Kind = "SQLite", *, workers: int = 1, options: Sequence[str] = ()) -> RealBackend:
        """One with a database of its own, that takes as many requests as it can."""
        url = served = None
        if kind == "PostgreSQL":
            url = self._server().new_database(migrated=False)
            served = url.replace("postgresql+asyncpg", "postgresql")
        live = LiveBackend(database_url=served, options=["--requests-per-second=0", f"--workers={workers}", *options])
        self._stack.callback(live.close)
        with self._elsewhere():
            live.start()
        with Playcall(live.url, auth=ApiKey(live.api_key)) as client:
            owner = client.account.me().id
        return RealBackend(live, url or f"sqlite+aiosqlite:///{live.data_dir / 'playcall.sqlite3'}", owner)

    def _server(self) -> PostgreSQL:
        if self._postgresql is None:
            with self._elsewhere():
                self._postgresql = self._stack.enter_context(PostgreSQL(DURABLE))
        return self._postgresql

    @contextmanager
    def _elsewhere(self) -> Generator[None]:
        """What is started here stays on the last processor: a process inherits its maker's, and its threads its own."""
        if not self._pinned or not hasattr(os, "sched_setaffinity"):
            yield
            return
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {_LAST})
        try:
            yield
        finally:
            os.sched_setaffinity(0, mine)
