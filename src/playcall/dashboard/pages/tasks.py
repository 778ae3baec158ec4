"""Tasks: all of them, one of them, and the way in for new ones."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard.new_task import PLACE, show_new
from playcall.dashboard.notices import show_notice
from playcall.dashboard.showing import TASKS, wanted
from playcall.dashboard.task_table import show_table
from playcall.dashboard.task_view import show_live_task


def show_one(task_id: str) -> None:
    st.page_link(TASKS, label="All tasks", icon=":material/arrow_back:")
    with st.container(key="task"):
        show_live_task(task_id, alone=True)


if (asked_for := wanted("task")) is not None:
    show_one(asked_for)
else:
    st.title("Tasks")
    show_new()
    show_notice(PLACE)
    with st.container(key="tasks"):
        show_table()
