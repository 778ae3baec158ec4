"""Runs: all of them, or the one that the address names."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard.live_run import show_run
from playcall.dashboard.run_table import show_table
from playcall.dashboard.showing import RUNS, wanted

run_id = wanted("run")
if run_id is None:
    st.title("Runs")
    show_table()
else:
    st.page_link(RUNS, label="All runs", icon=":material/arrow_back:")
    show_run(run_id)
