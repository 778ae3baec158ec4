"""The client's half of the realtime contract, without I/O: facts in, effects out (docs/realtime-protocol.md, «The client»).

The life of the connection is the `Lifeline`'s, what is wanted on it `desired`'s; here is what both ends say to each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import InvalidArgumentError, PlaycallError
from ..models.frames import (
    VERSION,
    Authenticated,
    AuthFrame,
    Ended,
    ErrorFrame,
    Events,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Subscribed,
    UnknownFrame,
    Unsubscribed,
    Welcome,
)
from ..models.frames import Gap as GapFrame
from . import schedule
from .closes import Reaction
from .codec import ServerFrame, UnreadableFrameError, decode_all, encode
from .desired import Desired
from .effects import Disconnect, Effect, RefreshToken, TokenTaken
from .items import Snapshot, Want
from .lifeline import UP, Lifeline
from .runs import run_of
from .states import ConnectionState, Standing, Tally
from .subscription import Subscription

__all__ = ["Session"]

AUTH_SECONDS = 10.0
"""For the answer to a token that was sent in-band, where the old one expires sooner."""
TOKEN_MARGIN_SECONDS = 5.0
"""A renewal may take this long, on a bad day, where the token's life has room for it."""
TOKEN_PAUSE_SECONDS = 0.1
"""The least pause between two in-band renewals."""


class Session(Lifeline):
    """What is wanted, what has been received, and what to do next.

    Args:
        random: Uniform in [0, 1).
        client: What `hello` says of us.
        fallback: Whether there is a second way to connect.
    """

    def __init__(self, *, random: Callable[[], float], client: str = "playcall", fallback: bool = False) -> None:
        super().__init__(random=random, fallback=fallback)
        self._client = client
        self._last_id = 0
        self.desired = Desired(emit=self._emit, next_id=self._next_id, random=random)
        self._heartbeat_seconds = math.inf
        self._ping_at = math.inf
        self._pinged: tuple[int, float] | None = None
        self._refresh_at = math.inf
        self._token_expires_at = math.inf
        self._auth_id: int | None = None
        self._auth_due = math.inf

    # --- what is wanted -----------------------------------------------------------------------------------------------

    def subscribe(self, now: float, want: Want) -> int:
        self._want(now)
        return self.desired.add(want)

    def unsubscribe(self, key: int) -> None:
        self.desired.remove(key)
        self._want_less()

    def taken(self, key: int, count: int) -> None:
        self.desired.taken(key, count)

    def undone(self, effect: Effect, why: str) -> None:
        self.problem = why
        self.desired.undone(effect, why)

    def snapshot(self, key: int, snapshot: Snapshot) -> None:
        self.desired.snapshot(key, snapshot)

    def no_snapshot(self, now: float, key: int, error: PlaycallError, *, final: bool) -> None:
        self.desired.no_snapshot(now, key, error, final=final)

    def check(self, want: Want) -> None:
        try:
            encode(Subscription(0, want).ask("s0", 0))
        except ValueError as error:
            raise InvalidArgumentError(
                f"the subscription to {want.topic!r} cannot be said in JSON ({type(error).__name__})"
            ) from None

    @property
    def tally(self) -> Tally:
        return Tally(self.desired.received, self.desired.repeated, self.desired.gaps)

    @property
    def standings(self) -> list[Standing]:
        return [each.standing for each in self.desired.all]

    # --- what happens -------------------------------------------------------------------------------------------------

    def receive(self, now: float, text: str) -> str:
        return self.receive_all(now, (text,))[0]

    def receive_all(self, now: float, texts: Sequence[str]) -> Sequence[str]:
        frames = decode_all(texts)
        # Together they mean what they mean one by one, at a fraction of the cost. Where that is wrong, each has its due.
        run = run_of(frames) if len(frames) > 1 and self.state in UP else None
        if run is not None and self.desired.on_run(run):
            self._heard_at = now
            return ["events"] * len(frames)
        for frame in frames:
            if not isinstance(frame, UnreadableFrameError):
                self.received(now, frame)
            elif self.state in UP:
                self.unreadable(now, str(frame), sid=frame.sid)
        return ["unreadable" if isinstance(frame, UnreadableFrameError) else frame.op for frame in frames]

    def unreadable(self, now: float, why: str, *, code: int = 1002, sid: str | None = None) -> None:
        self._unfit(now, why, code=code, blamed=sid is not None and self.desired.blame(why, sid))

    def token(self, now: float, bearer: str | None) -> None:
        if self.state is not ConnectionState.READY:
            return
        if bearer is not None:
            self._auth_id = self._next_id()
            self._send(AuthFrame(id=self._auth_id, token=bearer))
            # Refused or not answered, it is tried again; once the old token has expired only a new connection helps.
            self._auth_due = min(self._auth_due, max(self._token_expires_at, now + AUTH_SECONDS))
        if (left := self._token_expires_at - now) > 1:
            self._refresh_at = now + left / 2

    def introduce(self, now: float, token: str | None) -> None:
        """Never asked for: credentials go with the upgrade."""

    # --- what the lifeline asks ---------------------------------------------------------------------------------------

    @property
    def _is_wanted(self) -> bool:
        return bool(self.desired)

    @property
    def _has_progressed(self) -> bool:
        return self.desired.progressed

    def _greet(self, now: float) -> Hello:
        return Hello(client=self._client)

    def _forget(self) -> None:
        self.desired.disconnect()
        self.connection_id = None
        self._pinged = None
        self._auth_id = None
        self._ping_at = self._refresh_at = self._token_expires_at = self._auth_due = math.inf

    def _end_all(self, error: PlaycallError) -> None:
        self.desired.end_all(error)

    def _blame(self, why: str) -> bool:
        return self.desired.blame(why)

    @property
    def _ready_timer(self) -> float:
        return min(self._ping_at, self._refresh_at, self._auth_due, self.desired.next_timer)

    def _tick_ready(self, now: float) -> None:
        if now >= self._auth_due:
            self._give_up(now, "the token has expired, and the newer one was not accepted")
            return
        if now >= self._ping_at:
            self._ping(now)
        if now >= self._refresh_at:
            self._refresh_at = math.inf
            self._emit(RefreshToken())
        self.desired.tick(now)

    # --- frames -------------------------------------------------------------------------------------------------------

    def received(self, now: float, frame: ServerFrame) -> None:
        """One frame of the server, decoded."""
        if self.state not in UP:
            return
        self._heard_at = now
        unfit: str | None = None
        blamed = True
        if isinstance(frame, Events):
            unfit = self.desired.on_events(frame)
        elif isinstance(frame, Ping):
            self._send(Pong(n=frame.n))
            unfit = self.desired.on_sent_up_to(frame.at or {})
        elif isinstance(frame, Welcome):
            unfit, blamed = self._on_welcome(now, frame), False
        elif isinstance(frame, Subscribed):
            unfit = self.desired.on_subscribed(frame)
        elif isinstance(frame, GapFrame):
            unfit = self.desired.on_gap(frame)
        elif isinstance(frame, Ended):
            self.desired.on_ended(now, frame)
        elif isinstance(frame, ErrorFrame):
            self.problem = f"the backend reported {frame.code}: {frame.message}"
            self.desired.on_error(now, frame)
        elif isinstance(frame, Goodbye):
            self.problem = f"the backend said goodbye: {frame.reason}"
            self._move_at = now + schedule.spread_seconds(frame.reconnect_after_ms, frame.spread_ms, self._random)
        elif isinstance(frame, Authenticated):
            if frame.id == self._auth_id:
                self._auth_due = math.inf
                self._set_token_life(now, frame.token_expires_in_seconds)
                self._emit(TokenTaken())
        elif isinstance(frame, Pong):
            if self._pinged is not None and frame.n == self._pinged[0]:
                self.latency_seconds = now - self._pinged[1]
                self._pinged = None
        else:
            # Unsubscribed: forgotten when it was asked for. UnknownFrame: a later version's, ignored by contract.
            _: Unsubscribed | UnknownFrame = frame
        if self.desired.problem is not None:
            self.problem, self.desired.problem = self.desired.problem, None
        if unfit is not None:
            self._unfit(now, unfit, blamed=blamed)

    def _on_welcome(self, now: float, frame: Welcome) -> str | None:
        if self.state is ConnectionState.READY:
            return "welcome came twice"
        if not (math.isfinite(frame.heartbeat_seconds) and frame.heartbeat_seconds > 0):
            return "welcome has no valid heartbeat_seconds"
        if frame.v != VERSION:
            self._emit(Disconnect(4406, "unknown version"))
            self._ended(now, Reaction.VERSION, f"the backend speaks version {frame.v} of the contract")
            return None
        self.connection_id = frame.connection_id
        self.max_frame_bytes = frame.max_frame_bytes
        heartbeat = self._heartbeat_seconds = frame.heartbeat_seconds
        self._set_token_life(now, frame.token_expires_in_seconds)
        # Rule 6: one heartbeat, and what it may be late.
        self._ready(now, "the backend said welcome", silence_seconds=heartbeat + min(10.0, 2 * heartbeat))
        self.desired.connect()
        self._ping(now)
        return None

    # --- small things -------------------------------------------------------------------------------------------------

    def _set_token_life(self, now: float, seconds: float | None) -> None:
        """Rule 9: the next token is asked for when a fifth of this one's life remains, or 5 s, but not before its half.

        None: it does not expire.
        """
        if seconds is None or not math.isfinite(seconds):
            self._token_expires_at = self._refresh_at = math.inf
        else:
            self._token_expires_at = now + seconds
            margin = max(seconds / 5, min(seconds / 2, TOKEN_MARGIN_SECONDS))
            self._refresh_at = now + max(TOKEN_PAUSE_SECONDS, seconds - margin)

    def _ping(self, now: float) -> None:
        self._pinged = (self._next_id(), now)
        self._ping_at = now + self._heartbeat_seconds
        self._send(Ping(n=self._pinged[0]))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id
