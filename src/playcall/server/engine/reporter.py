"""Progress and log lines on their way into the event log, in batches.

Tools report from any thread and never wait. Every 50 ms what has come is written in one transaction, which checks that
the segment is still the run's own. Of progress only the latest of each task is kept between two batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from ...models import LogLevel
from ..store.database import Database, Transaction
from ..store.tables import TaskRow
from .announce import announce_log, announce_progress
from .failure import Superseded

__all__ = ["Reporter"]

_log = logging.getLogger("playcall.server.engine")

BATCH_SECONDS = 0.05
_MAX_LINES = 500
"""Log lines of one batch; beyond them lines are counted, not kept."""

Fence = Callable[[Transaction], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Progress:
    task: TaskRow
    done: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class _Line:
    task: TaskRow
    level: LogLevel
    message: str


class Reporter:
    """For the tasks of one step, or for one task alone.

    `fence` raises `Superseded` if the transaction may not write here.
    """

    def __init__(self, database: Database, fence: Fence) -> None:
        self._database = database
        self._fence = fence
        self._guard = threading.Lock()
        self._progress: dict[str, _Progress] = {}
        self._lines: list[_Line] = []
        self._lines_left_out = 0
        self._ended: set[str] = set()
        self._order = asyncio.Lock()

    def progress(self, task: TaskRow, done: float, total: float | None, message: str) -> None:
        """May be called from any thread. What is no number is no progress."""
        if not math.isfinite(done) or (total is not None and not math.isfinite(total)):
            return
        with self._guard:
            if task.id not in self._ended:
                self._progress[task.id] = _Progress(task, done, total, message)

    def end(self, task: TaskRow) -> None:
        """Nothing more is taken from the task: its topic is about to end, and would refuse it."""
        with self._guard:
            self._ended.add(task.id)

    def line(self, task: TaskRow, level: LogLevel, message: str) -> None:
        """May be called from any thread. A task without a run has no log; its lines go to the server's own."""
        if task.run_id is None:
            _log.log(_LEVELS[level], "tool_log", extra={"task_id": task.id, "line": message})
            return
        with self._guard:
            if len(self._lines) < _MAX_LINES:
                self._lines.append(_Line(task, level, message))
            else:
                self._lines_left_out += 1

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Writes batches while the block runs, and the last one at its end."""
        writer = asyncio.create_task(self._write_batches(), name="playcall-reporter")
        try:
            yield
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        """A write that comes after all that has been reported so far, in the same transaction.

        Raises:
            Superseded: the segment has lost the run.
        """
        async with self._order, self._database.write() as tx:
            await self._fence(tx)
            batch = self._take()
            try:
                self._emit(tx, batch)
                yield tx
            except BaseException:
                self._put_back(batch)
                raise

    async def flush(self) -> None:
        """Writes what has come, if anything has."""
        if self._progress or self._lines:
            async with self.transaction():
                pass

    async def _write_batches(self) -> None:
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            writing = asyncio.ensure_future(self.flush())
            try:
                await asyncio.shield(writing)
            except Superseded:
                return  # whoever works here finds out with its own next write
            except DBAPIError as error:
                # The batch was put back; the next round tries again.
                _log.warning("report_not_written", extra={"error": type(error).__name__})
            except asyncio.CancelledError:
                with contextlib.suppress(Superseded, DBAPIError):
                    await writing  # a transaction that has begun is ended
                raise

    def _take(self) -> tuple[list[_Line], list[_Progress], int]:
        with self._guard:
            batch = (self._lines, list(self._progress.values()), self._lines_left_out)
            self._lines, self._progress, self._lines_left_out = [], {}, 0
            return batch

    def _put_back(self, batch: tuple[list[_Line], list[_Progress], int]) -> None:
        lines, progress, left_out = batch
        with self._guard:
            self._lines = [*lines, *self._lines]
            self._progress = {**{p.task.id: p for p in progress}, **self._progress}
            self._lines_left_out += left_out

    @staticmethod
    def _emit(tx: Transaction, batch: tuple[list[_Line], list[_Progress], int]) -> None:
        lines, progress, left_out = batch
        for line in lines:
            task = line.task
            announce_log(
                tx,
                task.owner_id,
                task.run_id or "",
                line.level,
                line.message,
                step_id=task.step_id,
                task_id=task.id,
            )
        if left_out and lines:
            task = lines[-1].task
            announce_log(
                tx,
                task.owner_id,
                task.run_id or "",
                LogLevel.WARNING,
                f"{left_out} lines left out: they came too fast",
                step_id=task.step_id,
                task_id=None,
            )
        for p in progress:
            announce_progress(tx, p.task, p.done, p.total, p.message)


_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
