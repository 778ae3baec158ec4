"""Playbooks: all of them, or the one that the address names."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard.errors_shown import show_error
from playcall.dashboard.new_playbook import PLACE, show_new
from playcall.dashboard.notices import show_notice
from playcall.dashboard.playbook_cards import show_cards
from playcall.dashboard.playbook_view import read_playbook, show_playbook
from playcall.dashboard.showing import PLAYBOOKS, wanted
from playcall.errors import PlaycallError

playbook_id = wanted("playbook")
if playbook_id is None:
    st.title("Playbooks")
    show_new()
    show_notice(PLACE)
    show_cards()
else:
    st.page_link(PLAYBOOKS, label="All playbooks", icon=":material/arrow_back:")
    show_notice(PLACE)
    try:
        show_playbook(read_playbook(playbook_id))
    except PlaycallError as error:
        st.title("Playbooks")
        show_error(error)
