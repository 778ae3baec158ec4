"""Whether a failed attempt is made again, and when: a pure decision, tested as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from ..checks import check_number, check_whole_number
from ..errors import ConfigurationError

__all__ = ["Decision", "Failure", "FailureKind", "RetryPolicy", "decide"]

T = TypeVar("T")

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110 section 9.2.1. PUT and DELETE are idempotent too (9.2.2), but a repeat that comes after somebody else's write
undoes it, or answers 404 for what succeeded: they are repeated by their key, as all writes are."""
IN_PROGRESS_CODE = "idempotency_in_progress"
IN_PROGRESS_PAUSE_SECONDS = 0.05
"""The least pause before an answer in progress is asked for again, which is bounded by the deadline alone."""


class FailureKind(Enum):
    NOT_SENT = "not sent"
    LOST = "connection lost"
    TIMEOUT = "timed out"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. `status` and `code` are of an answer; `retry_after_seconds` is what it asked for."""

    kind: FailureKind
    status: int | None = None
    code: str | None = None
    retry_after_seconds: float | None = None

    @property
    def in_progress(self) -> bool:
        """The backend is still working on the first call with this key: it is asked again, not retried."""
        return self.code == IN_PROGRESS_CODE

    @property
    def is_paced(self) -> bool:
        """The far end lets its callers come one after another, and has said when: no storm comes of coming then."""
        return self.status == 429 and self.retry_after_seconds is not None

    def __str__(self) -> str:
        return self.kind.value if self.status is None else f"{self.status}{f' {self.code}' if self.code else ''}"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is made again. It can forbid a repeat, and never makes an unsafe one.

    `attempts` counts the first one, so 1 means never again. `statuses` are the answers that are asked for again, `methods`
    what is made again at all (None: every method, where that is safe).

    The pause is `initial_seconds`, times `multiplier` with each attempt, at most `max_seconds`; `jitter` is the share of
    it that is random: 1 is full jitter, anything from nothing to all of it, 0 none. A Retry-After wins over it.

    `budget` is how many retries a client may have in hand against storms; each call that succeeds earns a tenth of one
    back, and a 429 that said when to come costs none. It is the client's: of a policy for one call, or of a clone, only None counts, and lifts the limit there.
    `predicate`, if given, is asked last, with the failure and how many attempts there were; it must not block.
    """

    attempts: int = 4
    statuses: frozenset[int] = RETRY_STATUSES
    methods: frozenset[str] | None = None
    initial_seconds: float = 0.25
    multiplier: float = 2.0
    max_seconds: float = 8.0
    jitter: float = 1.0
    budget: int | None = 20
    predicate: Callable[[Failure, int], bool] | None = None

    def __post_init__(self) -> None:
        check_whole_number(
            self.attempts, "RetryPolicy.attempts (which counts the first)", least=1, kind=ConfigurationError
        )
        for name, least, most, what in (
            ("initial_seconds", 0, math.inf, "0 or more seconds"),
            ("max_seconds", 0, math.inf, "0 or more seconds"),
            ("multiplier", 1, math.inf, "1 or more"),
            ("jitter", 0, 1, "from 0 to 1"),
        ):
            check_number(
                getattr(self, name), f"RetryPolicy.{name}", least=least, most=most, what=what, kind=ConfigurationError
            )
        if self.budget is not None:
            check_whole_number(self.budget, "RetryPolicy.budget", least=0, kind=ConfigurationError)
        object.__setattr__(self, "statuses", _set_of(int, self.statuses, "statuses"))
        if self.methods is not None:
            methods = _set_of(str, self.methods, "methods")
            object.__setattr__(self, "methods", frozenset(method.upper() for method in methods))
        if self.predicate is not None and not callable(self.predicate):
            raise ConfigurationError(f"RetryPolicy.predicate is a function, got {type(self.predicate).__name__}")

    def pause_seconds(self, attempt: int, random: Callable[[], float]) -> float:
        """The pause after attempt number `attempt` (from 1), where the answer asks for none.

        Args:
            random: Uniform in [0, 1).
        """
        try:
            grown = self.initial_seconds * self.multiplier ** (attempt - 1)
        except OverflowError:
            grown = math.inf if self.initial_seconds else 0.0
        whole = min(self.max_seconds, grown)
        return whole * (1 - self.jitter + self.jitter * random())


def _set_of(kind: type[T], values: Iterable[T], name: str) -> frozenset[T]:
    """Raises: ConfigurationError: no collection of these."""
    try:
        found = frozenset(() if isinstance(values, str) else values)
    except TypeError:
        found = frozenset[T]()
    if (not found and values) or not all(isinstance(each, kind) for each in found):
        raise ConfigurationError(f"RetryPolicy.{name} is a set of {kind.__name__}, got {values!r}")
    return found


@dataclass(frozen=True, slots=True)
class Decision:
    """`delay_seconds` is the pause before the next attempt, None to give up; `reason` is for people."""

    delay_seconds: float | None
    reason: str


def decide(
    failure: Failure,
    *,
    attempt: int,
    policy: RetryPolicy,
    method: str = "GET",
    repeatable: bool,
    left_seconds: float,
    budget_left: bool,
    random: Callable[[], float],
) -> Decision:
    """Whether attempt number `attempt` (from 1) is followed by another.

    Args:
        method: What the policy's own rule about methods is held against; whether a repeat is safe, `repeatable` says.
        repeatable: The request may reach the backend twice without harm: its method is safe, or it carries an
            idempotency key that the far end honours.
        left_seconds: What is left of the call's deadline.
        budget_left: The retry budget has a token.
        random: Uniform in [0, 1), for the jitter.
    """
    if failure.kind is FailureKind.STATUS:
        assert failure.status is not None  # noqa: S101 - a status failure has one
        if failure.status not in policy.statuses and not failure.in_progress:
            return Decision(None, f"give up: {failure} is an answer, not an accident")
    if failure.kind is not FailureKind.NOT_SENT and not repeatable:
        return Decision(None, "give up: it may have happened, and nothing makes a repeat safe")
    if policy.methods is not None and method not in policy.methods:
        return Decision(None, f"give up: the policy does not retry {method}")
    if attempt >= policy.attempts and not failure.in_progress:
        return Decision(None, f"give up: {attempt} of {policy.attempts} attempts used")
    if policy.predicate is not None and not policy.predicate(failure, attempt):
        return Decision(None, "give up: the policy's predicate says so")
    if not budget_left and not failure.in_progress:
        return Decision(None, "give up: the client's retry budget is used up")
    if failure.retry_after_seconds is not None:
        delay = failure.retry_after_seconds
        because = f"{failure}, as its Retry-After says"
    else:
        delay = policy.pause_seconds(attempt, random)
        because = str(failure)
    if failure.in_progress:
        delay = max(delay, IN_PROGRESS_PAUSE_SECONDS)
    if delay >= left_seconds:
        return Decision(None, f"give up: a pause of {delay:.3g} s ({because}) is past the deadline")
    return Decision(delay, f"retry in {delay:.3f} s ({because})")
