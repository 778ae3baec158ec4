"""What is known of a request before anybody looks at it: its id, and how long it may take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

from playcall.server.limits.rate_limit import RateLimit, RawHeaders, Who

from .problems import ApiError

__all__ = ["Deadline", "RequestContext", "context_of", "deadline_exceeded"]

_SCOPE_KEY = "playcall.request"
_HELD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the caller stops waiting (`X-Request-Timeout-Ms`, capped by the server), on the monotonic clock.

    Checked before work and before a commit; a statement that runs is never broken off.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining_seconds(self) -> float:
        """Never below 0."""
        return max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """
        Raises:
            ApiError: 504 `deadline_exceeded`: the time is over, and nothing has been changed.
        """
        if time.monotonic() >= self.at:
            raise deadline_exceeded()


def deadline_exceeded() -> ApiError:
    return ApiError(504, "deadline_exceeded", "the time for this request was over before it was done")


@dataclass(slots=True)
class RequestContext:
    """`max_body_bytes` is for a route to raise, before it reads a body that it keeps out of memory.

    `headers` are the answer's, whatever it is. `rate_limit` None: as many requests as one likes.
    """

    request_id: str
    deadline: Deadline
    max_body_bytes: int = 0
    caller_id: str | None = None
    rate_limit: RateLimit | None = None
    headers: RawHeaders = field(default_factory=list[tuple[bytes, bytes]])

    async def charge(self, who: Who, name: str) -> None:
        """A user who is a little over the limit is slowed down: many calls at once then go through one after the other,
        where a refusal of them all would have them all come again.

        Raises:
            ApiError: 429 `rate_limited`.
        """
        if self.rate_limit is not None:
            patience = min(_HELD_SECONDS, self.deadline.remaining_seconds() / 2) if who == "user" else 0.0
            self.headers = await self.rate_limit.charge(who, name, patience_seconds=patience)

    def attach(self, scope: Scope) -> None:
        scope[_SCOPE_KEY] = self


def context_of(connection: HTTPConnection) -> RequestContext:
    """The context that the outermost middleware attached."""
    return cast("RequestContext", connection.scope[_SCOPE_KEY])
