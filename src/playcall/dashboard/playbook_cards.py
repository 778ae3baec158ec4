"""Playbooks as cards, the newest first, and what is looked for among them."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import following
from playcall.dashboard.finding import PlaybookWish, agents_of, how_many, tags_of
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import PLAYBOOKS, RUN, ready, show_tags
from playcall.models import Playbook
from playcall.models.names import NAME_CHARACTERS

__all__ = ["CARDS_SECONDS", "show_cards"]

CARDS_SECONDS: Final = 2.0
CARDS: Final = 30
COLUMNS: Final = 3


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
    many = len(playbooks)
    shown: int = st.session_state.setdefault("playcall_cards", CARDS)
    st.caption(how_many(many, "playbook", more=found.full, shown=shown))
    for start in range(0, min(many, shown), COLUMNS):
        for column, playbook in zip(st.columns(COLUMNS), playbooks[start : start + COLUMNS], strict=False):
            with column:
                show_card(playbook)
    if many > shown and st.button(f"Show {min(CARDS, many - shown)} more", key="playcall_more"):
        st.session_state["playcall_cards"] = shown + CARDS
        st.rerun(scope="fragment")
    if not everything:
        st.info("There is no playbook yet. Open «New playbook» above to create one.", icon=":material/menu_book:")


def show_card(playbook: Playbook) -> None:
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
