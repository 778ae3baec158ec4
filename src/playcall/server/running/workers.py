"""Several server processes on one address: the parent that binds it, starts them, and replaces those that die.

Each of them is a whole server (`playcall.server.running.worker`), with a loop, an engine and a database pool of its own; the
parent does nothing but watch. They take connections from one socket, which the parent holds too. With a socket each
(SO_REUSEPORT) the system would spread connections more evenly, but those that it gave to a process that has died would be
reset, or hang until that process is replaced; from one socket the living take them all, and the least busy the most.

What a child is told goes through its standard input, because arguments and environment can be read by others; that it
ends tells the child that the parent is gone. What it says comes back through a pipe, a line of JSON each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from playcall.server.running.address import bind
from playcall.server.running.database_url import postgresql_url
from playcall.server.running.starting import Started, StartupError, reason_of
from playcall.server.settings import Settings

__all__ = ["Orders", "Patience", "Report", "Workers", "serve_on_many"]

logger = logging.getLogger("playcall.server")

COMMAND: Final = (sys.executable, "-m", "playcall.server.running.worker")
KILL_SECONDS: Final = 10.0
"""On top of the time for draining: the engine hands over what it works on."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a child is told."""

    settings: Settings
    log_level: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a child says: that it serves, or why it cannot."""

    started: Started | None = None
    failed: str | None = None

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of(cls, line: bytes) -> Report:
        said: dict[str, Any] = json.loads(line)
        started = said["started"]
        return cls(None if started is None else Started(**started), said["failed"])


class Patience:
    """How long to wait before the next process at one place; pure."""

    FIRST_SECONDS: Final = 0.25
    LONGEST_SECONDS: Final = 30.0
    STEADY_SECONDS: Final = 60.0
    """Whoever has served for so long did not die of its start."""
    SAME_FAILURES: Final = 5

    def __init__(self) -> None:
        self._pause = self.FIRST_SECONDS
        self._failure: str | None = None
        self._times = 0

    @property
    def is_over(self) -> bool:
        """The last starts have all failed for the same reason: the next one will too."""
        return self._times >= self.SAME_FAILURES

    def served(self, seconds: float) -> float:
        """It had started, and ended unasked; returns the pause."""
        self._failure, self._times = None, 0
        if seconds >= self.STEADY_SECONDS:
            self._pause = self.FIRST_SECONDS
        return self._next()

    def failed(self, reason: str) -> float:
        """It ended before it had started; returns the pause."""
        self._times = self._times + 1 if reason == self._failure else 1
        self._failure = reason
        return self._next()

    def _next(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, self.LONGEST_SECONDS)
        return pause


class Workers:
    """Runs once."""

    def __init__(
        self, settings: Settings, count: int, *, log_level: int = logging.WARNING, command: Sequence[str] = COMMAND
    ) -> None:
        """
        Args:
            command: Takes the numbers of two open files as arguments, the socket's and the one for reports.

        Raises:
            StartupError: The database is a file, or no PostgreSQL.
        """
        if settings.database_url is None:
            raise StartupError(
                f"{count} workers need PostgreSQL, because the SQLite file is one process's at a time; give "
                "--database-url, or leave out --workers"
            )
        postgresql_url(settings.database_url)
        self._settings = settings
        self._log_level = log_level
        self._command = command
        self._places = [_Place(number) for number in range(count)]
        self._facts: Started | None = None
        self._is_told = False
        self._is_open = asyncio.Event()
        """The first has started; until then the others load what they are made of, and wait for their orders."""
        self._stopping = asyncio.Event()
        self._listener: socket.socket | None = None

    async def run(self, on_started: Callable[[Started], None]) -> None:
        """Serve until SIGTERM or SIGINT; then let all of them drain.

        The first begins alone: it brings the database up to date, makes the first user, and finds what is wrong once.
        `on_started` is called when each of them serves, or has failed to for a first time.

        Raises:
            StartupError: The first did not start; or, later, one does not start again and no other serves.
        """
        self._listener = bind(self._settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked, number)
        keepers: list[asyncio.Task[None]] = []
        try:
            keepers.extend([asyncio.create_task(self._keep(place)) for place in self._places])
            for place in self._places:
                await self._until(place.has_tried, keepers)
            self._tell(on_started)
            await self._until(self._stopping, keepers)
        finally:
            self._stopping.set()
            self._is_open.set()
            self._listener.close()
            await self._drain(keepers)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            self._tell(on_started)  # asked to end while they started: the one key must be told all the same

    def _tell(self, on_started: Callable[[Started], None]) -> None:
        if self._facts is not None and not self._is_told:
            self._is_told = True
            on_started(self._facts)

    async def _until(self, event: asyncio.Event, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Or until there is reason to stop.

        Raises:
            StartupError: A keeper gives up.
        """
        waiting = [asyncio.create_task(each.wait()) for each in (event, self._stopping)]
        try:
            await asyncio.wait([*waiting, *keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        for keeper in keepers:
            if keeper.done():
                keeper.result()

    # --- one place ----------------------------------------------------------------------------------------------------

    async def _keep(self, place: _Place) -> None:
        """A process at this place for as long as this one serves.

        Raises:
            StartupError: It is of no use to go on.
        """
        while not self._stopping.is_set():
            began = time.monotonic()
            failure = await self._one_life(place)
            if self._stopping.is_set():
                return
            if failure is None:
                pause = place.patience.served(time.monotonic() - began)
                logger.error("worker_ended", extra={"worker": place.number, "status": place.status})
            else:
                pause = place.patience.failed(failure)
                logger.error("worker_not_started (%s)", failure, extra={"worker": place.number})
                is_first = place.number == 0 and not place.has_tried.is_set()
                place.has_tried.set()
                if is_first or (place.patience.is_over and not any(each.serves for each in self._places)):
                    raise StartupError(failure)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _one_life(self, place: _Place) -> str | None:
        """Start a process and see it end; returns why it did not start."""
        assert self._listener is not None  # noqa: S101 - it was bound before the first place
        ours, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(self._listener.fileno()),
                str(theirs),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(self._listener.fileno(), theirs),
            )
        except OSError as error:
            os.close(ours)
            return f"no process can be started: {reason_of(error)}"
        finally:
            os.close(theirs)
        place.process = process
        if self._stopping.is_set():
            self._send(signal.SIGTERM)  # it was not there when the others were told
        reports = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reports), os.fdopen(ours, "rb")
        )
        failure: str | None = None
        has_started = False
        try:
            if place.number != 0:
                await self._is_open.wait()
            self._order(process)
            async for line in reports:
                report = Report.of(line)
                failure = report.failed
                if report.started is not None:
                    has_started = place.serves = True
                    if self._facts is None:
                        self._facts = report.started
                        # Wishes for one start: whoever comes later finds the database as the first has left it.
                        self._settings = replace(self._settings, new_epoch=False, admin_password=None)
                        self._is_open.set()
                    place.has_tried.set()
            place.status = await process.wait()
        finally:
            place.serves = False
            place.process = None
            pipe.close()
        if has_started:
            return None
        return failure or f"a worker ended at its start with status {place.status}; the log above tells why"

    def _order(self, process: asyncio.subprocess.Process) -> None:
        """Its standard input stays open for as long as this process lives."""
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        process.stdin.write(pickle.dumps(Orders(self._settings, self._log_level)))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _asked(self, number: int) -> None:
        # A second time it is said as it came: on a second SIGINT a server does not wait for its requests.
        if self._stopping.is_set():
            self._send(number)
        self._stopping.set()

    async def _drain(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        if not keepers:
            return
        self._send(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._settings.drain_seconds + KILL_SECONDS)
        if late:
            logger.error("workers_killed", extra={"workers": [place.number for place in self._places if place.process]})
            self._send(signal.SIGKILL)
        for failure in await asyncio.gather(*keepers, return_exceptions=True):
            if isinstance(failure, Exception) and not isinstance(failure, StartupError):
                raise failure  # nobody else would tell of it

    def _send(self, number: int) -> None:
        for place in self._places:
            if place.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    place.process.send_signal(number)


@dataclass(slots=True)
class _Place:
    """`has_tried`: a process has served here, or failed to."""

    number: int
    has_tried: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    serves: bool = False
    status: int | None = None
    patience: Patience = field(default_factory=Patience)


def serve_on_many(settings: Settings, count: int, *, log_level: int, on_started: Callable[[Started], None]) -> None:
    """Run so many servers until they are asked to end.

    Raises:
        StartupError: They cannot start.
    """
    with asyncio.Runner() as runner:
        runner.run(Workers(settings, count, log_level=log_level).run(on_started))
