"""Cards to find an agent by."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.agent_view import place_of, show_start_or_stop, show_state
from playcall.dashboard.card_grid import CARDS_SECONDS, show_grid
from playcall.dashboard.connection import following
from playcall.dashboard.notices import show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import AGENTS, ready
from playcall.models import Agent

__all__ = ["show_cards"]


@st.fragment(run_every=CARDS_SECONDS)
def show_cards() -> None:
    known = collection.agents(following())
    if not ready(known):
        return
    text = st.text_input(
        "Search",
        key="playcall_find_agent",
        placeholder="name, description or tool",
        icon=":material/search:",
        live=True,
    )
    looked_for = (text or "").strip().casefold()
    agents = [each for each in known.items() if any(looked_for in part.casefold() for part in _words(each))]
    show_grid(agents, _show_card, noun="agent", more=known.full)
    if not known.items():
        st.info("There is no agent yet. Open «New agent» above to create one.", icon=":material/smart_toy:")


def _words(agent: Agent) -> tuple[str, ...]:
    return agent.name, agent.description, *agent.tools


def _show_card(agent: Agent) -> None:
    with st.container(border=True, height="stretch", key=f"playcall_agent_{agent.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                AGENTS,
                label=f"**{plain(cut(agent.name, 40))}**",
                icon=":material/smart_toy:",
                query_params={"agent": agent.id},
            )
            show_state(agent)
        st.caption(plain(cut(agent.description, 140)) or "No description")
        st.caption(plain(cut(", ".join(agent.tools), 100)) or "no tools")
        with st.container(horizontal=True):
            show_start_or_stop(agent)
        show_notice(place_of(agent))
