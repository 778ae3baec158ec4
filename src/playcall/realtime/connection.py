"""Drives one session on one event loop: does what it says, tells it what happened. No rule of the contract is here."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from ..errors import (
    ClientClosedError,
    PlaycallError,
    RealtimeAuthError,
    RealtimeTimeoutError,
)
from ..models.cursor import Cursor
from .buffer import Buffer
from .codec import UnreadableFrameError, encode
from .credentials import CredentialSource, NoCredentialsError
from .effects import (
    Answered,
    CheckIdentity,
    Connect,
    DeclareGap,
    Deliver,
    DeliverSnapshot,
    Disconnect,
    Effect,
    End,
    Give,
    Introduce,
    Moved,
    Probe,
    Puzzled,
    RefreshToken,
    RenewCredentials,
    Send,
    SendText,
    SubscriptionMoved,
    TakeSnapshot,
    TellGap,
    TokenTaken,
)
from .errands import Errands, ReadState
from .items import Want
from .lifeline import Lifeline
from .states import ConnectionState, RealtimePicture, StateChange, SubscriptionChange, SubscriptionPicture
from .transports.base import Closed, Link, LinkLostError, Transport, UpgradeRefusedError

if TYPE_CHECKING:
    from ..http.authenticator import Authenticator

__all__ = ["Connection"]

P = ParamSpec("P")

log = logging.getLogger("playcall.realtime")

CLOSE_SECONDS = 5.0
"""How long `close` waits for sockets before it cancels what closes them."""
LEAST_FRAME_BYTES = 1024 * 1024
MOST_FRAME_BYTES = 64 * 1024 * 1024
"""Whatever `welcome` says, no frame larger than this is read."""
FRAMES_A_TURN = 32
CHARACTERS_A_TURN = 16_384
"""Frames, or characters of them, taken in at once, before others on the loop get a turn, however fast they come.

More at once gain little, and would keep so many objects alive together that the garbage collector begins to look at them.
"""


class _Attempt:
    """One connection, from dialling to its close."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.inbox: list[str] = []
        self.outbox: deque[str] = deque()
        self.has_output = asyncio.Event()
        self.over = False
        self.code = 1000
        self.reason = ""

    def end(self, code: int, reason: str) -> None:
        """Closes it, whatever it is doing. From within its own task it must return at once instead of being cancelled."""
        self.over = True
        self.code, self.reason = code, reason
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()


class Connection:
    """All subscriptions of one client over one connection; made and used on one running loop.

    Everything that runs for it is a task that it holds, and is gone when `close` returns.
    """

    def __init__(
        self,
        session: Lifeline,
        transport: Transport,
        authenticator: Authenticator | None,
        *,
        fallback: Transport | None = None,
        read_state: ReadState | None = None,
        on_change: Callable[[StateChange | SubscriptionChange], None],
    ) -> None:
        """Drives `session`, which is this connection's alone, over `transport`, or over `fallback` where it says so."""
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self._session = session
        self._transport = transport
        self._fallback = fallback if fallback is not None else transport
        self._credentials = CredentialSource(authenticator)
        self._on_change = on_change
        self._attempt: _Attempt | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._errands = Errands(
            session, transport, self._credentials, read_state, told=self._flush, abandon=self._abandon
        )
        self._buffers: dict[int, Buffer] = {}
        self._answers: dict[int, asyncio.Future[PlaycallError | None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._flushing = False

    # --- subscriptions ------------------------------------------------------------------------------------------------

    async def open(self, want: Want, buffer: Buffer, *, wait: bool, ends_at: float | None) -> int:
        """Wants a topic, and fills `buffer`; returns the key for `taken` and `withdraw`.

        Args:
            wait: Until the server has answered.
            ends_at: The `time.monotonic()` moment at which waiting ends, None for never.

        Raises:
            InvalidArgumentError: it cannot be said in a frame; nothing was registered.
            RealtimeTimeoutError: no answer in time; the subscription was withdrawn.
            RealtimeError: it was refused, or the connection failed for good.
            ClientClosedError: closed before or meanwhile.
        """
        self._session.check(want)
        key = self._session.subscribe(self.loop.time(), want)
        self._buffers[key] = buffer
        answer: asyncio.Future[PlaycallError | None] = self.loop.create_future()
        self._answers[key] = answer
        self._flush()
        if not wait:
            self._answers.pop(key, None)
            return key
        try:
            async with asyncio.timeout(None if ends_at is None else max(0.0, ends_at - time.monotonic())):
                error = await answer
        except TimeoutError:
            problem = self._session.problem
            self.withdraw(key)
            raise RealtimeTimeoutError(
                f"the subscription to {want.topic} was not answered in time"
                + (f"; the last problem: {problem}" if problem else "")
            ) from None
        except BaseException:
            self.withdraw(key)
            raise
        finally:
            self._answers.pop(key, None)
        if error is not None:
            raise error
        return key

    def withdraw(self, key: int) -> None:
        """No longer wanted; its buffer gets nothing more."""
        self._session.unsubscribe(key)
        self._buffers.pop(key, None)
        self._errands.forget(key)
        self._flush()

    def taken(self, key: int, count: int) -> None:
        """The consumer took `count` events out of its buffer."""
        self._session.taken(key, count)
        self._flush()

    def wake(self) -> None:
        """The backend has answered over HTTP."""
        self._session.wake(self.loop.time())
        self._flush()

    # --- what it shows ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        return self._session.state

    @property
    def auth_failed(self) -> bool:
        """Whether it has failed because the credentials were refused."""
        return self.state is ConnectionState.FAILED and isinstance(self._session.failure, RealtimeAuthError)

    @property
    def reconnects(self) -> int:
        """How often it has been READY again."""
        return self._session.reconnects

    @property
    def usable(self) -> bool:
        """False once its loop or process is gone; then another must be made."""
        return not self.loop.is_closed() and self.pid == os.getpid()

    def picture(self) -> RealtimePicture:
        """Readable from any thread; figures may be a moment apart."""
        session = self._session
        tally = session.tally
        waiting = session.state is ConnectionState.BACKOFF
        return RealtimePicture(
            state=session.state,
            transport=(self._fallback if session.way.in_use else self._transport).name,
            fallback=session.way.why,
            connection_id=session.connection_id,
            problem=session.problem,
            retry_in_seconds=max(0.0, session.next_timer - self.loop.time()) if waiting else None,
            latency_seconds=session.latency_seconds,
            attempts=session.attempts,
            reconnects=session.reconnects,
            received=tally.received,
            repeated=tally.repeated,
            gaps=tally.gaps,
            set_aside=0,
            unreadable=tally.unreadable,
            passed_over=tally.passed_over,
            outages=tuple(session.outages),
            subscriptions=tuple(
                SubscriptionPicture(
                    topic=each.topic,
                    types=each.types,
                    state=each.state,
                    received=each.received,
                    lag=_lag(each.head, each.received),
                    buffered=0 if (buffer := self._buffers.get(each.key)) is None else buffer.size,
                )
                for each in session.standings
            ),
        )

    def head_of(self, key: int) -> int | None:
        """The newest entry that was heard of in the log of this subscription; None while nothing was, or it has ended."""
        return next((each.head for each in self._session.standings if each.key == key), None)

    # --- closing ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends every subscription and the connection; returns when nothing of it runs any more. Safe to call again."""
        self._session.close()
        self._flush()
        await self._errands.close()
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._session.finished()
        self._flush()
        if self._timer is not None:
            self._timer.cancel()

    def close_soon(self) -> None:
        """`close` as a task of its own, for whoever does not run on this loop."""
        self._spawn(self.close())

    def _abandon(self) -> None:
        """The loop is ending under us: whoever waits for events must hear of it."""
        self._session.close()
        self._session.finished()
        self._flush()

    # --- effects ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Does what the session wants done; a callback may come back here, and then the outer one goes on with it."""
        if self._flushing:
            return
        self._flushing = True
        try:
            while effects := self._session.take_effects():
                for effect in effects:
                    try:
                        self._do(effect)
                    except Exception as error:
                        # Ours: the subscription that it was for ends, and nothing else suffers.
                        kind = type(error).__name__
                        log.exception("an effect failed inside the client", extra={"event": "realtime.defect"})
                        self._session.undone(effect, f"inside the client ({kind})")
        finally:
            self._flushing = False
        self._arm()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Deliver(key, events, to):
                if (buffer := self._buffers.get(key)) is not None:
                    buffer.put_events(events, to)
            case Give(key, event):
                if (buffer := self._buffers.get(key)) is not None:
                    buffer.put_plain(event)
            case Send(frame):
                self._send(encode(frame))
            case SendText(text):
                self._send(text)
            case Connect(fallback):
                self._attempt = attempt = _Attempt()
                attempt.task = self._spawn(self._run(attempt, self._fallback if fallback else self._transport))
            case Disconnect(code, reason):
                if self._attempt is not None:
                    self._attempt.end(code, reason)
                    self._attempt = None
            case Answered(key):
                self._answer(key, None)
            case DeclareGap(key, gap):
                if (buffer := self._buffers.get(key)) is not None:
                    buffer.put_gap(gap)
            case DeliverSnapshot(key, snapshot):
                if (buffer := self._buffers.get(key)) is not None:
                    buffer.put_snapshot(snapshot)
            case TellGap(key, gap, in_stream):
                log.warning("%s", gap, extra={"event": "realtime.gap", "topic": gap.topic, "reason": gap.reason})
                if in_stream and (buffer := self._buffers.get(key)) is not None:
                    buffer.put_plain(gap)
            case Puzzled(why):
                log.warning("%s; more on this connection are only counted", why, extra={"event": "realtime.unreadable"})
            case Introduce():
                self._session.introduce(self.loop.time(), self._credentials.token)
            case End(key, error):
                self._answer(key, error)
                if (buffer := self._buffers.pop(key, None)) is not None:
                    buffer.end(error)
            case Moved(change):
                self._moved(change)
            case SubscriptionMoved(change):
                self._tell(change)
            case TokenTaken():
                self._credentials.accepted()
            case TakeSnapshot() | RenewCredentials() | RefreshToken() | CheckIdentity() | Probe():
                self._errands.run(effect)

    def _send(self, text: str) -> None:
        if (attempt := self._attempt) is not None:
            attempt.outbox.append(text)
            attempt.has_output.set()

    def _answer(self, key: int, error: PlaycallError | None) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None and not answer.done():
            answer.set_result(error)

    def _moved(self, change: StateChange) -> None:
        level = logging.WARNING if change.new is ConnectionState.FAILED else logging.INFO
        log.log(
            level,
            "realtime %s -> %s: %s",
            change.old,
            change.new,
            change.why,
            extra={"event": "realtime.state", "before": str(change.old), "after": str(change.new)},
        )
        self._tell(change)

    def _tell(self, change: StateChange | SubscriptionChange) -> None:
        try:
            self._on_change(change)
        except Exception:
            log.exception("a callback for realtime states raised", extra={"event": "realtime.callback_failed"})

    def _arm(self) -> None:
        """Has `tick` called in time. A timer that is too early only looks again; each frame need not move it."""
        wanted = self._session.next_timer
        if wanted >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wanted
        self._timer = self.loop.call_at(wanted, self._tick, context=contextvars.Context())

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        try:
            if self._attempt is not None:
                self._take_in(self._attempt)  # what has been read is no silence
            self._session.tick(self.loop.time())
        finally:
            self._flush()  # which sets the next timer: without one nothing would notice a dead connection

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        # An empty context: it outlives the deadline, and whatever else is in the context, of whom it was begun for.
        task = self.loop.create_task(coroutine, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _run(self, attempt: _Attempt, transport: Transport) -> None:
        session = self._session
        link: Link | None = None
        try:
            limit = min(MOST_FRAME_BYTES, max(LEAST_FRAME_BYTES, session.max_frame_bytes or 0))
            link = await transport.dial(partial(self._headers, attempt), max_frame_bytes=limit)
            session.opened(self.loop.time())
            self._flush()
            await self._converse(attempt, link)
        except asyncio.CancelledError:
            if not attempt.over:
                self._abandon()
            raise
        except ClientClosedError:
            # What we share with the HTTP client was closed: we are to end as well.
            if not attempt.over:
                self._abandon()
        except NoCredentialsError as error:
            self._report(attempt, session.no_credentials, error.message, refused=error.refused)
        except UpgradeRefusedError as error:
            self._report(attempt, session.refused, error.status, error.retry_after_seconds, error.detail)
        except LinkLostError as error:
            self._report(attempt, session.lost, error.message, reached=error.reached, permanent=error.permanent)
        except Exception as error:
            self._failed(attempt, error)
        finally:
            if link is not None:
                await link.close(attempt.code, attempt.reason)

    async def _headers(self, attempt: _Attempt) -> Mapping[str, str]:
        """The credentials for a request of this attempt; the provider's time is not the handshake's."""
        if attempt.over or self._session.state is not ConnectionState.CONNECTING:
            return await self._credentials.headers()
        self._session.waiting(self.loop.time())
        self._flush()
        headers = await self._credentials.headers()
        if not attempt.over:
            self._session.asking(self.loop.time())
            self._flush()
        return headers

    async def _converse(self, attempt: _Attempt, link: Link) -> None:
        writer = self._spawn(self._write(attempt, link))
        try:
            await self._read(attempt, link)
        finally:
            writer.cancel()
            await asyncio.wait([writer])

    async def _read(self, attempt: _Attempt, link: Link) -> None:
        """What came at once is taken in at once: a session has less to do for frames that it sees together."""
        inbox = attempt.inbox
        characters = 0
        while not attempt.over:
            try:
                got = await link.receive()
            except UnreadableFrameError as error:
                self._report(attempt, self._session.unreadable, str(error), sid=error.sid)
                return
            if isinstance(got, Closed):
                self._report(attempt, self._session.closed, got.code, got.reason)
                return
            if not inbox:
                # The loop comes to it when `receive` has to wait for the next frame, or when this turn is over.
                self.loop.call_soon(self._take_in, attempt)
                characters = 0
            inbox.append(got)
            characters += len(got)
            if len(inbox) >= FRAMES_A_TURN or characters >= CHARACTERS_A_TURN:
                await asyncio.sleep(0)

    def _take_in(self, attempt: _Attempt) -> None:
        """Gives the session the frames that have been read."""
        texts = attempt.inbox.copy()
        attempt.inbox.clear()
        if attempt.over or not texts:
            return
        try:
            ops = self._session.receive_all(self.loop.time(), texts)
        except Exception as error:
            self._failed(attempt, error)
            attempt.end(attempt.code, attempt.reason)  # it waits for frames that no longer matter
            return
        if log.isEnabledFor(logging.DEBUG):
            for op in ops:
                log.debug("frame %s", op, extra={"event": "realtime.frame", "op": op})
        self._flush()

    async def _write(self, attempt: _Attempt, link: Link) -> None:
        while True:
            await attempt.has_output.wait()
            attempt.has_output.clear()
            while attempt.outbox:
                try:
                    await link.send(attempt.outbox.popleft())
                except LinkLostError as error:
                    self._report(attempt, self._session.lost, error.message)
                    if attempt.task is not None:
                        attempt.task.cancel()  # it waits for frames that no longer matter
                    return

    def _failed(self, attempt: _Attempt, error: Exception) -> None:
        """Ours, not the far end's: loud, and not the end of everything."""
        log.error(
            "the realtime connection failed inside the client", exc_info=error, extra={"event": "realtime.defect"}
        )
        self._report(attempt, self._session.lost, f"inside the client ({type(error).__name__})")

    def _report(
        self, attempt: _Attempt, fact: Callable[Concatenate[float, P], None], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Tells the session what became of `attempt`, after what was read of it, unless it has given that one up already."""
        self._take_in(attempt)
        if attempt.over:
            return
        fact(self.loop.time(), *args, **kwargs)
        self._flush()
        attempt.over = True
        if self._attempt is attempt:
            self._attempt = None


def _lag(head: int | None, received: Cursor | None) -> int | None:
    return None if head is None or received is None else max(0, head - received.seq)
