"""The life of a session's connection, without I/O: when to connect, by which way, and what each end of it asks for.

Whoever drives it tells it what happened (`opened`, `lost`, …) with the moment it did, then does what `take_effects()`
says, in order, and calls `tick` at `next_timer`. It has no clock and no randomness of its own, so that every rule is
tested as data. What is said on the connection is the sessions' affair: `Session` speaks our contract, `PlainSession` that
of other people's servers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from ..errors import ClientClosedError, PlaycallError, RealtimeAuthError, RealtimeConnectError, RealtimeError
from ..errors import RealtimeProtocolError as ProtocolError
from . import schedule
from .closes import SUSPECT_LIMIT, Reaction, for_close, for_status
from .effects import CheckIdentity, Connect, Disconnect, Effect, Moved, Probe, RenewCredentials, Send, SentFrame
from .fallback import Fallback
from .items import Snapshot, Want
from .states import ConnectionState, Identity, Outage, Standing, StateChange, Tally

__all__ = ["HANDSHAKE_SECONDS", "RENEW_SECONDS", "Lifeline"]

HANDSHAKE_SECONDS = 10.0
"""For opening the connection, and again from there to READY."""
WAKE_EVERY_SECONDS = 1.0
"""A success over HTTP cuts a pause short no more often than this."""
RENEW_SECONDS = 30.0
"""For new credentials; then the schedule goes on with what there is."""
OUTAGES_KEPT = 20

UP = (ConnectionState.AUTHENTICATING, ConnectionState.READY)
OVER = (ConnectionState.CLOSING, ConnectionState.CLOSED)
_TIMED = (ConnectionState.CONNECTING, ConnectionState.AUTHENTICATING, ConnectionState.BACKOFF)
"""States that end by themselves, at `_due`."""


class Lifeline(ABC):
    """`attempts` and `reconnects` (READY again) grow for as long as it lives; `problem` is what last went wrong.

    Args:
        random: Uniform in [0, 1).
        fallback: Whether there is a second way to connect, where the path of the first is blocked.
    """

    def __init__(self, *, random: Callable[[], float], fallback: bool) -> None:
        self._random = random
        self._effects: list[Effect] = []
        self.state = ConnectionState.IDLE
        self.way = Fallback(fallback, random)
        self._due = math.inf
        self._silence_seconds = math.inf
        """Silence for so long means dead, whatever TCP says; set with READY (rule 6)."""
        self._heard_at = 0.0
        self._move_at = math.inf
        """When the far end wants us to have moved."""
        self._asked = True
        """Whether the handshake has begun: the credentials for it may take their time."""
        self._by_fallback = False
        """Whether the attempt under way, or the connection, is the second way's."""
        # its history
        self.problem: str | None = None
        self.failure: RealtimeError | None = None
        """Why it is, or last was, FAILED."""
        self.attempts = 0
        self.reconnects = 0
        self.outages: deque[Outage] = deque(maxlen=OUTAGES_KEPT)
        self._broke: tuple[str, float] | None = None
        self._ready_since: float | None = None
        self._was_ready = False
        self._failures = 0
        self._suspects = 0
        self._renewed = False
        self._wakeable = False
        self._woken_at = -math.inf

    # --- what a session adds: for its driver --------------------------------------------------------------------------

    connection_id: str | None = None
    """The far end's name for the connection, None while it has given none."""
    latency_seconds: float | None = None
    """The last round trip that was measured."""
    max_frame_bytes: int | None = None
    """The largest frame that the far end says it sends."""

    @abstractmethod
    def subscribe(self, now: float, want: Want) -> int:
        """Wants a topic from now on, connected or not; returns the key that effects name it by.

        Raises:
            ClientClosedError: after `close`.
        """

    @abstractmethod
    def unsubscribe(self, key: int) -> None:
        """No longer wanted; nothing more is delivered for it. An unknown key is fine: it may have ended."""

    @abstractmethod
    def taken(self, key: int, count: int) -> None:
        """The consumer took `count` events out of its buffer."""

    @abstractmethod
    def receive(self, now: float, text: str) -> str:
        """One frame of the far end. Returns what kind it was, for the log."""

    def receive_all(self, now: float, texts: Sequence[str]) -> Sequence[str]:
        """As `receive` for each of what came at once, without doing in between what a frame asked for."""
        return [self.receive(now, text) for text in texts]

    @abstractmethod
    def unreadable(self, now: float, why: str, *, code: int = 1002, sid: str | None = None) -> None:
        """A frame came that cannot be read, for the subscription `sid` if that can be told."""

    @abstractmethod
    def undone(self, effect: Effect, why: str) -> None:
        """An effect could not be done: its subscription ends, if it has one."""

    @abstractmethod
    def token(self, now: float, bearer: str | None) -> None:
        """Answers `RefreshToken`; None when there is no newer token to be had now."""

    @abstractmethod
    def snapshot(self, key: int, snapshot: Snapshot) -> None:
        """Answers `TakeSnapshot`."""

    @abstractmethod
    def no_snapshot(self, now: float, key: int, error: PlaycallError, *, final: bool) -> None:
        """Answers `TakeSnapshot`: the state could not be read; `final` when another try would not help."""

    @abstractmethod
    def check(self, want: Want) -> None:
        """Raises InvalidArgumentError: what is wanted cannot be said in a frame."""

    @abstractmethod
    def introduce(self, now: float, token: str | None) -> None:
        """Answers `Introduce`; None when there are no credentials, or they are no single token."""

    @property
    @abstractmethod
    def tally(self) -> Tally:
        """What has come so far."""

    @property
    @abstractmethod
    def standings(self) -> list[Standing]:
        """How each subscription stands."""

    # --- what a session adds: for the lifeline ------------------------------------------------------------------------

    @property
    @abstractmethod
    def _is_wanted(self) -> bool:
        """Whether there is anything to be connected for."""

    @property
    @abstractmethod
    def _has_progressed(self) -> bool:
        """Whether this connection has been good for anything."""

    @abstractmethod
    def _greet(self, now: float) -> SentFrame | None:
        """The transport is open: what is said first."""

    @abstractmethod
    def _forget(self) -> None:
        """The connection is gone, with everything that belonged to it."""

    @abstractmethod
    def _end_all(self, error: PlaycallError) -> None:
        """Nothing is wanted any more."""

    @abstractmethod
    def _blame(self, why: str) -> bool:
        """The connection ends over what somebody was about to be sent; returns whether anybody is charged with it."""

    def _reaction_to(self, code: int) -> Reaction:
        """What a close by the far end asks for."""
        return for_close(code)

    @abstractmethod
    def _tick_ready(self, now: float) -> None:
        """Does what is due in READY, beyond what every connection has."""

    @property
    @abstractmethod
    def _ready_timer(self) -> float:
        """When `_tick_ready` is wanted; infinite if never."""

    # --- what the driver reads ----------------------------------------------------------------------------------------

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order; each is given once."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def next_timer(self) -> float:
        """When `tick` is wanted; infinite if never. It may move with every call."""
        if self.state is ConnectionState.READY:
            return min(self._dead_at, self._move_at, self.way.probe_at, self._ready_timer)
        return self._due if self.state in _TIMED else math.inf

    @property
    def _dead_at(self) -> float:
        return self._heard_at + self._silence_seconds

    # --- what the user wants ------------------------------------------------------------------------------------------

    def _want(self, now: float) -> None:
        """Something is wanted: connects where nothing was. Raises ClientClosedError after `close`."""
        if self.state in OVER:
            raise ClientClosedError("the realtime client is closed: make a new one")
        if self.state in (ConnectionState.IDLE, ConnectionState.FAILED):
            self._connect(now, "a subscription is wanted")

    def _want_less(self) -> None:
        if not self._is_wanted and self.state is ConnectionState.BACKOFF:
            self._move(ConnectionState.IDLE, "nothing is wanted any more")

    def wake(self, now: float) -> None:
        """An HTTP call to the same backend succeeded: it is there, so a pause that waited for it is over."""
        waiting = self.state is ConnectionState.BACKOFF and self._wakeable
        if waiting and now - self._woken_at >= WAKE_EVERY_SECONDS:
            self._woken_at = now
            self._connect(now, "the backend answered over HTTP")

    def close(self) -> None:
        """Nothing is wanted any more; the driver says `finished` once everything is closed."""
        if self.state in OVER:
            return
        self._end_all(ClientClosedError("the realtime client was closed"))
        open_or_opening = self.state in (*UP, ConnectionState.CONNECTING)
        self._move(ConnectionState.CLOSING, "closed by the user")
        if open_or_opening:
            self._emit(Disconnect(1000, "closed by the user"))

    def finished(self) -> None:
        self._move(ConnectionState.CLOSED, "closed by the user")

    # --- what happens to the connection -------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The transport is open. Credentials went with the upgrade."""
        self._heard_at = now
        self._due = now + HANDSHAKE_SECONDS
        self._move(ConnectionState.AUTHENTICATING, "the connection is open")
        greeting = self._greet(now)
        if greeting is not None:
            self._send(greeting)

    def refused(self, now: float, status: int, retry_after_seconds: float | None = None, detail: str = "") -> None:
        """The upgrade was answered with an HTTP status other than 101, or a long poll with another than 200."""
        asked = "a long poll" if self.way.in_use else "the upgrade"
        why = f"{asked} was answered {status}" + (f": {detail}" if detail else "")
        told = status in (429, 503)
        self._ended(
            now, for_status(status), why, code=status, retry_after_seconds=retry_after_seconds, doubtful=not told
        )

    def lost(self, now: float, why: str, *, reached: bool = True, permanent: bool = False) -> None:
        """The connection broke, or none could be made.

        Args:
            reached: The far end was there; False when the connection could not even be opened.
            permanent: Another try would not help (a bad address, no TLS there).
        """
        reaction = Reaction.RECONNECT
        if permanent:
            reaction = Reaction.BLOCKED if reached else Reaction.NOWHERE
        self._ended(now, reaction, why, wakeable=not reached, doubtful=reached)

    def closed(self, now: float, code: int, reason: str = "") -> None:
        """The far end closed the connection, or it ended without a close (1006)."""
        why = f"the connection was closed with {code}" + (f" ({reason})" if reason else "")
        self._ended(now, self._reaction_to(code), why, code=code, doubtful=True)

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

    def waiting(self, now: float) -> None:
        """Credentials are being asked for: what the provider takes is not the path's doing."""
        if self.state is ConnectionState.CONNECTING:
            self._due, self._asked = now + RENEW_SECONDS, False

    def asking(self, now: float) -> None:
        """The credentials are there, and the connection is being opened with them."""
        if self.state is ConnectionState.CONNECTING and not self._asked:
            self._due, self._asked = now + HANDSHAKE_SECONDS, True

    def identity(self, now: float, known: Identity | None) -> None:
        """Answers `CheckIdentity`; None where HTTP could not be asked."""
        if self.state is not ConnectionState.BACKOFF or known is None:
            return
        if known == "refused" or (known == "expired" and self._renewed):
            self._fail(RealtimeAuthError("the backend refused these credentials, also over HTTP", code=403))
            return
        if known == "expired":
            self.problem = "the upgrade was answered 403, and they have to be renewed also over HTTP (401)"
            self._renew(now, self.problem)
            return
        why = "the upgrade was answered 403, although HTTP accepts the credentials"
        if self.way.blocked(why):
            self._connect(now, "the WebSocket's path is blocked")
        elif not self._was_ready:
            self._blocked(why, 403)

    def probed(self, now: float, possible: bool) -> None:
        """Answers `Probe`."""
        if not possible:
            if self.state is ConnectionState.READY:
                self.way.ready(now)
            return
        self.way.open_again()
        if self.state in (*UP, ConnectionState.CONNECTING) and self._by_fallback:
            self._leave(now, "the WebSocket can be opened again")

    def tick(self, now: float) -> None:
        """Does what is due; too early is fine."""
        if self.state is ConnectionState.READY:
            if now >= self._dead_at:
                self._give_up(now, f"nothing was heard for {now - self._heard_at:.1f} s", reached=False)
            elif now >= self._move_at:
                self._leave(now, "moving, as goodbye said")
            else:
                if now >= self.way.probe_at and (greeting := self._greet(now)) is not None:
                    self.way.probing()
                    self._emit(Probe(greeting))
                self._tick_ready(now)
        elif self.state in _TIMED and now >= self._due:
            if self.state is ConnectionState.BACKOFF:
                self._connect(now, "the pause is over")
            else:
                self._too_slow(now)

    def _too_slow(self, now: float) -> None:
        opening = self.state is ConnectionState.CONNECTING
        if opening and not self._asked:
            why = f"no credentials came within {RENEW_SECONDS:g} s"
            self._emit(Disconnect(1000, why))
            self._ended(now, Reaction.RECONNECT, why)
            return
        why = f"not {'opened' if opening else 'welcomed'} within {HANDSHAKE_SECONDS:g} s"
        self._emit(Disconnect(1000, why))
        self._ended(now, Reaction.UNANSWERED, why, wakeable=opening)

    def _give_up(self, now: float, why: str, *, reached: bool = True) -> None:
        """Closes a connection that is of no more use, and takes it for lost."""
        self._emit(Disconnect(1000, why))
        self.lost(now, why, reached=reached)

    def _leave(self, now: float, why: str) -> None:
        """From a connection that works to another one, at once."""
        self._emit(Disconnect(1000, why))
        self._settle(now)
        if self._ready_since is not None:
            self._broke = (why, now)
        self._down()
        if self._is_wanted:
            self._connect(now, why)
        else:
            self._broke = None
            self._move(ConnectionState.IDLE, f"{why}; nothing is wanted")

    # --- its course ---------------------------------------------------------------------------------------------------

    def _connect(self, now: float, why: str) -> None:
        self.attempts += 1
        self._due, self._asked = now + HANDSHAKE_SECONDS, True
        self._by_fallback = self.way.in_use
        self._move(ConnectionState.CONNECTING, why)
        self._emit(Connect(self._by_fallback))

    def _ready(self, now: float, why: str, *, silence_seconds: float) -> None:
        """The far end has taken us in."""
        if self._was_ready:
            self.reconnects += 1
        if self._broke is not None:
            self.outages.append(Outage(self._broke[0], now - self._broke[1]))
            self._broke = None
        self._silence_seconds = silence_seconds
        self._ready_since = now
        self._was_ready = True
        self._renewed = False
        self.way.ready(now)
        self._move(ConnectionState.READY, why)

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
        doubtful: bool = False,
    ) -> None:
        """The connection is over: fail, or try again as the table and the schedule say (rules 7 and 8).

        `doubtful`: somebody was there, and it broke: before READY that may be the path's doing.
        """
        if self.state not in (*UP, ConnectionState.CONNECTING):
            return
        was_ready = self._ready_since is not None
        self._settle(now)
        if was_ready:
            self._broke = (why, now)
        if reaction is Reaction.SUSPECT and not (blamed or self._blame(why)):
            self._suspects += 1
        move_at = self._move_at
        self._down()
        self.problem = why
        if not self._is_wanted:
            self._broke = None
            self._move(ConnectionState.IDLE, f"{why}; nothing is wanted")
            return
        if not was_ready and self._goes_another_way(reaction, why, doubtful=doubtful):
            reaction = Reaction.RECONNECT
        if self._is_fatal(reaction, why, code):
            return
        failures, self._failures = self._failures, self._failures + 1
        if reaction is Reaction.RENEW:
            self._renew(now, why)
            return
        if reaction not in (Reaction.RECONNECT, Reaction.UNANSWERED, Reaction.SUSPECT):
            failures = max(1, failures)  # it has answered, and said no: not again at once
        delay = schedule.delay_seconds(failures, self._random)
        if retry_after_seconds is not None:
            delay = max(delay, schedule.told_seconds(retry_after_seconds, self._random))
        if move_at < math.inf:
            delay = max(0.0, move_at - now)
        self._back_off(now, why, delay, wakeable=wakeable and move_at == math.inf)
        if reaction is Reaction.IDENTIFY:
            self._emit(CheckIdentity())

    def _goes_another_way(self, reaction: Reaction, why: str, *, doubtful: bool) -> bool:
        """Whether the next attempt takes the other way than this one did, which did not get to READY."""
        if self._by_fallback:
            over = reaction in (Reaction.RECONNECT, Reaction.UNANSWERED)
            return (over or (reaction is Reaction.BLOCKED and self._was_ready)) and self.way.came_to_nothing()
        if reaction is Reaction.BLOCKED:
            return self.way.blocked(why)
        if reaction is Reaction.UNANSWERED:
            return self.way.unanswered(why)
        if doubtful and reaction is Reaction.RECONNECT:
            return self.way.unwelcome(why)
        self.way.undoubted()
        return False

    def _settle(self, now: float) -> None:
        """What a connection that has been good for something makes up for."""
        if self._ready_since is None:
            return
        settled = now - self._ready_since >= schedule.SETTLED_SECONDS
        if settled:
            self._failures = 0
        if settled or self._has_progressed:
            self._suspects = 0

    def _renew(self, now: float, why: str) -> None:
        self._renewed = True
        self._back_off(now, f"{why}; asking for new credentials", RENEW_SECONDS)
        self._emit(RenewCredentials())

    def _is_fatal(self, reaction: Reaction, why: str, code: int | None) -> bool:
        """Whether the table says so; then it has failed.

        After READY a path that seems blocked is tried again: it has worked, so a proxy may be restarting.
        """
        if reaction is Reaction.SUBJECT:
            self._fail(RealtimeAuthError(f"{why}: the token is another caller's", code=code))
        elif reaction is Reaction.VERSION:
            self._fail(ProtocolError(f"{why}; this client speaks another version", code=code))
        elif reaction in (Reaction.BLOCKED, Reaction.NOWHERE) and not self._was_ready:
            self._blocked(why, code)
        elif reaction is Reaction.RENEW and self._renewed:
            self._fail(RealtimeAuthError(f"the backend refused the credentials: {why}", code=code))
        elif reaction is Reaction.SUSPECT and self._suspects >= SUSPECT_LIMIT:
            self._fail(ProtocolError(f"{why}; {SUSPECT_LIMIT} times without progress between", code=code))
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
        both = f"{self.way.why}, and {why}" if self.way.in_use else why
        message = f"{both}: no realtime connection can be made here; check the address, and proxies on the way"
        self._fail(RealtimeConnectError(message, code=code))

    def _fail(self, error: RealtimeError) -> None:
        self.problem = error.message
        self.failure = error
        self._suspects = 0
        self._renewed = False
        self._broke = None
        self.way.open_again()
        self._move(ConnectionState.FAILED, error.message)
        self._end_all(error)

    def _down(self) -> None:
        """Forgets everything that belonged to the connection."""
        self._forget()
        self._ready_since = None
        self._silence_seconds = self._move_at = math.inf

    # --- small things -------------------------------------------------------------------------------------------------

    def _send(self, frame: SentFrame) -> None:
        self._emit(Send(frame))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _move(self, new: ConnectionState, why: str) -> None:
        if new is not self.state:
            old, self.state = self.state, new
            self._emit(Moved(StateChange(old, new, why)))
