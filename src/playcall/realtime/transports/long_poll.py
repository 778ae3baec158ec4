"""Frames over plain HTTP: the server's half of the realtime contract, played on top of `GET /events`.

The session needs to know nothing of it. What the backend says in answers it is told as frames, and what it sends becomes
requests: one that waits for each subscription, and one for each ping. Where the session's own rules ask for a new
connection, a new link is made, which goes on from the cursors; so a request that fails ends the link, and none is repeated.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from ...errors import ConfigurationError
from ...models.frames import (
    Authenticated,
    AuthFrame,
    ClientFrame,
    Credit,
    ErrorFrame,
    Hello,
    Ping,
    Pong,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from ..codec import UnreadableFrameError
from .asking import Asker
from .base import Closed, HeaderSource, LinkLostError
from .dialling import Dialler
from .polling import EVENTS_PATH, GRACE_SECONDS, Answer, Poll

if TYPE_CHECKING:
    from ...http.pool import SessionPool

__all__ = ["LongPollLink", "LongPollTransport"]

WAIT_SECONDS = 25.0
"""Below the half minute after which many proxies end a request that waits."""
MOST_WAIT_SECONDS: Final = 60.0
CLOSE_SECONDS = 2.0
ANSWER_BYTES: Final = 1_048_576
"""An answer ends with the frame by which it has grown beyond this (the contract)."""
ENVELOPE_BYTES: Final = 1_024

_ABNORMAL: Final = 1006
_PROOF: Final = (("topic", "tasks"), ("from", "head"), ("limit", "1"))
"""A question that each caller may ask and that costs next to nothing."""

OwnFrame: TypeAlias = Welcome | Pong | Unsubscribed | Authenticated | ErrorFrame
"""The frames that are made here; all others are the polls' affair."""


class LongPollTransport(Dialler):
    """Goes on where no WebSocket can be opened. It needs nothing but plain requests, each shorter than most time limits.

    Requests wait side by side, one for each subscription: the pool's connector, which has no limit, carries them beside
    those of the HTTP client, and they count against none of its bounds.
    """

    name = "long_poll"

    def __init__(self, url: str, pool: SessionPool, *, wait_seconds: float = WAIT_SECONDS) -> None:
        """
        Args:
            wait_seconds: How long a request waits for an event; it is the connection's heartbeat too.

        Raises:
            ConfigurationError: `url` is no address of a backend, or the wait is out of bounds.
        """
        super().__init__(url, pool)
        if not 0 < wait_seconds <= MOST_WAIT_SECONDS:
            raise ConfigurationError(f"wait_seconds is above 0 and at most {MOST_WAIT_SECONDS:g}, got {wait_seconds}")
        self._wait_seconds = wait_seconds

    async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> LongPollLink:
        """See `Transport.dial`. There is no connection to open: what is proved is that events can be asked for."""
        most = ANSWER_BYTES + max_frame_bytes + ENVELOPE_BYTES
        asker = Asker(self._base, self._pool, headers, max_bytes=most)
        try:
            Answer.model_validate_json(await asker.get(EVENTS_PATH, seconds=GRACE_SECONDS, params=_PROOF))
        except (UnreadableFrameError, ValidationError):
            # A login page of the network that we are in, for one.
            raise LinkLostError("what answers there is not the backend", permanent=True) from None
        return LongPollLink(asker, max_frame_bytes=max_frame_bytes, wait_seconds=self._wait_seconds)


class LongPollLink:
    """Takes the session's frames, and gives it those of a server. Every task is its own, and is gone after `close`."""

    def __init__(self, asker: Asker, *, max_frame_bytes: int, wait_seconds: float) -> None:
        self._asker = asker
        self._max_frame_bytes = max_frame_bytes
        self._wait_seconds = wait_seconds
        self._inbox: asyncio.Queue[str | Closed | Exception] = asyncio.Queue()
        self._polls: dict[str, tuple[Poll, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    # --- what the session's driver asks -------------------------------------------------------------------------------

    async def receive(self) -> str | Closed:
        """See `Link.receive`. What the provider of headers raises comes here too."""
        got = await self._inbox.get()
        self._inbox.task_done()
        if isinstance(got, str):
            return got
        self._inbox.put_nowait(got)  # it stays the last word, however often it is asked for
        if isinstance(got, Exception):
            raise got
        return got

    async def send(self, text: str) -> None:
        """Begins what the frame asks for; never waits. After the link's end, `receive` has the word."""
        if self._over:
            return
        try:
            frame = _client_frames().validate_json(text)
        except ValidationError:
            self._say(ErrorFrame(code="invalid_frame", message="this is no frame of the contract"))
            return
        match frame:
            case Hello():
                self._say(
                    Welcome(
                        connection_id=f"poll-{uuid.uuid4().hex}",
                        heartbeat_seconds=self._wait_seconds,
                        max_frame_bytes=self._max_frame_bytes,
                        # No token life: each request carries the current credentials.
                    )
                )
            case Subscribe():
                self._subscribe(frame)
            case Credit(sid=sid, limit=limit):
                if sid in self._polls:
                    self._polls[sid][0].raise_limit(limit)
            case Unsubscribe(id=id_, sid=sid):
                if sid in self._polls:
                    self._polls.pop(sid)[1].cancel()  # it takes no further step, so nothing of it follows the answer
                self._say(Unsubscribed(id=id_, sid=sid))
            case AuthFrame(id=id_):
                self._say(Authenticated(id=id_))
            case Ping(n=n):
                self._begin(partial(self._ping, n))
            case Pong():
                pass

    async def close(self, code: int, reason: str) -> None:
        """See `Link.close`. Nobody is told: there is no connection, only requests, and they are broken off."""
        self._finish(Closed(_ABNORMAL, "it was closed here"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    # --- its tasks ----------------------------------------------------------------------------------------------------

    def _subscribe(self, frame: Subscribe) -> None:
        sid = frame.sid
        if sid in self._polls:
            self._say(ErrorFrame(id=frame.id, code="duplicate_sid", message="this sid is in use"))
            return
        inbox = self._inbox
        poll = Poll(frame, self._asker, tell=inbox.put_nowait, settled=inbox.join, wait_seconds=self._wait_seconds)
        self._polls[sid] = poll, self._begin(partial(self._run, sid, poll))

    async def _run(self, sid: str, poll: Poll) -> None:
        await poll.run()
        self._polls.pop(sid, None)

    async def _ping(self, n: int) -> None:
        await self._asker.get("/health", seconds=GRACE_SECONDS)
        self._say(Pong(n=n))

    def _begin(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """One that fails ends the link for all: they share the backend."""
        try:
            await work()
        except Exception as error:
            self._finish(error)

    def _finish(self, end: Closed | Exception) -> None:
        """The first end counts; frames that came before it come before it."""
        if self._over:
            return
        self._over = True
        self._inbox.put_nowait(end)
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    def _say(self, frame: OwnFrame) -> None:
        if not self._over:
            self._inbox.put_nowait(frame.model_dump_json(exclude_none=True))


@cache
def _client_frames() -> TypeAdapter[ClientFrame]:
    return TypeAdapter(ClientFrame)
