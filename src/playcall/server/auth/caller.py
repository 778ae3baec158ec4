"""The caller of a request, once it is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from playcall.models import Scope
from playcall.server.clock import utc_now

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Everything is looked up by `user_id`: what belongs to others does not exist for this caller.

    `credential_id` names the API key, or the family of the token. `expires_at` is None for a key that does not expire.
    """

    user_id: str
    username: str
    scope: Scope
    credential: Literal["api_key", "token"]
    credential_id: str
    expires_at: datetime | None

    def seconds_left(self) -> float | None:
        """Until the credential expires; never below 0, None if it does not."""
        if self.expires_at is None:
            return None
        return max(0.0, (self.expires_at - utc_now()).total_seconds())
