"""One call as its caller means it, and how far it has come."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from ..answer import Answer
from ..errors import RequestError
from ..timeline import Attempt, Timeline
from .bodies import Upload
from .hooks import AttemptEnd, AttemptHook, end
from .paths import Path
from .problems import ErrorClasses
from .ranges import length_of
from .retry import SAFE_METHODS, RetryPolicy
from .transport import TransportFault, WireAnswer, WireStream

__all__ = ["Call", "Doing", "IncomingBody", "Param", "Params", "Progress"]

log = logging.getLogger("playcall.http")


class Doing(StrEnum):
    """What a call is about just now, in the words of the error that its deadline would make."""

    STARTING = "starting"
    SLOT = "waiting for a free slot"
    SHARED_PAUSE = "pausing, as the backend asked all callers to"
    CREDENTIALS = "waiting for credentials"
    ANSWER = "waiting for the answer"
    BODY = "reading the body"
    USING = "its body was being used"
    PAUSE = "pausing before another attempt"


Param: TypeAlias = str | int | float | bool | None
Params: TypeAlias = Mapping[str, Param | Sequence[Param]]
"""A query: a None is left out, a sequence repeats its name."""


@dataclass(slots=True)
class Call:
    """One call as its caller means it.

    `deadline_seconds` None means no bound but the context's. `repeatable`: it may reach the backend twice without harm.
    `authenticated` is False for the call that fetches credentials: it carries none, and takes no slot, because callers
    who hold all of them may be waiting for it.
    """

    method: str
    path: Path
    policy: RetryPolicy
    deadline_seconds: float | None
    repeatable: bool
    reads: bool | None = None
    """It changes nothing; None: as its method says (RFC 9110 section 9.2.1)."""
    params: Params | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | Upload | None = field(default=None, repr=False)
    content_type: str | None = None
    idempotency_key: str | None = None
    authenticated: bool = True
    probe: bool = False
    """Asks whether the backend is there; a health path may look at no credentials."""
    hooks: Sequence[AttemptHook] = ()
    errors: ErrorClasses | None = None

    @property
    def unsafe(self) -> bool:
        """Its method may change something (RFC 9110 section 9.2.1)."""
        return self.method not in SAFE_METHODS

    @property
    def changes(self) -> bool:
        """It may change something."""
        return self.unsafe if self.reads is None else not self.reads

    @property
    def judged(self) -> bool:
        """An answer other than 401 shows that the credentials are good."""
        return self.authenticated and not self.probe

    @property
    def spent(self) -> bool:
        """Its body cannot be sent again."""
        return isinstance(self.body, Upload) and self.body.spent


@dataclass(slots=True)
class IncomingBody:
    """A successful answer whose body is still to come."""

    _stream: WireStream
    _progress: Progress = field(repr=False)
    _lost: Callable[[TransportFault], RequestError] = field(repr=False)
    """Makes the error of a body that breaks off."""

    @property
    def timeline(self) -> Timeline:
        return self._progress.timeline()

    @property
    def status(self) -> int:
        return self._stream.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._stream.headers

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, None where the backend does not say, or packed it (`Content-Encoding`)."""
        return length_of(self.headers)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body, piece by piece. Raises: ConnectionLostError, when it breaks off; what was used already, was."""
        progress = self._progress
        try:
            progress.doing = Doing.BODY
            async for chunk in self._stream.chunks():
                progress.doing = Doing.USING  # what its user does with it is no silence of the backend
                yield chunk
                progress.doing = Doing.BODY
        except TransportFault as fault:
            raise self._lost(fault) from fault
        progress.doing = Doing.USING

    async def read(self) -> bytes:
        """The whole body. Raises: ConnectionLostError, when it breaks off."""
        self._progress.doing = Doing.BODY
        try:
            body = await self._stream.read()
        except TransportFault as fault:
            raise self._lost(fault) from fault
        self._progress.doing = Doing.USING
        return body


_Noted: TypeAlias = tuple[int, float, float, str, str, bool, int | None, float, float, str | None]
"""What an `Attempt` is made from once somebody asks: nobody does of a call that went well."""


@dataclass(slots=True)
class Progress:
    """How far one call has come; the errors, and the answer, are made from it."""

    call: Call
    url: str
    began_at: float
    ends_at: float | None
    """Both as `time.monotonic()` has it."""
    wire: WireAnswer | None = None
    """The answer that ended it well."""
    _noted: tuple[_Noted, ...] = ()
    failures: int = 0
    """Attempts that a retry policy was asked about: a redirect or a renewal of credentials is none."""
    renewed: bool = False
    """Credentials were renewed for it once."""
    lost: bool = False
    """An attempt ended without a whole answer: its connection was lost, or there was none."""
    redirects: int = 0
    body_begun: bool = False
    """The attempt under way takes a body in parts, and has begun to: the next is made from the start, redirects and all."""
    came_further: bool = False
    """The attempt under way brought more of a body in parts: if it fails, that is the first failure, and costs no budget."""
    doing: Doing = Doing.STARTING
    attempt_began_at: float | None = None
    waited_seconds: float = 0.0
    slot_wait_seconds: float = 0.0
    may_have_happened: bool = False
    request_id: str | None = None
    ends: Sequence[AttemptEnd] = ()
    """What the hooks want called when the attempt under way has ended."""

    @property
    def tried(self) -> int:
        """Attempts that have ended."""
        return len(self._noted)

    @property
    def took_seconds(self) -> float:
        """What the last of them took."""
        return self._noted[-1][2]

    @property
    def deadline_seconds(self) -> float | None:
        """What the call had for everything."""
        return None if self.ends_at is None else max(0.0, self.ends_at - self.began_at)

    def answer(self) -> Answer:
        """Of a call that has ended well."""
        assert self.wire is not None  # noqa: S101 - it has
        return Answer(self.wire.status, self.wire.headers, self.wire.body, self.timeline(), self.request_id)

    def timeline(self) -> Timeline:
        return Timeline(
            self.call.method,
            self.call.path.text,
            self.deadline_seconds,
            tuple(Attempt(*each) for each in self._noted),
            time.monotonic() - self.began_at,
            self.call.idempotency_key,
            self.call.changes,
        )

    def note(self, outcome: str, decision: str, *, sent: bool = True, status: int | None = None) -> None:
        """Adds the attempt that has just ended."""
        now = time.monotonic()
        began = self.attempt_began_at if self.attempt_began_at is not None else now
        noted = (
            len(self._noted) + 1,
            began - self.began_at,
            now - began,
            outcome,
            decision,
            sent,
            status,
            self.waited_seconds,
            self.slot_wait_seconds,
            self.request_id,
        )
        self._noted = (*self._noted, noted)
        self.attempt_began_at = None
        self.waited_seconds = 0.0
        if self.ends:
            ends, self.ends = self.ends, ()
            end(ends, Attempt(*noted))

    def amend(self, outcome: str, decision: str) -> None:
        """The attempt that ended last did not end well after all: its body broke off."""
        last = self._noted[-1]
        took = time.monotonic() - self.began_at - last[1]
        amended = (*last[:2], took, f"{last[3]}, then {outcome}", decision, *last[5:])
        self._noted = (*self._noted[:-1], amended)

    def left_seconds(self) -> float:
        """What is left of the deadline; infinite without one, negative past it."""
        return float("inf") if self.ends_at is None else self.ends_at - time.monotonic()

    def log(self, level: int, outcome: str) -> None:
        """The one line that a request leaves on `playcall.http`."""
        if not log.isEnabledFor(level):
            return
        took_ms = (time.monotonic() - self.began_at) * 1000
        log.log(
            level,
            "%s %s %s attempts=%d ms=%.1f request_id=%s",
            self.call.method,
            self.call.path.template,
            outcome,
            self.tried,
            took_ms,
            self.request_id,
            extra={
                "event": "request",
                "method": self.call.method,
                "path": self.call.path.template,
                "outcome": outcome,
                "attempts": self.tried,
                "duration_ms": took_ms,
                "request_id": self.request_id,
            },
        )

    def log_retry(self, reason: str) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info(
                "retry %s %s: %s",
                self.call.method,
                self.call.path.template,
                reason,
                extra={
                    "event": "retry",
                    "method": self.call.method,
                    "path": self.call.path.template,
                    "attempts": self.tried,
                    "request_id": self.request_id,
                },
            )
