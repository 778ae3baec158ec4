"""Agents: all of them, one of them, and the way in for new ones."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.agent_cards import show_cards
from playcall.dashboard.agent_form import fields_of_agent, spec_of
from playcall.dashboard.agent_page import ALL, show_agent, tool_names
from playcall.dashboard.connection import client, following
from playcall.dashboard.form_view import FormView
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.showing import ready, wanted
from playcall.errors import InvalidRequestError, NameTakenError, PlaycallError

# In the session: one was made. The form is emptied when it is seen again, for a click before that is the same command.
MADE = "playcall_agent_made"


def new_form() -> FormView:
    return FormView("agent:new", fields_of_agent(tool_names()))


def create() -> None:
    forget(ALL)
    form = new_form()
    values = form.read()
    if values is None:
        return
    spec = spec_of(values)
    try:
        made = client().agents.create(spec, idempotency_key=form.command(spec))
    except InvalidRequestError as error:
        form.refused(error, ALL)
    except NameTakenError as error:
        form.taken(error)
    except PlaycallError as error:
        say(ALL, error)
    else:
        st.session_state[MADE] = True
        say(ALL, f"{made.name} was created.", "done")


def show_new() -> None:
    form = new_form()
    if st.session_state.pop(MADE, False):
        form.clear()
    with st.expander("New agent", icon=":material/add:", expanded=bool(form.problems)):
        if not ready(collection.tools(following()), ticking=False):
            return
        with st.form("playcall_new_agent", border=False, enter_to_submit=False):
            form.show("Not created: see what is said at the fields.")
            st.form_submit_button(
                "Create", type="primary", icon=":material/add:", key="playcall_create", on_click=create
            )


if (asked_for := wanted("agent")) is not None:
    show_agent(asked_for)
else:
    st.title("Agents")
    show_new()
    show_notice(ALL)
    with st.container(key="agents"):
        show_cards()
