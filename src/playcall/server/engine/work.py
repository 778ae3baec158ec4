"""What this process is working on: one entry for each segment, by which it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import Any, Literal, TypeVar

from playcall.server.telemetry.logs import current_work

__all__ = ["Work", "WorkList"]

T = TypeVar("T")

Reason = Literal["cancel", "shutdown", "fault", "superseded"]


class Work:
    """One segment of a run or task. `stopped_by` tells whoever is cancelled why: only a wish changes what is stored."""

    def __init__(self, segment: int) -> None:
        self.segment = segment
        self.stopped_by: Reason | None = None
        self._body: asyncio.Task[Any] | None = None

    @property
    def keeps_state(self) -> bool:
        """What is cancelled now must leave what is stored as it is: somebody goes on with it."""
        return self.stopped_by not in (None, "cancel")

    @property
    def shuts_down(self) -> bool:
        """The process ends: what is stored must stay as it is, so that the next one goes on with it."""
        return self.stopped_by == "shutdown"

    async def do(self, body: Coroutine[Any, Any, T]) -> T:
        """Runs the body as a task of its own, which `stop` cancels.

        Raises:
            asyncio.CancelledError: it was stopped, and has ended.
        """
        if self.stopped_by is not None:
            body.close()
            raise asyncio.CancelledError
        task = asyncio.create_task(body)
        self._body = task
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            # The loop itself is ending.
            self.stop("shutdown")
            await asyncio.wait({task})
            raise
        finally:
            self._body = None
        return task.result()

    def go_on(self) -> None:
        """What broke the last body off is over; a wish or a shutdown that came meanwhile stays."""
        if self.stopped_by in ("fault", "superseded"):
            self.stopped_by = None

    def stop(self, reason: Reason) -> None:
        """A shutdown wins over a wish: the wish is stored, and is obeyed after the restart."""
        if self.shuts_down:
            return
        self.stopped_by = reason
        if self._body is not None:
            self._body.cancel()


class WorkList:
    """By the id of the run or task. Belongs to the server's loop."""

    def __init__(self) -> None:
        self._current: dict[str, Work] = {}
        self._all: set[Work] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @contextlib.contextmanager
    def entry(self, id: str, segment: int) -> Generator[Work]:
        """While the block runs, `stop(id)` reaches it. After `close` it is stopped from the start."""
        work = Work(segment)
        if self._closed:
            work.stop("shutdown")
        self._current[id] = work
        self._all.add(work)
        self._idle.clear()
        logged = current_work.set(id)
        try:
            yield work
        finally:
            current_work.reset(logged)
            self._all.discard(work)
            if self._current.get(id) is work:
                del self._current[id]
            if not self._all:
                self._idle.set()

    def stop(self, id: str) -> None:
        """A caller wishes it cancelled. Nothing happens if another process has it, or nobody: the wish is stored."""
        work = self._current.get(id)
        if work is not None:
            work.stop("cancel")

    def supersede(self, id: str, segment: int) -> None:
        """This segment has the run or task: what is done here for an earlier one is stopped, and stores nothing."""
        work = self._current.get(id)
        if work is not None and work.segment < segment:
            work.stop("superseded")

    def segments(self) -> dict[str, int]:
        """What is being worked on: by its id, the segment."""
        return {key: work.segment for key, work in self._current.items()}

    async def idle(self) -> None:
        """Returns when there is no entry."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stops everything for a shutdown, and returns when it has ended."""
        self._closed = True
        for work in list(self._all):
            work.stop("shutdown")
        await self._idle.wait()
