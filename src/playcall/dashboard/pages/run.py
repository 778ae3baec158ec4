"""Starts a run: a form made of the playbook's inputs, with what is wrong said at the field."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, following
from playcall.dashboard.errors_shown import errors_shown
from playcall.dashboard.form_view import FormView
from playcall.dashboard.input_form import fields_of
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.showing import PLAYBOOKS, RUNS, ready, show_tags
from playcall.errors import InvalidRequestError, PlaycallError
from playcall.models import Playbook

PLACE = "run"
# In the session: the run that was made, and by which form; and the form that was left for it. A second click that was
# made before the page could be left is the same command, so the form is done only when it is seen again.
STARTED = "playcall_run_started"
LEFT = "playcall_run_left"


def form_of(playbook: Playbook) -> FormView:
    return FormView(f"{playbook.id}:{playbook.version}", fields_of(playbook))


def start(playbook: Playbook) -> None:
    """On the click, before anything is drawn: so that what is wrong can be drawn at its field."""
    forget(PLACE)
    form = form_of(playbook)
    values = form.read()
    if values is None:
        return
    try:
        run = client().playbooks.run(playbook.id, inputs=values, idempotency_key=form.command([playbook.id, values]))
    except InvalidRequestError as error:
        form.refused(error, PLACE, within=("body", "inputs"))
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[STARTED] = run.id, form.place


def show_form(playbook: Playbook) -> None:
    st.text(playbook.description)
    show_tags(playbook.tags)
    with st.form("playcall_run", enter_to_submit=False):
        form = form_of(playbook)
        form.show("Not started: see what is said at the fields.")
        if not form.fields:
            st.caption("It takes no inputs.")
        st.form_submit_button(
            "Start the run", type="primary", icon=":material/play_arrow:", on_click=start, args=(playbook,)
        )


def choose() -> None:
    forget(PLACE)
    chosen = st.session_state.get("playcall_run_playbook")
    if chosen is None:
        st.query_params.clear()
    else:
        st.query_params["playbook"] = chosen


if STARTED in st.session_state:
    made, st.session_state[LEFT] = st.session_state.pop(STARTED)
    st.switch_page(RUNS, query_params={"run": made})
if LEFT in st.session_state:
    FormView(st.session_state.pop(LEFT), ()).done()

st.title("Run")
known = collection.playbooks(following())
wanted = st.query_params.get("playbook")
if ready(known, ticking=False):
    names = {str(each.id): each.name for each in known.items()}
    with errors_shown():
        playbook = None
        if wanted:
            playbook = known.get(wanted) or client().playbooks.get(wanted)
            names.setdefault(wanted, playbook.name)
        ids = sorted(names, key=lambda each: names[each].casefold())
        st.session_state["playcall_run_playbook"] = wanted
        st.selectbox(
            "Playbook", ids, index=None, format_func=names.__getitem__, key="playcall_run_playbook", on_change=choose,
            placeholder="which one?",
        )  # fmt: skip
        show_notice(PLACE)
        if playbook is not None:
            show_form(playbook)
        elif not names:
            st.page_link(PLAYBOOKS, label="There is no playbook yet: create one", icon=":material/add:")
