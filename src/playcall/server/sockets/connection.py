"""One connection: hello, then frames both ways until either end closes (docs/realtime-protocol.md, «Frames»).

Nothing here knows what a socket is; `channel` carries the texts.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Final

from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from playcall.models.frames import (
    VERSION,
    Authenticated,
    AuthFrame,
    ClientFrame,
    Credit,
    ErrorFrame,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from playcall.server.auth.caller import Caller
from playcall.server.auth.gate import Gate
from playcall.server.problems import ApiError
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.telemetry import metrics

from .channel import Channel, ChannelClosedError
from .encoding import encode
from .filtering import type_filter
from .reading import problem_of, read_frame
from .subscription import Subscription

__all__ = ["Connection"]

logger = logging.getLogger("playcall.server.sockets")

UNHEARD: Final = 1001
GOING_AWAY: Final = 1012
TRY_AGAIN: Final = 1013
NO_HELLO: Final = 4001
TOO_FAST: Final = 4008
BAD_TOKEN: Final = 4401
OTHER_SUBJECT: Final = 4403
BAD_VERSION: Final = 4406

FRAMES_PER_SECOND: Final = 1_000
FRAME_BURST: Final = 2_000
WAITED_SECONDS: Final = 0.05
"""A frame that took so long had to wait for the peer; one for which there is room is gone at once."""
MAX_SIDS: Final = 100_000
"""In the life of a connection: all of them are remembered, as none may come twice."""


class Connection:
    """`caller` is None until hello brings a token, where the upgrade brought none."""

    def __init__(
        self, channel: Channel, caller: Caller | None, *, settings: Settings, database: Database, gate: Gate
    ) -> None:
        self.id = secrets.token_hex(8)
        self._channel = channel
        self._caller = caller
        self._settings = settings
        self._database = database
        self._gate = gate
        self._subscriptions: dict[str, tuple[Subscription, asyncio.Task[None]]] = {}
        self._sids_used: set[str] = set()
        self._turn = asyncio.Lock()
        """Of the subscriptions, to read and send."""
        self._last_sent = self._listening_since = time.monotonic()
        self._silent_heartbeats = 0
        self._pings = 0
        self._clock_moved = asyncio.Event()
        self._allowance = float(FRAME_BURST)
        self._allowance_at = time.monotonic()

    @property
    def credential_id(self) -> str | None:
        return None if self._caller is None else self._caller.credential_id

    async def run(self) -> None:
        """Until the socket has closed. Every task of the connection has ended then."""
        try:
            if not await self._hello():
                return
            async with asyncio.TaskGroup() as tasks:
                clock = tasks.create_task(self._clock())
                try:
                    await self._receive(tasks)
                # Here, because the group would wrap them.
                except ChannelClosedError:
                    pass
                except SQLAlchemyError:
                    await self._unreadable()
                finally:
                    clock.cancel()
                    for _, task in self._subscriptions.values():
                        task.cancel()
        except ChannelClosedError:
            pass  # the client went while we were writing
        except SQLAlchemyError:
            await self._unreadable()

    async def goodbye(self, reason: str, *, spread_ms: int) -> None:
        """Tell the client to come back elsewhere or later, and close."""
        try:
            await self._send(Goodbye(reason=reason, reconnect_after_ms=0, spread_ms=spread_ms))
        except ChannelClosedError:
            return
        await self._channel.close(GOING_AWAY, reason)

    async def revoked(self) -> None:
        await self._channel.close(BAD_TOKEN, "the credentials have been revoked")

    def abort(self) -> None:
        self._channel.abort()

    # --- the beginning -------------------------------------------------------------------------------------------------

    async def _hello(self) -> bool:
        """Whether the client has said hello with valid credentials; if not, the connection has been closed."""
        try:
            async with asyncio.timeout(self._settings.hello_seconds):
                message = await self._channel.receive()
        except TimeoutError:
            await self._channel.close(NO_HELLO, "no hello came in time")
            return False
        if message is None:
            return False
        self._heard()
        frame = read_frame(message)
        if not isinstance(frame, Hello):
            await self._channel.close(NO_HELLO, "the first frame is hello")
            return False
        if frame.v != VERSION:
            await self._channel.close(BAD_VERSION, f"this server speaks version {VERSION}")
            return False
        if frame.token is not None and self._caller is not None:
            await self._refuse("ambiguous_credentials", "credentials came with the upgrade and again in hello")
            return False
        caller = self._caller
        if caller is None:
            try:
                caller = await self._gate.caller(frame.token)
            except ApiError as error:
                await self._refuse(error.code, error.detail)
                return False
        if not await self._take(caller):
            return False
        await self._send(
            Welcome(
                connection_id=self.id,
                heartbeat_seconds=self._settings.heartbeat_seconds,
                max_frame_bytes=self._settings.max_frame_bytes,
                token_expires_in_seconds=caller.seconds_left(),
            )
        )
        return True

    async def _take(self, caller: Caller) -> bool:
        """Whether the connection is the caller's now; if not, it has been closed.

        Asked anew once everybody can see whose it is: a key that is revoked after its first look, and before this, would
        not find the connection to close.
        """
        self._caller = caller
        if await self._gate.is_revoked(caller):
            await self.revoked()
            return False
        return True

    async def _refuse(self, code: str, message: str) -> None:
        await self._send(ErrorFrame(code=code, message=message))
        await self._channel.close(BAD_TOKEN, code)

    # --- what the client sends -------------------------------------------------------------------------------------------

    async def _receive(self, tasks: asyncio.TaskGroup) -> None:
        while (message := await self._channel.receive()) is not None:
            self._heard()
            if not self._within_rate():
                await self._channel.close(TOO_FAST, "too many frames")
                return
            frame = read_frame(message)
            if frame is None:
                continue  # an op that this version does not know
            if isinstance(frame, ErrorFrame):
                await self._send(frame)
            else:
                await self._handle(frame, tasks)

    async def _handle(self, frame: ClientFrame, tasks: asyncio.TaskGroup) -> None:
        if isinstance(frame, Subscribe):
            await self._subscribe(frame, tasks)
        elif isinstance(frame, Credit):
            if known := self._subscriptions.get(frame.sid):
                known[0].raise_limit(frame.limit)
        elif isinstance(frame, Unsubscribe):
            await self._unsubscribe(frame)
        elif isinstance(frame, AuthFrame):
            await self._authenticate(frame)
        elif isinstance(frame, Ping):
            await self._send(Pong(n=frame.n))
        elif isinstance(frame, Hello):
            await self._send(ErrorFrame(code="invalid_frame", message="hello is said once"))

    async def _subscribe(self, frame: Subscribe, tasks: asyncio.TaskGroup) -> None:
        caller = self._known_caller()
        if frame.sid in self._sids_used:
            # Without `sid`: the subscription that has it goes on.
            await self._send(ErrorFrame(id=frame.id, code="duplicate_sid", message="this sid has been used before"))
            return
        if len(self._sids_used) >= MAX_SIDS:
            await self._channel.close(TRY_AGAIN, "this connection has had too many subscriptions")
            return
        problem = problem_of(frame)
        if len(self._subscriptions) >= self._settings.max_subscriptions:
            problem = f"a connection holds up to {self._settings.max_subscriptions} subscriptions"
        if problem is not None:
            await self._send(ErrorFrame(id=frame.id, sid=frame.sid, code="invalid_subscription", message=problem))
            return
        self._sids_used.add(frame.sid)
        subscription = Subscription(
            frame,
            type_filter(frame.types),
            owner_id=caller.user_id,
            database=self._database,
            send=self._send_text,
            turn=self._turn,
        )
        self._subscriptions[frame.sid] = (subscription, tasks.create_task(self._follow(subscription)))

    async def _follow(self, subscription: Subscription) -> None:
        sid = subscription.request.sid
        try:
            await subscription.run()
        except ChannelClosedError:
            pass  # the receiving side sees it too, and ends the connection
        except SQLAlchemyError:
            await self._unreadable(sid)
        finally:
            self._subscriptions.pop(sid, None)

    async def _unreadable(self, sid: str | None = None) -> None:
        """The client comes back with its cursors, so nothing is lost by letting go of it. Called where it was caught."""
        logger.exception("log_unreadable", extra={"connection_id": self.id, "sid": sid})
        await self._channel.close(TRY_AGAIN, "the log cannot be read now")

    async def _unsubscribe(self, frame: Unsubscribe) -> None:
        known = self._subscriptions.get(frame.sid)
        if known is not None:
            known[0].stop()
            await asyncio.wait([known[1]])
        await self._send(Unsubscribed(id=frame.id, sid=frame.sid))

    async def _authenticate(self, frame: AuthFrame) -> None:
        try:
            caller = await self._gate.caller(frame.token)
        except ApiError as error:
            # The old token is good until it expires.
            await self._send(ErrorFrame(id=frame.id, code=error.code, message=error.detail))
            return
        if caller.user_id != self._known_caller().user_id:
            await self._channel.close(OTHER_SUBJECT, "the token belongs to somebody else")
            return
        if not await self._take(caller):
            return
        self._clock_moved.set()
        await self._send(Authenticated(id=frame.id, token_expires_in_seconds=caller.seconds_left()))

    def _known_caller(self) -> Caller:
        if self._caller is None:
            raise AssertionError("frames are handled after hello")
        return self._caller

    def _heard(self) -> None:
        self._listening_since = time.monotonic()
        self._silent_heartbeats = 0

    def _within_rate(self) -> bool:
        now = time.monotonic()
        self._allowance = min(FRAME_BURST, self._allowance + (now - self._allowance_at) * FRAMES_PER_SECOND)
        self._allowance_at = now
        self._allowance -= 1
        return self._allowance >= 0

    # --- what time brings ------------------------------------------------------------------------------------------------

    async def _clock(self) -> None:
        """Pings when nothing was sent, or nothing heard, for a heartbeat; closes when nothing was heard for several of
        them, or the credentials have expired."""
        heartbeat = self._settings.heartbeat_seconds
        while True:
            self._clock_moved.clear()
            left = self._known_caller().seconds_left()
            if left is not None and left <= 0:
                await self._channel.close(BAD_TOKEN, "the token has expired")
                return
            now = time.monotonic()
            is_silent = self._listening_since + heartbeat <= now
            if is_silent:
                self._silent_heartbeats += 1
                # From here, not from when it was due: a time in which the server itself was held up counts once.
                self._listening_since = now
                if self._silent_heartbeats >= self._settings.silent_heartbeats:
                    await self._channel.close(UNHEARD, f"nothing was heard for {self._silent_heartbeats} heartbeats")
                    return
            if is_silent or self._last_sent + heartbeat <= now:
                self._pings += 1
                await self._ping()
                continue
            until_ping = min(self._last_sent, self._listening_since) + heartbeat - now
            try:
                async with asyncio.timeout(until_ping if left is None else min(until_ping, left)):
                    await self._clock_moved.wait()
            except TimeoutError:
                pass

    async def _ping(self) -> None:
        at = {
            sid: subscription.sent_to
            for sid, (subscription, _) in self._subscriptions.items()
            if subscription.sent_to is not None
        }
        try:
            await self._send(Ping(n=self._pings, at=at))
        except ChannelClosedError:
            # The receiving side is about to find out; until it does there is nothing to do.
            await self._clock_moved.wait()

    async def _send(self, frame: BaseModel) -> None:
        await self._send_text(encode(frame))

    async def _send_text(self, text: str) -> None:
        began = time.monotonic()
        await self._channel.send(text)
        metrics.FRAMES_SENT.add()
        self._last_sent = time.monotonic()
        if self._last_sent - began >= WAITED_SECONDS:
            # The peer has read on to make room: it is slow and there, though its pongs are behind all that.
            self._heard()
