"""Pick a playbook, run it, and watch it move: `streamlit run streamlit_page.py`.

`PLAYCALL_URL` and `PLAYCALL_API_KEY` say where, and as whom.
"""

import streamlit as st

from playcall import Playcall
from playcall.errors import PlaycallError


@st.cache_resource
def client() -> Playcall:
    return Playcall(deadline_seconds=10)  # one for all browsers: they share its connections


@st.cache_resource(max_entries=100, on_release=lambda run: run.close())
def live(run_id: str):
    return client().runs.live(run_id).__enter__()  # a run that events keep current


@st.fragment(run_every=0.5)  # the browser asks this process again; the backend is never polled
def watch(run_id: str) -> None:
    run, status = live(run_id).value, client().status.current
    st.progress(run.steps_finished / run.steps_total, f"{run.steps_finished} of {run.steps_total} steps: {run.status}")
    st.caption(f"{status.state}, {status.reconnects} reconnects")


st.title("Playbooks")
try:
    if "run" in st.query_params:
        watch(st.query_params["run"])
    names = {each.id: each.name for each in client().playbooks.list(newest_first=True, max_items=100)}
    chosen = st.selectbox("Playbook", names, format_func=names.__getitem__)
    if st.button("Run", disabled=chosen is None):
        st.query_params["run"] = client().playbooks.run(chosen).id  # in the address, so it can be shared
        st.rerun()
except PlaycallError as error:
    st.error(error.message)
