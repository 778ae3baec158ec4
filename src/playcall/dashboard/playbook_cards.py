"""Playbooks as cards, the newest first, and what is looked for among them."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, following
from playcall.dashboard.errors_shown import errors_shown
from playcall.dashboard.finding import PlaybookWish, agents_of, tags_of, with_older
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import PLAYBOOKS, RUN, ready, show_tags
from playcall.models import Playbook

__all__ = ["CARDS_SECONDS", "show_cards"]

CARDS_SECONDS: Final = 2.0
CARDS: Final = 30
COLUMNS: Final = 3
FOUND_AT_MOST: Final = 200
# In the session: what was looked for, and what the backend found for it.
FOUND: Final = "playcall_found_playbooks"


def found(wish: PlaybookWish) -> tuple[Playbook, ...]:
    """From what is known; where there are older ones, the backend is asked for them, once for each wish."""
    known = collection.playbooks(following())
    fitting = tuple(playbook for playbook in known.items() if wish.fits(playbook))
    if not known.full or wish == PlaybookWish():
        return fitting
    asked: tuple[PlaybookWish, tuple[Playbook, ...]] | None = st.session_state.get(FOUND)
    if asked is None or asked[0] != wish:
        listed = client().playbooks.list(
            text=wish.text or None, tag=wish.tag, agent=wish.agent, newest_first=True, max_items=FOUND_AT_MOST
        )
        asked = st.session_state[FOUND] = (wish, tuple(listed))
    return with_older(fitting, asked[1])


@st.fragment(run_every=CARDS_SECONDS)
def show_cards() -> None:
    known = collection.playbooks(following())
    if not ready(known):
        return
    text, by_tag, by_agent = st.columns([2, 1, 1])
    everything = known.items()
    wish = PlaybookWish(
        text.text_input(
            "Search", key="playcall_find", placeholder="name or description", icon=":material/search:", live=True
        )
        or "",
        by_tag.selectbox("Tag", tags_of(everything), index=None, key="playcall_tag", placeholder="any"),
        by_agent.selectbox("Agent", agents_of(everything), index=None, key="playcall_agent", placeholder="any"),
    )
    with errors_shown():
        playbooks = found(wish)
        many = len(playbooks)
        st.caption(f"{many:,} playbook{'' if many == 1 else 's'}")
        shown: int = st.session_state.setdefault("playcall_cards", CARDS)
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
