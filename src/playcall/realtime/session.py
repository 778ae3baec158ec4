"""The client's half of the realtime contract, without I/O: facts in, effects out (docs/realtime.md, «The client»).

Whoever drives a session tells it what happened (`opened`, `received`, `lost`, …) with the moment it did, then does what
`take_effects()` says, in order, and calls `tick` at `next_timer`. It has no clock and no randomness of its own, so that
every rule is tested as data, and the same session serves any transport.

Here is the life of the connection; `desired` holds what is wanted on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from ..errors import (
    ClientClosedError,
    RealtimeAuthError,
    RealtimeConnectError,
    RealtimeError,
    RealtimeProtocolError,
)
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
from .closes import SUSPECT_LIMIT, Reaction, for_close, for_status
from .codec import ServerFrame
from .desired import Desired
from .effects import CheckIdentity, Connect, Disconnect, Effect, Moved, RefreshToken, RenewCredentials, Send, SentFrame
from .items import Want
from .states import ConnectionState, StateChange

__all__ = ["HANDSHAKE_SECONDS", "Session"]

HANDSHAKE_SECONDS = 10.0
"""For opening the connection, and again from there to `welcome`."""
WAKE_EVERY_SECONDS = 1.0
"""A success over HTTP cuts a pause short no more often than this."""
RENEW_SECONDS = 30.0
"""For new credentials; then the schedule goes on with what there is."""
AUTH_SECONDS = 10.0
"""For the answer to a token that was sent in-band, where the old one expires sooner."""
TOKEN_MARGIN_SECONDS = 5.0
"""A renewal may take this long, on a bad day, where the token's life has room for it."""
TOKEN_PAUSE_SECONDS = 0.1
"""The least pause between two in-band renewals."""

_UP = (ConnectionState.AUTHENTICATING, ConnectionState.READY)
_OVER = (ConnectionState.CLOSING, ConnectionState.CLOSED)
_TIMED = (ConnectionState.CONNECTING, ConnectionState.AUTHENTICATING, ConnectionState.BACKOFF)
"""States that end by themselves, at `_due`."""


class Session:
    """What is wanted, what has been received, and what to do next.

    `attempts` and `reconnects` (READY again) grow for as long as the session lives; `problem` is the last thing that
    went wrong.
    """

    def __init__(self, *, random: Callable[[], float], client: str = "playcall") -> None:
        self._random = random
        self._client = client
        self._effects: list[Effect] = []
        self._last_id = 0
        self.desired = Desired(emit=self._emit, next_id=self._next_id, random=random)
        # the connection
        self.state = ConnectionState.IDLE
        self.connection_id: str | None = None
        self.max_frame_bytes: int | None = None
        self.latency_seconds: float | None = None
        self._due = math.inf
        self._heartbeat_seconds = math.inf
        self._heard_at = 0.0
        self._ping_at = math.inf
        self._pinged: tuple[int, float] | None = None
        self._move_at = math.inf
        self._refresh_at = math.inf
        self._token_expires_at = math.inf
        self._auth_id: int | None = None
        self._auth_due = math.inf
        # its history
        self.problem: str | None = None
        self.failure: RealtimeError | None = None
        """Why it is, or last was, FAILED."""
        self.attempts = 0
        self.reconnects = 0
        self._ready_since: float | None = None
        self._was_ready = False
        self._failures = 0
        self._suspects = 0
        self._renewed = False
        self._wakeable = False
        self._woken_at = -math.inf

    # --- what the driver reads ----------------------------------------------------------------------------------------

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order; each is given once."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def next_timer(self) -> float:
        """When `tick` is wanted; infinite if never. It may move with every call."""
        if self.state is ConnectionState.READY:
            moment = min(self._dead_at, self._ping_at, self._move_at, self._refresh_at, self._auth_due)
            asked_again = self.desired.next_timer
            return moment if asked_again is None else min(moment, asked_again)
        return self._due if self.state in _TIMED else math.inf

    @property
    def _dead_at(self) -> float:
        """Rule 6: silence until then means dead, whatever TCP says."""
        return self._heard_at + self._heartbeat_seconds + min(10.0, 2 * self._heartbeat_seconds)

    # --- what the user wants ------------------------------------------------------------------------------------------

    def subscribe(self, now: float, want: Want) -> int:
        """Wants a topic from now on, connected or not; returns the key that effects name it by.

        Raises:
            ClientClosedError: after `close`.
        """
        if self.state in _OVER:
            raise ClientClosedError("the realtime client is closed: make a new one")
        key = self.desired.add(want)
        if self.state in (ConnectionState.IDLE, ConnectionState.FAILED):
            self._connect(now, "a subscription is wanted")
        return key

    def unsubscribe(self, key: int) -> None:
        """No longer wanted; nothing more is delivered for it. An unknown key is fine: it may have ended."""
        self.desired.remove(key)
        if not self.desired and self.state is ConnectionState.BACKOFF:
            self._move(ConnectionState.IDLE, "nothing is wanted any more")

    def taken(self, key: int, count: int) -> None:
        """The consumer took `count` events out of its buffer."""
        self.desired.taken(key, count)

    def wake(self, now: float) -> None:
        """An HTTP call to the same backend succeeded: it is there, so a pause that waited for it is over."""
        waiting = self.state is ConnectionState.BACKOFF and self._wakeable
        if waiting and now - self._woken_at >= WAKE_EVERY_SECONDS:
            self._woken_at = now
            self._connect(now, "the backend answered over HTTP")

    def close(self) -> None:
        """Nothing is wanted any more; the driver says `finished` once everything is closed."""
        if self.state in _OVER:
            return
        self.desired.end_all(ClientClosedError("the realtime client was closed"))
        open_or_opening = self.state in (*_UP, ConnectionState.CONNECTING)
        self._move(ConnectionState.CLOSING, "closed by the user")
        if open_or_opening:
            self._emit(Disconnect(1000, "closed by the user"))

    def finished(self) -> None:
        self._move(ConnectionState.CLOSED, "closed by the user")

    def undone(self, effect: Effect, why: str) -> None:
        """An effect could not be done: its subscription ends, if it has one."""
        self.problem = why
        self.desired.undone(effect, why)

    # --- what happens to the connection -------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The transport is open: both ends introduce themselves. Credentials went with the upgrade."""
        self._heard_at = now
        self._due = now + HANDSHAKE_SECONDS
        self._move(ConnectionState.AUTHENTICATING, "the connection is open")
        self._send(Hello(client=self._client))

    def refused(self, now: float, status: int, retry_after_seconds: float | None = None, detail: str = "") -> None:
        """The upgrade was answered with an HTTP status other than 101."""
        why = f"the upgrade was answered {status}" + (f": {detail}" if detail else "")
        self._ended(now, for_status(status), why, code=status, retry_after_seconds=retry_after_seconds)

    def lost(self, now: float, why: str, *, reached: bool = True, permanent: bool = False) -> None:
        """The connection broke, or none could be made.

        Args:
            reached: The far end was there; False when the connection could not even be opened.
            permanent: Another try would not help (a bad address, no TLS there).
        """
        reaction = Reaction.BLOCKED if permanent else Reaction.RECONNECT
        self._ended(now, reaction, why, wakeable=not reached)

    def closed(self, now: float, code: int, reason: str = "") -> None:
        """The far end closed the connection, or it ended without a close (1006)."""
        why = f"the connection was closed with {code}" + (f" ({reason})" if reason else "")
        self._ended(now, for_close(code), why, code=code)

    def unreadable(self, now: float, why: str, *, code: int = 1002, sid: str | None = None) -> None:
        """A frame came that cannot be read, for the subscription `sid` if that can be told."""
        self._unfit(now, why, code=code, blamed=sid is not None and self.desired.blame(why, sid))

    def _unfit(self, now: float, why: str, *, code: int = 1002, blamed: bool = False) -> None:
        """The far end does not keep the contract; `blamed` when a subscription has been charged with it already."""
        self._emit(Disconnect(code, why))
        self._ended(now, for_close(code), why, code=code, blamed=blamed)

    def no_credentials(self, now: float, why: str, *, refused: bool) -> None:
        """The provider of credentials failed; `refused` when it is sure that there are none to have."""
        if refused:
            self._down()
            self._fail(RealtimeAuthError(f"no credentials for the realtime connection: {why}"))
        else:
            self._ended(now, Reaction.RECONNECT, f"no credentials: {why}", wakeable=True)

    def renewed(self, now: float, outcome: Literal["new", "same", "failed"]) -> None:
        """Answers `RenewCredentials`: newer ones are current, there are none, or the provider could not be asked."""
        if self.state is not ConnectionState.BACKOFF:
            return
        if outcome == "same":
            self._fail(RealtimeAuthError(f"the backend refused the credentials: {self.problem}", code=401))
            return
        if outcome == "failed":
            self._renewed = False
        # The count has this failure in it already; a server that welcomes and then refuses must not be stormed.
        failures = self._failures - 1 if outcome == "new" else self._failures
        self._back_off(now, f"credentials renewed: {outcome}", schedule.delay_seconds(failures, self._random))

    def token(self, now: float, bearer: str | None) -> None:
        """Answers `RefreshToken`; None when there is no newer token to be had now."""
        if self.state is not ConnectionState.READY:
            return
        if bearer is not None:
            self._auth_id = self._next_id()
            self._send(AuthFrame(id=self._auth_id, token=bearer))
            # Refused or not answered, it is tried again; once the old token has expired only a new connection helps.
            self._auth_due = min(self._auth_due, max(self._token_expires_at, now + AUTH_SECONDS))
        if (left := self._token_expires_at - now) > 1:
            self._refresh_at = now + left / 2

    def identity(self, known: bool | None) -> None:
        """Answers `CheckIdentity`: HTTP accepts us, refuses us too, or could not be asked (None)."""
        if self.state is not ConnectionState.BACKOFF or known is None:
            return
        if not known:
            self._fail(RealtimeAuthError("the backend refused these credentials, also over HTTP", code=403))
        elif not self._was_ready:
            self._blocked("the upgrade was answered 403, although HTTP accepts the credentials", 403)

    def tick(self, now: float) -> None:
        """Does what is due; too early is fine."""
        if self.state is ConnectionState.READY:
            self._tick_ready(now)
        elif self.state in _TIMED and now >= self._due:
            if self.state is ConnectionState.BACKOFF:
                self._connect(now, "the pause is over")
            else:
                opening = self.state is ConnectionState.CONNECTING
                why = f"not {'opened' if opening else 'welcomed'} within {HANDSHAKE_SECONDS:g} s"
                self._emit(Disconnect(1000, why))
                self.lost(now, why, reached=not opening)

    def _tick_ready(self, now: float) -> None:
        if now >= self._dead_at:
            why = f"nothing was heard for {now - self._heard_at:.1f} s"
            self._emit(Disconnect(1000, why))
            self.lost(now, why, reached=False)
        elif now >= self._auth_due:
            why = "the token has expired, and the newer one was not accepted"
            self._emit(Disconnect(1000, why))
            self.lost(now, why)
        elif now >= self._move_at:
            why = "moving, as goodbye said"
            self._emit(Disconnect(1000, why))
            self._down()
            self._connect(now, why)
        else:
            if now >= self._ping_at:
                self._ping(now)
            if now >= self._refresh_at:
                self._refresh_at = math.inf
                self._emit(RefreshToken())
            self.desired.tick(now)

    # --- frames -------------------------------------------------------------------------------------------------------

    def received(self, now: float, frame: ServerFrame) -> None:
        """One frame of the server, decoded."""
        if self.state not in _UP:
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
        if self._was_ready:
            self.reconnects += 1
        self.connection_id = frame.connection_id
        self.max_frame_bytes = frame.max_frame_bytes
        self._heartbeat_seconds = frame.heartbeat_seconds
        self._ready_since = now
        self._was_ready = True
        self._renewed = False
        self._set_token_life(now, frame.token_expires_in_seconds)
        self._move(ConnectionState.READY, "the backend said welcome")
        self.desired.connect()
        self._ping(now)
        return None

    # --- the life of the connection -----------------------------------------------------------------------------------

    def _connect(self, now: float, why: str) -> None:
        self.attempts += 1
        self._due = now + HANDSHAKE_SECONDS
        self._move(ConnectionState.CONNECTING, why)
        self._emit(Connect())

    def _ended(
        self,
        now: float,
        reaction: Reaction,
        why: str,
        *,
        code: int | None = None,
        retry_after_seconds: float | None = None,
        wakeable: bool = False,
        blamed: bool = False,
    ) -> None:
        """The connection is over: fail, or try again as the table and the schedule say (rules 7 and 8)."""
        if self.state not in (*_UP, ConnectionState.CONNECTING):
            return
        if self._ready_since is not None:
            settled = now - self._ready_since >= schedule.SETTLED_SECONDS
            if settled:
                self._failures = 0
            if settled or self.desired.progressed:
                self._suspects = 0
        if reaction is Reaction.SUSPECT and not (blamed or self.desired.blame(why)):
            self._suspects += 1
        move_at = self._move_at
        self._down()
        self.problem = why
        if not self.desired:
            self._move(ConnectionState.IDLE, f"{why}; nothing is wanted")
            return
        if self._is_fatal(reaction, why, code):
            return
        failures, self._failures = self._failures, self._failures + 1
        if reaction is Reaction.RENEW:
            self._renewed = True
            self._back_off(now, f"{why}; asking for new credentials", RENEW_SECONDS)
            self._emit(RenewCredentials())
            return
        if reaction not in (Reaction.RECONNECT, Reaction.SUSPECT):
            failures = max(1, failures)  # it has answered, and said no: not again at once
        delay = schedule.delay_seconds(failures, self._random)
        if retry_after_seconds is not None:
            delay = max(delay, schedule.told_seconds(retry_after_seconds, self._random))
        if move_at < math.inf:
            delay = max(0.0, move_at - now)
        self._back_off(now, why, delay, wakeable=wakeable and move_at == math.inf)
        if reaction is Reaction.IDENTIFY:
            self._emit(CheckIdentity())

    def _is_fatal(self, reaction: Reaction, why: str, code: int | None) -> bool:
        """Whether the table says so; then the session has failed.

        After READY a path that seems blocked is tried again: it has worked, so a proxy may be restarting.
        """
        if reaction is Reaction.SUBJECT:
            self._fail(RealtimeAuthError(f"{why}: the token is another caller's", code=code))
        elif reaction is Reaction.VERSION:
            self._fail(RealtimeProtocolError(f"{why}; this client speaks version {VERSION}", code=code))
        elif reaction is Reaction.BLOCKED and not self._was_ready:
            self._blocked(why, code)
        elif reaction is Reaction.RENEW and self._renewed:
            self._fail(RealtimeAuthError(f"the backend refused the credentials: {why}", code=code))
        elif reaction is Reaction.SUSPECT and self._suspects >= SUSPECT_LIMIT:
            self._fail(RealtimeProtocolError(f"{why}; {SUSPECT_LIMIT} times without progress between", code=code))
        else:
            return False
        return True

    def _back_off(self, now: float, why: str, delay: float, *, wakeable: bool = False) -> None:
        self._due = now + delay
        self._wakeable = wakeable
        self._move(ConnectionState.BACKOFF, why)
        if delay <= 0:
            self._connect(now, "at once, the first time")

    def _blocked(self, why: str, code: int | None) -> None:
        message = f"{why}: no realtime connection can be made here; check the address, and proxies on the way"
        self._fail(RealtimeConnectError(message, code=code))

    def _fail(self, error: RealtimeError) -> None:
        self.problem = error.message
        self.failure = error
        self._suspects = 0
        self._renewed = False
        self._move(ConnectionState.FAILED, error.message)
        self.desired.end_all(error)

    def _down(self) -> None:
        """Forgets everything that belonged to the connection."""
        self.desired.disconnect()
        self.connection_id = None
        self._ready_since = None
        self._pinged = None
        self._auth_id = None
        self._ping_at = self._move_at = self._refresh_at = self._token_expires_at = self._auth_due = math.inf

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

    def _send(self, frame: SentFrame) -> None:
        self._emit(Send(frame))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _move(self, new: ConnectionState, why: str) -> None:
        if new is not self.state:
            old, self.state = self.state, new
            self._emit(Moved(StateChange(old, new, why)))
