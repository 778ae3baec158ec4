"""What a session wants to know beside the connection itself: credentials, who we are, whether a WebSocket opens, a state."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeAlias

from ..errors import ClientClosedError, PlaycallError, RealtimeError, StatusError
from ..models.cursor import Cursor
from .codec import UnreadableFrameError, encode
from .credentials import CredentialSource
from .effects import CheckIdentity, Probe, RefreshToken, RenewCredentials, SentFrame, TakeSnapshot
from .items import Gap, Snapshot, TopicState
from .lifeline import HANDSHAKE_SECONDS, Lifeline
from .transports.base import Link, Transport

__all__ = ["Errand", "Errands", "ReadState"]

log = logging.getLogger("playcall.realtime")

Errand: TypeAlias = RenewCredentials | RefreshToken | CheckIdentity | Probe | TakeSnapshot

ReadState: TypeAlias = Callable[[str], Awaitable[tuple[TopicState, Cursor]]]
"""Reads the state that a topic's events change, and its place in the log, of one moment. Raises RequestError."""

PROBE_FRAME_BYTES = 1024 * 1024
"""A probe is answered by `welcome`."""


class Errands:
    """Each is a task that is held here, and gone when `close` returns; its answer is told to the session.

    Args:
        session: Is told the answers.
        transport: The way of which it is asked whether it is open, and who we are.
        read_state: None where the far end keeps no log.
        told: Called after each answer: the session may want something done.
        abandon: Called when what we share with the HTTP client turns out to be closed.
    """

    def __init__(
        self,
        session: Lifeline,
        transport: Transport,
        credentials: CredentialSource,
        read_state: ReadState | None,
        *,
        told: Callable[[], None],
        abandon: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._transport = transport
        self._credentials = credentials
        self._read_state = read_state
        self._told = told
        self._abandon = abandon
        self._tasks: set[asyncio.Task[None]] = set()
        self._snapshots: dict[int, asyncio.Task[None]] = {}

    def run(self, errand: Errand) -> None:
        match errand:
            case RenewCredentials():
                self._begin(self._renew())
            case RefreshToken():
                self._begin(self._refresh())
            case CheckIdentity():
                self._begin(self._check_identity())
            case Probe(greeting):
                self._begin(self._probe(greeting))
            case TakeSnapshot(key, gap):
                if key not in self._snapshots:
                    self._snapshots[key] = self._begin(self._take_snapshot(key, gap))

    def forget(self, key: int) -> None:
        """Nobody waits for the state of this subscription any more."""
        if (reading := self._snapshots.pop(key, None)) is not None:
            reading.cancel()

    async def close(self) -> None:
        """What they would find out is of no more use."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, errand: Coroutine[object, object, None]) -> asyncio.Task[None]:
        # An empty context: it outlives the deadline, and whatever else is in the context, of whom it was begun for.
        task = self._loop.create_task(errand, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _renew(self) -> None:
        """Credentials were refused: are there others?"""
        try:
            outcome = await self._credentials.renew()
        except ClientClosedError:
            self._abandon()
            return
        self._session.renewed(self._loop.time(), outcome)
        self._told()

    async def _refresh(self) -> None:
        """The token in use will expire: a newer one goes in-band, so that nothing is interrupted."""
        bearer = await self._credentials.newer_bearer()
        self._session.token(self._loop.time(), bearer)
        self._told()

    async def _check_identity(self) -> None:
        try:
            known = await self._transport.identity(self._credentials.used)
        except ClientClosedError:
            self._abandon()
            return
        self._session.identity(self._loop.time(), known)
        self._told()

    async def _probe(self, greeting: SentFrame) -> None:
        """Whether a WebSocket can be opened again: it must answer, as some that are on the way only pretend to."""
        possible = False
        link: Link | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                link = await self._transport.dial(self._credentials.current, max_frame_bytes=PROBE_FRAME_BYTES)
                await link.send(encode(greeting))
                possible = isinstance(await link.receive(), str)
        except (PlaycallError, UnreadableFrameError, TimeoutError) as error:
            why = error.message if isinstance(error, PlaycallError) else type(error).__name__
            log.info("the WebSocket cannot be opened yet: %s", why, extra={"event": "realtime.probe_failed"})
        finally:
            if link is not None:
                await link.close(1000, "it can be opened again")
        self._session.probed(self._loop.time(), possible)
        self._told()

    async def _take_snapshot(self, key: int, gap: Gap) -> None:
        """The state after a gap, for whoever wants to go on from it."""
        error: PlaycallError
        try:
            if self._read_state is None:
                raise RealtimeError('on_gap="snapshot" needs a backend that keeps our contract')
            state, cursor = await self._read_state(gap.topic)
        except PlaycallError as failed:
            error = failed
        except Exception as failed:
            # Ours: the subscription ends, and nothing else suffers.
            log.exception("a state could not be read", extra={"event": "realtime.defect"})
            error = RealtimeError(f"the state of {gap.topic} could not be read ({type(failed).__name__})")
        else:
            self._snapshots.pop(key, None)
            self._session.snapshot(key, Snapshot(gap, state, cursor))
            self._told()
            return
        self._snapshots.pop(key, None)
        self._session.no_snapshot(self._loop.time(), key, error, final=_is_final(error))
        self._told()


def _is_final(error: PlaycallError) -> bool:
    """Whether the state cannot be had later either: it is gone, not ours, or the client is closed."""
    if isinstance(error, StatusError):
        return 400 <= error.status < 500 and error.status not in (408, 425, 429)
    return isinstance(error, RealtimeError | ClientClosedError)
