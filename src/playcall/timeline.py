"""What was tried for one call, when, and why it went on or stopped: the text behind every `explain()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Attempt", "Timeline"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a request was made, or could have been.

    Times are seconds since the call began. `waited_seconds` is the pause before this attempt (backoff, Retry-After).
    `sent` is False only when it is proved that no byte of the request left. `outcome` is a status («503 service
    unavailable») or what broke; `decision` says what came of it («retry in 0.4 s: 503», «give up: …»). No secrets here.
    """

    number: int
    began_at_seconds: float
    took_seconds: float
    outcome: str
    decision: str
    sent: bool = True
    status: int | None = None
    waited_seconds: float = 0.0
    slot_wait_seconds: float = 0.0
    request_id: str | None = None

    def line(self) -> str:
        waits: list[str] = []
        if self.waited_seconds > 0:
            waits.append(f"after a pause of {self.waited_seconds:.3f} s")
        if self.slot_wait_seconds > 0.001:
            waits.append(f"after {self.slot_wait_seconds:.3f} s in the queue")
        wait = f" ({', '.join(waits)})" if waits else ""
        unsent = "" if self.sent else " [not sent]"
        request_id = f" [request id {self.request_id}]" if self.request_id else ""
        return (
            f"{self.began_at_seconds:8.3f} s  attempt {self.number}{wait}: {self.outcome} in {self.took_seconds:.3f} s"
            f"{unsent}{request_id} -> {self.decision}"
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """The attempts of one call, in order, within its deadline. `changes`: it may have changed something."""

    method: str
    path: str
    deadline_seconds: float | None
    attempts: Sequence[Attempt] = ()
    took_seconds: float = 0.0
    idempotency_key: str | None = None
    changes: bool = True

    def explain(self) -> str:
        """The whole story as text, fit to paste into a report: it holds no secret."""
        bound = "without a deadline" if self.deadline_seconds is None else f"deadline {self.deadline_seconds:g} s"
        head = f"{self.method} {self.path}: {len(self.attempts)} attempt(s) in {self.took_seconds:.3f} s, {bound}"
        if self.idempotency_key:
            head += f", idempotency key {self.idempotency_key}"
        return "\n".join([head, *(attempt.line() for attempt in self.attempts)])
