"""Words from process to process on one PostgreSQL (LISTEN and NOTIFY): what to look at again, and nothing that must not be lost.

Whoever has to hear of a change for certain reads the database now and then; this only makes it quick. SQLite has one
process, and needs none of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import make_url

from .dialect import connect

__all__ = ["SignalKind", "Signals"]

logger = logging.getLogger("playcall.server")

SignalKind: TypeAlias = Literal["topic", "agent_changed", "stop_work", "credential_revoked"]
"""What the id is of: a topic that has new events (`topic_word`), an agent, a run or task that is to stop, an API key or token
family that is no more.
"""

Callback: TypeAlias = Callable[[str], Awaitable[object] | None]
"""Takes the id; called in the loop of the server."""

CHANNEL: Final = "playcall"
MAX_PAYLOAD_BYTES: Final = 7_900
"""PostgreSQL refuses 8,000."""
QUIET_SECONDS: Final = 15.0
"""A connection that has said nothing for so long is asked whether it is still there."""
ANSWER_SECONDS: Final = 10.0
FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 5.0


class Signals:
    """One for each process. What is published before `listening`, or on SQLite, is told to nobody.

    One connection listens and tells, so that the process's own words are known by it. They are told together: what is
    published while one NOTIFY is under way goes with the next, because each takes a lock of the whole database.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self._on_missed: list[Callable[[], object]] = []
        self._untold: dict[tuple[SignalKind, str], None] = {}
        """In the order in which they came, each once."""
        self._something = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None
        self._called: set[asyncio.Future[object]] = set()
        self.is_connected = False

    def on(self, kind: SignalKind, callback: Callback) -> None:
        """Whenever another process publishes this kind. What a callback raises is logged."""
        self._callbacks[kind].append(callback)

    def on_missed(self, callback: Callable[[], object]) -> None:
        """Whenever words of others may have been lost: the connection is new."""
        self._on_missed.append(callback)

    def publish(self, kind: SignalKind, id: str) -> None:
        """Tells every other process, soon; this one is not told. After the commit of what it is about; from any thread.

        Args:
            id: At most a few hundred characters.
        """
        if self._loop is None:
            return
        if threading.get_ident() == self._thread_id:
            self._publish(kind, id)
        else:
            self._loop.call_soon_threadsafe(self._publish, kind, id)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """For the life of the server. A database that is gone is waited for; what was published is told then."""
        if self._url.get_backend_name() != "postgresql":
            yield
            return
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()
        task = asyncio.create_task(self._run(), name="playcall-signals")
        try:
            yield
        finally:
            self._loop = None
            endings: list[asyncio.Future[Any]] = [task, *self._called]
            for ending in endings:
                ending.cancel()
            await asyncio.gather(*endings, return_exceptions=True)

    def _publish(self, kind: SignalKind, id: str) -> None:
        self._untold[kind, id] = None
        self._something.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                connection = await connect(self._url)
                try:
                    failures = 0
                    await self._converse(connection)
                finally:
                    self.is_connected = False
                    connection.terminate()
            except Exception as error:  # whatever it is, of the driver's inside too: the next one tells what is untold
                self._log_loss(error)
            await asyncio.sleep(min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**failures))
            failures += 1

    async def _converse(self, connection: Any) -> None:
        """Until the connection ends, by an error. `Any`: the driver has no types."""
        connection.add_termination_listener(self._terminated)
        await connection.add_listener(CHANNEL, self._hear)
        self.is_connected = True
        for callback in self._on_missed:
            callback()
        while True:
            if not self._untold:
                self._something.clear()
                try:
                    async with asyncio.timeout(QUIET_SECONDS):
                        await self._something.wait()
                except TimeoutError:
                    pass  # a statement tells whether somebody is there
            told, self._untold = self._untold, {}
            try:
                # Without a transaction around it, it is one of its own.
                await connection.execute(
                    "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word",
                    CHANNEL,
                    payloads(list(told)),
                    timeout=ANSWER_SECONDS,
                )
            except BaseException:
                self._untold = told | self._untold
                raise

    def _terminated(self, _connection: Any) -> None:
        """The next statement says why."""
        self._something.set()

    def _hear(self, connection: Any, process_id: int, _channel: str, payload: str) -> None:
        if process_id == connection.get_server_pid():
            return
        try:
            words: list[list[str]] = json.loads(payload)
            for kind, *ids in words:
                for each in ids:
                    self._call(kind, each)
        except (ValueError, TypeError):
            logger.warning("signal_not_understood")  # of somebody else, or of a later version

    def _call(self, kind: str, id: str) -> None:
        for callback in self._callbacks.get(kind, ()):
            try:
                going_on = callback(id)
            except Exception as error:
                logger.warning("signal_failed", extra={"kind": kind, "error": type(error).__name__})
                continue
            if going_on is not None:
                future = asyncio.ensure_future(going_on)
                self._called.add(future)
                future.add_done_callback(lambda done: self._ended(kind, done))

    def _ended(self, kind: str, future: asyncio.Future[object]) -> None:
        self._called.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            logger.warning("signal_failed", extra={"kind": kind, "error": type(error).__name__})

    def _log_loss(self, error: Exception) -> None:
        logger.warning("signals_disconnected", extra={"error": type(error).__name__})


def payloads(signals: list[tuple[SignalKind, str]]) -> list[str]:
    """As few texts as hold them all: JSON lists that begin with a kind, each within the size that PostgreSQL takes."""
    texts: list[str] = []
    words: list[list[str]] = []
    size = 2
    for kind, word in sorted(signals, key=lambda signal: signal[0]):
        is_new = not words or words[-1][0] != kind
        # With the comma, and the list of the kind's own.
        cost = len(json.dumps(word)) + 2 + (len(json.dumps(kind)) + 4 if is_new else 0)
        if words and size + cost > MAX_PAYLOAD_BYTES:
            texts.append(json.dumps(words, separators=(",", ":")))
            words, size, is_new = [], 2, True
            cost = len(json.dumps(word)) + 2 + len(json.dumps(kind)) + 4
        if is_new:
            words.append([kind])
        words[-1].append(word)
        size += cost
    if words:
        texts.append(json.dumps(words, separators=(",", ":")))
    return texts
