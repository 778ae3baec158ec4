"""Pick a playbook, run it, watch it move: `streamlit run streamlit_page.py`, with PLAYCALL_URL and PLAYCALL_API_KEY set."""

import uuid

import streamlit as st

from playcall import Playcall, PlaycallError

client = st.cache_resource(lambda: Playcall(deadline_seconds=10))  # one for all browsers: they share its connections


@st.cache_resource(max_entries=100, validate=lambda run: run.error is None, on_release=lambda run: run.close())
def live(run_id: str):
    run = client().runs.live(run_id)
    run.open()  # from here on events keep run.value current
    return run


@st.fragment(run_every=0.5)  # the browser asks this process again; the backend is never polled
def watch(run_id: str) -> None:
    run, status = live(run_id).value, client().status.current
    st.progress(run.steps_finished / run.steps_total, f"{run.steps_finished} of {run.steps_total} steps: {run.status}")
    st.caption(f"{status.state}, reconnects: {status.reconnects}")


try:
    if run_id := st.query_params.get("run"):  # in the address, so it can be shared
        st.button("Back to the playbooks", on_click=st.query_params.clear)
        live(run_id)  # what goes wrong in a fragment is not caught below
        watch(run_id)
    else:
        names = {each.id: each.name for each in client().playbooks.list(newest_first=True, max_items=100)}
        chosen = st.selectbox("Playbook", names, format_func=names.__getitem__)
        if st.button("Run", disabled=chosen is None):
            st.query_params["run"] = client().playbooks.run(chosen, idempotency_key=st.session_state.command).id
            st.rerun()
        st.session_state.command = uuid.uuid4().hex  # for the next click: a double one is one command
except PlaycallError as error:
    st.code(error.explain(), language=None)  # every attempt: when, how it ended, why no other followed
    st.button("Try again")
