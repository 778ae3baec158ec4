"""Progress, log lines and what models say on their way into the event log, in batches.

Tools report from any thread and never wait. Every 50 ms what has come is written in one transaction, which checks that
the segment is still the run's own. Of progress only the latest of each task is kept between two batches; what a model
says is put together.
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
from .announce import announce_log, announce_progress, announce_said
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


@dataclass(frozen=True, slots=True)
class _Said:
    task: TaskRow
    round: int
    offset: int
    texts: list[str]


@dataclass(frozen=True, slots=True)
class _Batch:
    lines: list[_Line]
    left_out: int
    progress: list[_Progress]
    said: list[_Said]


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
        self._said: list[_Said] = []
        self._ended: set[str] = set()
        self._order = asyncio.Lock()

    def progress(self, task: TaskRow, done: float, total: float | None, message: str) -> None:
        """May be called from any thread. What is no number is no progress."""
        if not math.isfinite(done) or (total is not None and not math.isfinite(total)):
            return
        with self._guard:
            if task.id not in self._ended:
                self._progress[task.id] = _Progress(task, done, total, message)

    def said(self, task: TaskRow, round: int, offset: int, text: str) -> None:
        """May be called from any thread: a piece of a model's text, and its place in its round."""
        with self._guard:
            if task.id in self._ended:
                return
            last = next((s for s in reversed(self._said) if s.task.id == task.id), None)
            if last is not None and last.round == round:
                last.texts.append(text)
            else:
                self._said.append(_Said(task, round, offset, [text]))

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
        if self._progress or self._lines or self._said:
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

    def _take(self) -> _Batch:
        with self._guard:
            batch = _Batch(self._lines, self._lines_left_out, list(self._progress.values()), self._said)
            self._lines, self._lines_left_out, self._progress, self._said = [], 0, {}, []
            return batch

    def _put_back(self, batch: _Batch) -> None:
        with self._guard:
            self._lines = [*batch.lines, *self._lines]
            self._lines_left_out += batch.left_out
            self._progress = {**{p.task.id: p for p in batch.progress}, **self._progress}
            self._said = [*batch.said, *self._said]

    @staticmethod
    def _emit(tx: Transaction, batch: _Batch) -> None:
        for line in batch.lines:
            _announce_line(tx, line)
        if batch.left_out and batch.lines:
            message = f"{batch.left_out} lines left out: they came too fast"
            _announce_line(tx, _Line(batch.lines[-1].task, LogLevel.WARNING, message), of_task=False)
        for p in batch.progress:
            announce_progress(tx, p.task, p.done, p.total, p.message)
        for said in batch.said:
            announce_said(tx, said.task, said.round, said.offset, "".join(said.texts))


def _announce_line(tx: Transaction, line: _Line, *, of_task: bool = True) -> None:
    task = line.task
    task_id = task.id if of_task else None
    announce_log(tx, task.owner_id, task.run_id or "", line.level, line.message, step_id=task.step_id, task_id=task_id)


_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
