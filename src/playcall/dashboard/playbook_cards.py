"""Playbooks as cards, the newest first, and what is looked for among them."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.card_grid import CARDS_SECONDS, show_grid
from playcall.dashboard.connection import following
from playcall.dashboard.finding import PlaybookWish, agents_of, tags_of
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import PLAYBOOKS, RUN, ready, show_tags
from playcall.models import Playbook
from playcall.models.names import NAME_CHARACTERS

__all__ = ["show_cards"]


@st.fragment(run_every=CARDS_SECONDS)
def show_cards() -> None:
    known = collection.playbooks(following())
    if not ready(known):
        return
    text, by_tag, by_agent = st.columns([2, 1, 1])
    everything = known.items()
    wish = PlaybookWish(
        text.text_input(
            "Search",
            max_chars=NAME_CHARACTERS,
            key="playcall_find",
            placeholder="name or description",
            icon=":material/search:",
            live=True,
        )
        or "",
        by_tag.selectbox("Tag", tags_of(everything), index=None, key="playcall_tag", placeholder="any"),
        by_agent.selectbox("Agent", agents_of(everything), index=None, key="playcall_agent", placeholder="any"),
    )
    found = collection.playbooks(following(), wish)
    if found is not known and not ready(found):
        return
    playbooks = [playbook for playbook in found.items() if wish.fits(playbook)]
    show_grid(playbooks, _show_card, noun="playbook", more=found.full)
    if not everything:
        st.info("There is no playbook yet. Open «New playbook» above to create one.", icon=":material/menu_book:")


def _show_card(playbook: Playbook) -> None:
    with st.container(border=True, height="stretch", key=f"playcall_card_{playbook.id}"):
        st.page_link(
            PLAYBOOKS,
            label=f"**{plain(cut(playbook.name, 60))}**",
            icon=":material/menu_book:",
            query_params={"playbook": playbook.id},
        )
        st.caption(plain(cut(playbook.description, 140)) or "No description")
        show_tags(playbook.tags)
        steps = len(playbook.steps)
        many = f"{steps} step{'' if steps == 1 else 's'}" if steps else "many steps"
        st.caption(f"{many} · {plain(cut(', '.join(playbook.agents), 60))}")
        st.page_link(RUN, label="Run", icon=":material/play_arrow:", query_params={"playbook": playbook.id})
