"""The one client of this server process.

All browsers share the client: it is thread-safe, and its connections, credentials and events are worth sharing. It comes
from the environment (`PLAYCALL_URL`, `PLAYCALL_API_KEY` or `PLAYCALL_TOKEN`), so that no key is seen in a list of processes.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from playcall import Playcall
from playcall.dashboard.changes import Changes, SeenChange
from playcall.dashboard.following import Following
from playcall.http.hooks import AttemptEnd, AttemptStart
from playcall.timeline import Attempt

__all__ = [
    "SeenAttempt",
    "client",
    "close",
    "following",
    "recent_attempts",
    "recent_changes",
]

DEADLINE_SECONDS: Final = 10.0
"""What a page or a click waits for the backend; somebody sits in front of it."""
ATTEMPTS_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """An attempt of any call that this process made; `template` names the route (`/runs/{id}`)."""

    at: datetime
    method: str
    template: str
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class _Held:
    client: Playcall
    following: Following
    attempts: deque[SeenAttempt]
    changes: Changes


_making = threading.Lock()
_held: _Held | None = None
"""Not in `st.cache_resource`: a browser's menu can empty that, and the client would be left open. It is used without a
browser as well, where artifacts are sent."""


def _holding() -> _Held:
    global _held
    with _making:
        if _held is None:
            attempts = deque[SeenAttempt](maxlen=ATTEMPTS_KEPT)

            def see(start: AttemptStart) -> AttemptEnd:
                return lambda attempt: attempts.append(
                    SeenAttempt(datetime.now(UTC), start.method, start.template, attempt)
                )

            made = Playcall(deadline_seconds=DEADLINE_SECONDS, hooks=[see])
            _held = _Held(made, Following(made), attempts, Changes(made))
        return _held


def client() -> Playcall:
    """Raises: ConfigurationError: the environment makes no sense."""
    return _holding().client


def following() -> Following:
    """The models that events keep current, shared by all browsers. Raises: as `client`."""
    return _holding().following


def recent_attempts() -> tuple[SeenAttempt, ...]:
    """Of all calls of this process, the oldest first. Raises: as `client`."""
    return tuple(_holding().attempts.copy())


def recent_changes() -> tuple[SeenChange, ...]:
    """Of the states of the connection and of the events' own, the oldest first. Raises: as `client`."""
    return _holding().changes.seen()


def close() -> None:
    """At the server's end: subscriptions and connections are closed, not broken."""
    global _held
    with _making:
        held, _held = _held, None
    if held is not None:
        held.following.close()
        held.client.close()
