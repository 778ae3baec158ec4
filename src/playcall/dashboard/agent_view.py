"""An agent's state, and the buttons that start and stop it; on its card and on its page."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard.connection import client
from playcall.dashboard.notices import say
from playcall.dashboard.plain import plain
from playcall.dashboard.showing import Colour
from playcall.errors import PlaycallError
from playcall.models import Agent, AgentState

__all__ = ["place_of", "show_start_or_stop", "show_state"]

_STATES: Final[dict[str, tuple[Colour, str]]] = {
    AgentState.CREATED: ("gray", ":material/schedule:"),
    AgentState.READY: ("green", ":material/check_circle:"),
    AgentState.RUNNING: ("blue", ":material/sync:"),
    AgentState.STOPPED: ("orange", ":material/pause_circle:"),
    AgentState.ERROR: ("red", ":material/error:"),
}


def show_state(agent: Agent) -> None:
    colour, icon = _STATES.get(str(agent.state), ("gray", ":material/help:"))
    st.badge(plain(str(agent.state)), color=colour, icon=icon)


def place_of(agent: Agent) -> str:
    """Where is said what came of a click."""
    return f"agent:{agent.id}"


def show_start_or_stop(agent: Agent) -> None:
    if agent.state == AgentState.STOPPED:
        st.button(
            "Start", key=f"playcall_start:{agent.id}", icon=":material/play_arrow:", on_click=_start, args=(agent,)
        )
        return
    if agent.state == AgentState.ERROR:
        st.button(
            "Start anew", key=f"playcall_start:{agent.id}", icon=":material/replay:", on_click=_start, args=(agent,)
        )
    st.button("Stop", key=f"playcall_stop:{agent.id}", icon=":material/pause:", on_click=_stop, args=(agent,))


def _start(agent: Agent) -> None:
    try:
        now = client().agents.start(agent.id)
    except PlaycallError as error:
        say(place_of(agent), error)
    else:
        say(place_of(agent), f"It is {now.state}: what waited for it goes on.", "done")


def _stop(agent: Agent) -> None:
    try:
        now = client().agents.stop(agent.id)
    except PlaycallError as error:
        say(place_of(agent), error)
    else:
        say(place_of(agent), f"It is {now.state}: what it is doing it finishes, what is queued for it waits.", "done")
