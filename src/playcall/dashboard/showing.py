"""Small things that several pages show: a status, a moment, tags, and what is not there yet."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Final, Literal

import streamlit as st

from playcall.dashboard.errors_shown import show_error
from playcall.dashboard.following import Followed
from playcall.dashboard.plain import cut, plain

__all__ = [
    "AGENTS",
    "PLAYBOOKS",
    "RUN",
    "RUNS",
    "TASKS",
    "TOOLS",
    "ago",
    "ready",
    "show_status",
    "show_tags",
    "status_colour",
    "status_icon",
    "wanted",
]

# Pages by the names that `st.page_link` and `st.switch_page` take: files beside the frame.
PLAYBOOKS: Final = "playbooks.py"
RUN: Final = "run.py"
RUNS: Final = "runs.py"
AGENTS: Final = "agents.py"
TASKS: Final = "tasks.py"
TOOLS: Final = "tools.py"

TAGS_SHOWN: Final = 8
LOOK_AGAIN_SECONDS: Final = 1.0
_TAG: Final = (
    "display:inline-block;margin:0 .4rem .2rem 0;padding:.05rem .5rem;border-radius:.6rem;font-size:.8rem;"
    "background:rgba(112,72,232,.12);color:#6741d9"
)

Colour = Literal["red", "orange", "blue", "green", "violet", "gray"]

_COLOURS: Final[dict[str, Colour]] = {
    "queued": "gray",
    "running": "blue",
    "paused": "orange",
    "completed": "green",
    "failed": "red",
    "cancelled": "gray",
}
_ICONS: Final = {
    "queued": ":material/schedule:",
    "running": ":material/sync:",
    "paused": ":material/pause_circle:",
    "completed": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
}


def wanted(name: str) -> str | None:
    """What the address of the page asks for. The browser is told: of a link to the page that it shows it keeps the old one."""
    value = st.query_params.get(name)
    if value:
        st.query_params[name] = value
    else:
        st.query_params.clear()
    return value or None


def status_colour(status: str) -> Colour:
    """Of a run or task; gray for one that this version does not know."""
    return _COLOURS.get(status, "gray")


def status_icon(status: str) -> str:
    return _ICONS.get(status, ":material/help:")


def show_status(status: str) -> None:
    st.badge(plain(status), color=status_colour(status), icon=status_icon(status))


def show_tags(tags: list[str]) -> None:
    """As HTML: around a badge's text Streamlit puts a directive, which brackets in it break, escaped or not."""
    if tags:
        st.html("".join(f"<span style='{_TAG}'>{escape(cut(tag, 40))}</span>" for tag in tags[:TAGS_SHOWN]))


def ready(model: Followed, *, ticking: bool = True) -> bool:
    """Whether there is something to show; if not, says why, or that it is on its way.

    Args:
        ticking: Whether a fragment around it draws it again by itself. If not, the page is, once more is known.
    """
    version = model.version
    if model.wait():
        if model.error is not None:
            st.caption(f":orange[:material/sync_problem: Not current: {plain(model.error.message)}]")
        return True
    if model.error is not None:
        show_error(model.error)
    else:
        st.caption(":material/hourglass: Waiting for the backend …")
    if not ticking and not model.over:
        _look_again(model, version)
    return False


@st.fragment(run_every=LOOK_AGAIN_SECONDS)
def _look_again(model: Followed, version: int) -> None:
    """It moves as well when it is let go: the page then asks for it anew."""
    if model.version != version:
        st.rerun()


def ago(moment: datetime, now: datetime | None = None) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `12 d ago`"""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 172_800:
        return f"{seconds // 3_600:.0f} h ago"
    return f"{seconds // 86_400:.0f} d ago"
