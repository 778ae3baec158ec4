"""What every page has: its place in the navigation, the badge, and the page itself.

Beside the pages, not above them: Streamlit takes a folder `pages` beside its script for pages of its own, which have no frame.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from playcall.dashboard.badge import show_badge
from playcall.dashboard.errors_shown import refuse_without_client
from playcall.dashboard.showing import PLAYBOOKS

PAGES = Path(__file__).parent

st.set_page_config(
    page_title="playcall", page_icon=str(PAGES.parent / "icon.svg"), layout="wide", initial_sidebar_state=230
)
st.html(
    "<style>[data-testid=stMainBlockContainer]{padding:2.2rem 2.5rem 3rem}[data-testid=stSidebarHeader]{height:2.5rem}"
    "[data-testid=stForm] label p{font-weight:600}"
    ".st-key-playcall_new_yaml textarea{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.85rem}</style>"
)

pages = [
    st.Page(PAGES / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "playbooks")
    for name, title, icon in (
        ("playbooks", "Playbooks", ":material/menu_book:"),
        ("run", "Run", ":material/play_arrow:"),
        ("runs", "Runs", ":material/timeline:"),
        ("agents", "Agents", ":material/smart_toy:"),
        ("tasks", "Tasks", ":material/checklist:"),
        ("tools", "Tools", ":material/build:"),
        ("events", "Events", ":material/bolt:"),
        ("status", "Status", ":material/monitor_heart:"),
    )
]
# Links of our own: a click on Streamlit's keeps what the address asks the page for that is shown, so that none of them
# would lead from one run to all of them.
page = st.navigation(pages, position="hidden")
with st.sidebar:
    with st.container(key="playcall_navigation", gap="xxsmall"):
        for each in pages:
            st.page_link(each)
    st.divider()
    show_badge()
refuse_without_client()
if page.url_path not in ("", "run") and (meant := st.query_params.get("playbook")):
    # The first page's links have no path, so in a tab of their own they lead to the page that they were on.
    st.switch_page(PLAYBOOKS, query_params={"playbook": meant})
page.run()
