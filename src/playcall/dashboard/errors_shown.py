"""How the errors of the client are shown, and how a page heals that could not show a part of itself."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import streamlit as st

from playcall.dashboard.connection import client
from playcall.dashboard.plain import plain
from playcall.errors import PlaycallError, RealtimeError, ServerError, TransportError
from playcall.status import ConnectionState

__all__ = ["errors_shown", "heal", "refuse_without_client", "show_error", "show_uncaught"]

log = logging.getLogger("playcall.dashboard")

HEAL_PAUSE_SECONDS: Final = 2.0
"""A page that failed is not run again sooner, however well the connection seems to be. Doubled while that does not help."""
LONGEST_HEAL_PAUSE_SECONDS: Final = 30.0
FAILED_AT: Final = "playcall_failed_at"
"""In the session: when a part of the page was last left out because the backend could not be had (`time.monotonic()`)."""
HEALED: Final = "playcall_healed"
"""In the session: when the page was last run again for that, and what to wait in seconds if it fails once more."""


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
    """For `st.App`: an error that no part of the page has shown.

    Returns: True: Streamlit shows no traceback of it, and logs none.
    """
    if isinstance(error, PlaycallError):
        show_error(error)
    else:
        log.error("a page could not be drawn", exc_info=error, extra={"event": "dashboard.page_failed"})
        said = f"This part of the page could not be drawn: {type(error).__name__}: {error}"
        st.error(plain(said), icon=":material/bug_report:")
    return True


def heal() -> None:
    """Runs the whole page again, if a part of it was missing and the backend is back. Called by what ticks anyway."""
    failed_at = st.session_state.get(FAILED_AT)
    if failed_at is None or client().status.current.state is not ConnectionState.ONLINE:
        return
    healed_at, pause = st.session_state.get(HEALED, (-math.inf, HEAL_PAUSE_SECONDS))
    if failed_at - healed_at > pause:  # it had been whole for a while
        pause = HEAL_PAUSE_SECONDS
    now = time.monotonic()
    if now - failed_at >= pause:
        del st.session_state[FAILED_AT]
        st.session_state[HEALED] = now, min(2 * pause, LONGEST_HEAL_PAUSE_SECONDS)
        st.rerun()
