"""How many requests somebody may make, and the header fields that tell them.

The fields are those of draft-ietf-httpapi-ratelimit-headers (as of its revision 11): `RateLimit-Policy` says what is granted
in the long run, `RateLimit` what is left of it now and in how many seconds there is more.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, Literal, TypeAlias

from playcall.server.limits.doorkeeper import Doorkeeper
from playcall.server.problems import ApiError
from playcall.server.telemetry import metrics

__all__ = ["RateLimit", "RawHeaders", "Who"]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
Who: TypeAlias = Literal["user", "address"]


class RateLimit:
    """Of one process: several on one database grant as much each. A user has one bucket, whatever the credentials, and so
    has an address from which requests without good ones come."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._doorkeeper = Doorkeeper(per_second=per_second, burst=burst)
        window = max(1, round(burst / per_second))
        self._policies: Final = {
            who: (b"ratelimit-policy", f'"{who}";q={burst};w={window}'.encode()) for who in ("user", "address")
        }
        self._more_after = math.ceil(1 / per_second)

    async def charge(self, who: Who, name: str, *, patience_seconds: float) -> RawHeaders:
        """Takes one request from the bucket, after a wait if that is short enough; what the answer is to say of it.

        Raises:
            ApiError: 429 `rate_limited`; it costs nothing.
        """
        caller = f"{who}:{name}"
        admission = self._doorkeeper.admit(caller, time.monotonic(), patience_seconds=patience_seconds)
        if not admission.is_in:
            metrics.RATE_LIMITED.add(who)
            seconds = math.ceil(admission.wait_seconds)
            policy, limit = self._policies[who], f'"{who}";r=0;t={seconds}'
            raise ApiError(
                429,
                "rate_limited",
                "too many requests; wait as told",
                headers={
                    "Retry-After": str(seconds),
                    "RateLimit-Policy": policy[1].decode(),
                    "RateLimit": limit,
                },
            )
        left = self._doorkeeper.left(caller)
        if admission.wait_seconds:
            await asyncio.sleep(admission.wait_seconds)
        return [self._policies[who], (b"ratelimit", f'"{who}";r={left};t={self._more_after}'.encode())]
