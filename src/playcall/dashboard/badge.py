"""The connection, on every page: its state, latency and reconnects; and the tick that heals a page."""

from __future__ import annotations

from html import escape
from typing import Final, Literal

import streamlit as st

from playcall.dashboard.connection import client, following
from playcall.dashboard.errors_shown import heal
from playcall.dashboard.monitoring import keep_true
from playcall.dashboard.status_samples import samples
from playcall.errors import ConfigurationError
from playcall.status import ConnectionState

__all__ = ["show_badge"]

BADGE_SECONDS: Final = 1.0

_Colour = Literal["green", "orange", "red", "gray"]

_SHOWN: Final[dict[ConnectionState, tuple[_Colour, str]]] = {
    ConnectionState.CONNECTING: ("gray", ":material/pending:"),
    ConnectionState.ONLINE: ("green", ":material/check_circle:"),
    ConnectionState.DEGRADED: ("orange", ":material/warning:"),
    ConnectionState.OFFLINE: ("red", ":material/cloud_off:"),
    ConnectionState.AUTH_FAILED: ("red", ":material/key_off:"),
    ConnectionState.CLOSED: ("gray", ":material/power_off:"),
}


@st.fragment(run_every=BADGE_SECONDS)
def show_badge() -> None:
    """Reads what the client knows: no request is made to draw it."""
    try:
        made = client()
    except ConfigurationError:
        st.badge("not configured", color="red", icon=":material/settings:")
        return
    keep_true(following())
    samples(following())  # the page Status then has the minutes before it was opened
    status = made.status.current
    colour, icon = _SHOWN[status.state]
    with st.container(key="playcall_badge", gap=None):
        st.badge(str(status.state).replace("_", " "), color=colour, icon=icon)
        latency = "no answer yet" if status.latency_p50_ms is None else f"{status.latency_p50_ms:.0f} ms"
        times = "1 reconnect" if status.reconnects == 1 else f"{status.reconnects} reconnects"
        st.caption(f"{latency} · {times}")
        # As text that can be copied: Markdown would make a link of it.
        st.html(f"<span style='font-size:.8rem;opacity:.65;overflow-wrap:anywhere'>{escape(made.url)}</span>")
    heal()
