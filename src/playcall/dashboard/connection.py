"""The one client of this server process, and how its errors are shown.

All browsers share the client: it is thread-safe, and its connections, credentials and events are worth sharing. It comes
from the environment (`PLAYCALL_URL`, `PLAYCALL_API_KEY` or `PLAYCALL_TOKEN`), so that no key is seen in a list of processes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import streamlit as st

from playcall import Playcall
from playcall.dashboard.changes import Changes, SeenChange
from playcall.dashboard.following import Following
from playcall.dashboard.plain import plain
from playcall.errors import PlaycallError, RealtimeError, ServerError, TransportError
from playcall.http.hooks import AttemptEnd, AttemptStart
from playcall.status import ConnectionState
from playcall.timeline import Attempt

__all__ = [
    "SeenAttempt",
    "client",
    "close",
    "errors_shown",
    "following",
    "heal",
    "recent_attempts",
    "recent_changes",
    "refuse_without_client",
    "show_error",
    "show_uncaught",
]

DEADLINE_SECONDS: Final = 10.0
"""What a page or a click waits for the backend; somebody sits in front of it."""
HEAL_PAUSE_SECONDS: Final = 2.0
"""A page that failed is not run again sooner, however well the connection seems to be."""
FAILED_AT: Final = "playcall_failed_at"
"""In the session: when a part of the page was last left out because the backend could not be had (`time.monotonic()`)."""
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


def refuse_without_client() -> None:
    """Ends the page, with the reason, where no client can be made."""
    with errors_shown():
        client()
        return
    st.stop()


@contextmanager
def errors_shown(*, heals: bool = True) -> Generator[None]:
    """Around a part of a page: what the library raises on purpose is shown in its place, and the page goes on after it.

    Args:
        heals: Whether to run the page again once the backend is back. Not for a click: it happened once.
    """
    try:
        yield
    except PlaycallError as error:
        show_error(error, heals=heals)


def show_error(error: PlaycallError, *, heals: bool = True) -> None:
    """One sentence, as text; what was tried for it is behind it, folded."""
    if heals and isinstance(error, (TransportError, ServerError, RealtimeError)):
        st.session_state[FAILED_AT] = time.monotonic()
    st.error(plain(error.message), icon=":material/error:")
    with st.expander("What was tried"):
        st.code(error.explain(), language=None, wrap_lines=True)


def show_uncaught(error: Exception) -> bool:
    """For `st.App`: an error that no part of the page has shown; Streamlit has logged it, with its traceback.

    Returns: True: Streamlit shows no traceback of it.
    """
    if isinstance(error, PlaycallError):
        show_error(error)
    else:
        said = f"This part of the page could not be drawn: {type(error).__name__}: {error}"
        st.error(plain(said), icon=":material/bug_report:")
    return True


def heal() -> None:
    """Runs the whole page again, if a part of it was missing and the backend is back. Called by what ticks anyway."""
    failed_at = st.session_state.get(FAILED_AT)
    if (
        failed_at is not None
        and client().status.current.state is ConnectionState.ONLINE
        and time.monotonic() - failed_at >= HEAL_PAUSE_SECONDS
    ):
        del st.session_state[FAILED_AT]
        st.rerun()
