"""One call, from its arguments to its answer: slot, credentials, attempts, pauses, body, all within one deadline."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.parse import urlencode

from typing_extensions import TypeForm

from ..answer import Answer, heard
from ..deadline import nearest
from ..errors import (
    AuthenticationError,
    ClientClosedError,
    CredentialsError,
    DeadlineExceededError,
    PlaycallError,
    RequestError,
    StatusError,
)
from . import hooks, outcome, telemetry
from .answers import decode, decode_body, encode
from .auth import REFUSED, RFC_6749, Auth, Credentials, TokenFields, TokenGrant
from .authenticator import Authenticator
from .call import Call, Doing, IncomingBody, Progress
from .deprecation import DeprecationNotices
from .envelope import Envelope
from .grants import grant_of
from .limits import InFlight, Limiter
from .outgoing import Outgoing
from .paths import as_path
from .pauses import Pauses
from .problems import ErrorClasses, problem_of
from .redirects import KEEP_METHOD_STATUSES, REDIRECT_STATUSES, judge
from .retry import Decision, Failure, FailureKind, RetryPolicy, decide
from .retry_after import retry_after_seconds
from .retry_budget import RetryBudget
from .transport import Transport, TransportFault, WireAnswer, WireRequest, WireStream
from .within import Within

if TYPE_CHECKING:
    from ..status import StatusBoard

__all__ = ["Engine", "Sending"]

T = TypeVar("T")
_Send: TypeAlias = Callable[[WireRequest], Awaitable[WireAnswer]]
Sending: TypeAlias = Callable[[Progress, WireRequest], Awaitable[WireAnswer]]
"""One attempt that takes the body of its answer itself, and tells the status of it. Raises: TransportFault."""

READ_TIMEOUT_SECONDS: Final = 30.0
"""How long the backend may be silent in the middle of an attempt, unless told otherwise."""
MAX_SHARED_PAUSE_SECONDS: Final = 60.0
"""How long one answer's Retry-After holds back the other callers; after that one of them may ask again."""
TOKEN_DEADLINE_SECONDS: Final = 30.0
"""What fetching a token may take: it serves everybody, so it has nobody's deadline."""
_SHARED_PAUSES: Final = frozenset({429, 503})


class Engine:
    """What the calls of one client share: transport, credentials, limiter, retry budget, status."""

    def __init__(
        self,
        base_url: str,
        *,
        transport: Transport,
        auth: Auth | None,
        max_concurrency: int,
        retry_budget: int | None,
        status: StatusBoard,
        user_agent: str,
        send_deadline: bool,
        read_timeout_seconds: float | None = READ_TIMEOUT_SECONDS,
        envelope: Envelope | None = None,
    ) -> None:
        self.base_url = base_url
        self.envelope = envelope
        self._said = None if envelope is None else envelope.said
        self.transport = transport
        self.authenticator = Authenticator(auth, self._token)
        self.limiter = Limiter(max_concurrency)
        self.budget = RetryBudget(retry_budget)
        self.status = status
        self._notices = DeprecationNotices()
        self._pauses = Pauses()
        self._outgoing = Outgoing(
            base_url,
            user_agent=user_agent,
            send_deadline=send_deadline,
            read_timeout_seconds=read_timeout_seconds,
        )
        self._pause_until = 0.0
        self._closed = False
        self.ended = False
        """Whether a `close` has come to its end."""
        status.load = lambda: (self.limiter.in_flight, self.limiter.waiting, self.budget.tokens)
        _engines.add(self)

    # --- calls --------------------------------------------------------------------------------------------------------

    async def request(self, call: Call, sending: Sending | None = None) -> Progress:
        """The whole call, body included, to where its `answer()` can be had; made by `sending`, that has no body.

        Raises:
            RequestError: any of its kinds, with the timeline.
            ClientClosedError: after `close()`.
        """
        progress = self._begin(call)
        with Within(progress, self._too_late):
            if sending is None:
                progress.wire = await self._attempts(progress, self.transport.send)
                self._answered(progress)
            else:
                progress.wire = await self._attempts(progress, partial(sending, progress))
            self._done(progress, progress.wire.status)
            if (answers := heard.get()) is not None:
                answers.append(progress.answer())
        return progress

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[IncomingBody]:
        """The call up to the headers of a successful answer; the deadline bounds the body's use as well."""
        progress = self._begin(call)
        with Within(progress, self._too_late):
            async with AsyncExitStack() as opened:
                incoming: WireStream | None = None

                async def send(request: WireRequest) -> WireAnswer:
                    nonlocal incoming
                    async with AsyncExitStack() as attempt:
                        stream = await attempt.enter_async_context(self.transport.stream(request))
                        if not _is_success(stream.status):
                            return WireAnswer(stream.status, stream.headers, await stream.read())
                        incoming = stream
                        opened.push_async_exit(attempt.pop_all())
                        return WireAnswer(stream.status, stream.headers, b"")

                answer = await self._attempts(progress, send)
                assert incoming is not None  # noqa: S101 - a success has set it
                progress.doing = Doing.USING
                self._answered(progress)  # now: the body may take minutes
                broken = False

                def lost(fault: TransportFault) -> RequestError:
                    nonlocal broken
                    broken = True
                    progress.amend(fault.text, "give up: part of the body may have been used already")
                    error = outcome.lost(progress, fault)
                    self._failed(progress, fault.kind.value, error)
                    return error

                # What the caller's own code raises in here is no concern of ours: the answer was good.
                yield IncomingBody(incoming, progress, lost)
                if not broken:
                    self._done(progress, answer.status)

    def read(self, answer: Answer, into: TypeForm[T] | None, errors: ErrorClasses | None = None) -> T:
        """The answer's value, out of its envelope. Raises: UnreadableAnswerError; StatusError: the envelope says no."""
        return decode(answer, into) if self.envelope is None else self.envelope.read(answer, into, errors)

    def value(self, done: Progress, into: TypeForm[T] | None, errors: ErrorClasses | None = None) -> T:
        """As `read`, of a call that has just ended well."""
        if self.envelope is None and done.wire is not None:
            return decode_body(done.wire.body, into, done.answer)
        return self.read(done.answer(), into, errors)

    def after_fork(self) -> None:
        """In a forked child: what the parent's loops were doing is not going on here."""
        self.limiter = Limiter(self.limiter.limit)
        self._pauses = Pauses()
        self.budget = RetryBudget(self.budget.capacity)
        self.authenticator.after_fork()
        self.status.after_fork()

    @property
    def closed(self) -> bool:
        return self._closed

    def abandon(self) -> bool:
        """For a client that is collected without `close()`: True if there was something to close."""
        if self._closed:
            return False
        self._closed = True
        return self.transport.abandon()

    async def close(self) -> None:
        """Safe to call again: one that was cancelled is gone on with."""
        self._closed = True
        if not self.ended:
            self._pauses.end()
            self.status.closed()
            await self.status.end()
            await self.authenticator.close()
            await self.transport.close()
            self.ended = True

    # --- one deadline -------------------------------------------------------------------------------------------------

    def _begin(self, call: Call) -> Progress:
        if self._closed:
            raise ClientClosedError(f"{call.method} {call.path.text}: the client is closed, make a new one")
        now = time.monotonic()
        return Progress(call, self._outgoing.url(call), now, nearest(call.deadline_seconds, now))

    def _too_late(self, progress: Progress) -> DeadlineExceededError:
        if progress.attempt_began_at is not None:
            progress.note(f"unfinished, {progress.doing}", "give up: the deadline has come")
        error = outcome.too_late(progress, self.limiter)
        if progress.doing in (Doing.ANSWER, Doing.BODY):
            self.status.call_failed(error)  # elsewhere the time was lost on our side, which says nothing of the backend
        progress.log(logging.WARNING, "deadline")
        return error

    # --- attempts -----------------------------------------------------------------------------------------------------

    async def _attempts(self, progress: Progress, send: _Send) -> WireAnswer:
        call = progress.call
        while True:
            in_flight: InFlight | None = None
            if call.authenticated and self._pause_until <= progress.began_at:
                in_flight = self.limiter.try_enter(call.method, call.path.text)
            if in_flight is None:
                in_flight = await self._slot(progress)
            try:
                credentials: Credentials | None = None
                if call.authenticated and (not progress.redirects or self._outgoing.at_home(progress.url)):
                    credentials = self.authenticator.current or await self._credentials(progress)
                now = self._check_still_wanted(progress)
                if call.hooks or telemetry.LOADED_AS in sys.modules:
                    request = self._hooked(progress, credentials)
                else:
                    request = self._outgoing.request(progress, credentials)
                progress.doing = Doing.ANSWER
                progress.attempt_began_at = now
                # Until the opposite is proved: a deadline in the middle leaves it standing.
                before = progress.may_have_happened
                progress.may_have_happened = before or call.changes
                try:
                    answer = await send(request)
                except TransportFault as fault:
                    progress.lost = True
                    sent = fault.kind is not FailureKind.NOT_SENT
                    progress.may_have_happened = before or (call.changes and sent)
                    decision = self._decide(progress, Failure(fault.kind))
                    progress.note(fault.text, decision.reason, sent=sent)
                    if decision.delay_seconds is None:
                        error = outcome.lost(progress, fault)
                        self._failed(progress, fault.kind.value, error)
                        raise error from fault
                    self.status.attempt_failed(fault.text)
                else:
                    status = answer.status
                    headers = answer.headers
                    progress.request_id = headers.get("X-Request-ID", progress.request_id)
                    if "Deprecation" in headers:
                        self._notices.see(call.method, call.path.template, headers)
                    if _is_success(status):
                        progress.note(str(status), "done", status=status)
                        return answer
                    if 400 <= status < 500 or status in KEEP_METHOD_STATUSES:
                        # Said no, or «elsewhere», so it did not do it; an earlier attempt that was lost may have. Another
                        # redirect may follow what was done (RFC 9110 section 15.4.4).
                        progress.may_have_happened = before
                    if status in REDIRECT_STATUSES and "Location" in answer.headers:
                        progress.redirects += 1
                        self._redirect(progress, answer)
                        continue
                    if status == 401 and not progress.renewed and credentials is not None and not call.spent:
                        progress.renewed = True
                        if await self._renew(progress, credentials):
                            progress.note("401", "once more: the credentials were renewed", status=status)
                            continue
                    decision = self._answered_no(progress, answer)
                    if decision.delay_seconds is None:
                        refusal = outcome.refused(progress, answer, self._said)
                        self._failed(progress, str(status), refusal)
                        raise refusal
            finally:
                if in_flight is not None:
                    self.limiter.leave(in_flight)
            assert decision.delay_seconds is not None  # noqa: S101 - the others have raised
            progress.log_retry(decision.reason)
            progress.doing = Doing.PAUSE
            progress.waited_seconds = decision.delay_seconds
            await self._pauses.pause(decision.delay_seconds)

    async def _slot(self, progress: Progress) -> InFlight | None:
        """Waits out the pause that the backend asked for, then takes a slot; None for a call that needs none."""
        call = progress.call
        while True:
            await self._shared_pause(progress)
            if not call.authenticated:
                return None
            progress.doing = Doing.SLOT
            queued_at = time.monotonic()
            in_flight = await self.limiter.enter(call.method, call.path.text)
            progress.slot_wait_seconds = time.monotonic() - queued_at
            if self._pause_until <= time.monotonic():
                return in_flight
            self.limiter.leave(in_flight)  # the backend asked for a pause while we were in the queue

    def _check_still_wanted(self, progress: Progress) -> float:
        """Before anything is sent, which is now: the deadline's own timer may be due but not have run yet."""
        call = progress.call
        if self._closed:
            raise ClientClosedError(f"{call.method} {call.path.text}: the client was closed under the call")
        now = time.monotonic()
        if progress.ends_at is not None and progress.ends_at <= now:
            raise self._too_late(progress)
        return now

    def _hooked(self, progress: Progress, credentials: Credentials | None) -> WireRequest:
        """The request of one attempt, with what the hooks add to it."""
        start = self._outgoing.start(progress)
        spans = (telemetry.span,) if telemetry.LOADED_AS in sys.modules else ()
        progress.ends = hooks.begin((*spans, *progress.call.hooks), start)
        return self._outgoing.request(progress, credentials, start)

    def _answered_no(self, progress: Progress, answer: WireAnswer) -> Decision:
        problem = problem_of(answer.status, answer.headers, answer.body, self._said)
        after = retry_after_seconds(answer.headers, datetime.now(UTC))
        if after is not None and answer.status in _SHARED_PAUSES:
            self._pause_until = max(self._pause_until, time.monotonic() + min(after, MAX_SHARED_PAUSE_SECONDS))
        failure = Failure(FailureKind.STATUS, answer.status, None if problem is None else problem.code, after)
        if failure.in_progress:  # an earlier call with this key, perhaps before our own crash, is being done
            progress.may_have_happened = progress.may_have_happened or progress.call.changes
        decision = self._decide(progress, failure)
        progress.note(str(failure), decision.reason, status=answer.status)
        if decision.delay_seconds is not None:
            self.status.attempt_failed(str(failure))
        return decision

    def _decide(self, progress: Progress, failure: Failure) -> Decision:
        if progress.body_begun:
            progress.body_begun, progress.redirects = False, 0
            progress.url = self._outgoing.url(progress.call)
        further, progress.came_further = progress.came_further, False
        if further:
            progress.failures, progress.renewed = 1, False
        elif not failure.in_progress:
            progress.failures += 1
        call = progress.call
        policy = call.policy
        if self._closed:
            return Decision(None, "give up: the client was closed")
        if call.spent:
            return Decision(None, "give up: the body came from an iterator, and was read")
        free = policy.budget is None or failure.in_progress or failure.is_paced or further
        decision = decide(
            failure,
            attempt=max(1, progress.failures),
            policy=policy,
            method=call.method,
            repeatable=call.repeatable,
            left_seconds=progress.left_seconds(),
            budget_left=free or self.budget.tokens >= 1,
            random=random.random,
        )
        if decision.delay_seconds is not None and not free and not self.budget.take():
            return Decision(None, "give up: the client's retry budget is used up")
        return decision

    async def _shared_pause(self, progress: Progress) -> None:
        """A 429 or 503 that said when, said it to all callers of this client."""
        pause = self._pause_until - time.monotonic()
        if pause <= 0:
            return
        if pause >= progress.left_seconds():
            error = outcome.pause_too_long(progress, pause)
            progress.log(logging.WARNING, "deadline")
            raise error
        progress.doing = Doing.SHARED_PAUSE
        await self._pauses.pause(pause)
        self._check_still_wanted(progress)

    def _redirect(self, progress: Progress, answer: WireAnswer) -> None:
        """Turns the call to where the answer leads, or refuses to."""
        call = progress.call
        redirect = judge(
            progress.url,
            answer.headers["Location"],
            answer.status,
            unsafe=call.unsafe or call.body is not None,
            redirects=progress.redirects,
            secure=self._outgoing.secure,
        )
        if call.spent and redirect.refusal is None:
            redirect = replace(redirect, refusal="its body came from an iterator, and was read")
        if redirect.refusal is None:
            progress.note(redirect.where, "follow", status=answer.status)
            progress.url = redirect.target
            return
        progress.note(redirect.where, f"give up: {redirect.refusal}", status=answer.status)
        error = outcome.redirect_refused(progress, redirect)
        self._failed(progress, str(answer.status), error)
        raise error

    # --- credentials --------------------------------------------------------------------------------------------------

    async def _credentials(self, progress: Progress) -> Credentials:
        progress.doing = Doing.CREDENTIALS
        try:
            return await self.authenticator.credentials()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise self._no_credentials(progress, error) from error

    async def _renew(self, progress: Progress, refused: Credentials) -> bool:
        progress.doing = Doing.CREDENTIALS
        try:
            return await self.authenticator.renew(refused)
        except Exception as error:
            if outcome.refuses_grant(error):
                return False  # the 401 is the better answer: it says who refused
            progress.note("401", "give up: no other credentials could be had", status=401)
            raise self._no_credentials(progress, error) from error

    def _no_credentials(self, progress: Progress, error: Exception) -> PlaycallError:
        own = outcome.no_credentials(progress, error)
        if isinstance(own, AuthenticationError | CredentialsError):
            self.status.auth_failed(own.message)
        if not isinstance(own, ClientClosedError):
            progress.log(logging.WARNING, "no credentials")
        return own

    async def _token(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        json: bool = False,
        fields: TokenFields = RFC_6749,
        refused: Collection[int] = REFUSED,
    ) -> TokenGrant:
        """The token endpoint: repeatable, because the backend keeps the old refresh token until the new one is used."""
        call = Call(
            "POST",
            as_path(path),
            RetryPolicy(budget=None),
            TOKEN_DEADLINE_SECONDS,
            repeatable=True,
            body=encode(form) if json else urlencode(form).encode(),
            content_type="application/json" if json else "application/x-www-form-urlencoded",
            authenticated=False,
        )
        try:
            return grant_of((await self.request(call)).answer(), fields, self.envelope)
        except StatusError as error:
            if error.status in refused or _is_success(error.status):  # a success that the envelope takes back
                raise outcome.grant_refused(error) from error
            raise

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _answered(self, progress: Progress) -> None:
        self.status.succeeded(progress.took_seconds, judged=progress.call.judged)

    def _done(self, progress: Progress, status: int) -> None:
        if not progress.call.probe:
            self.budget.earn()
        progress.log(logging.INFO, str(status))

    def _failed(self, progress: Progress, outcome: str, error: RequestError) -> None:
        if self._outgoing.at_home(progress.url):  # where a redirect led is not the backend
            self.status.call_failed(error, judged=progress.call.judged)
        # A plain no is the caller's affair, and is told by the error.
        plain = isinstance(error, StatusError) and error.status < 500 and error.status not in (401, 429)
        progress.log(logging.INFO if plain else logging.WARNING, outcome)


def _is_success(status: int) -> bool:
    """304 too: it answers a conditional request with what the caller has already."""
    return 200 <= status < 300 or status == 304


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
