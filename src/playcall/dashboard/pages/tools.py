"""Tools: all of them, one of them, and the way in for one's own."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard.connection import client
from playcall.dashboard.form_view import FormView
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.showing import wanted
from playcall.dashboard.tool_form import FIELDS, read_tool, spec_of
from playcall.dashboard.tool_page import ALL, show_tool
from playcall.dashboard.tool_table import show_table
from playcall.errors import InvalidRequestError, NameTakenError, PlaycallError

# In the session: one was made. The form is emptied when it is seen again, for a click before that is the same command.
MADE = "playcall_tool_made"


def new_form() -> FormView:
    return FormView("tool:new", FIELDS)


def register() -> None:
    forget(ALL)
    form = new_form()
    values = form.read(read_tool)
    if values is None:
        return
    spec = spec_of(values)
    try:
        made = client().tools.register(spec, idempotency_key=form.command(spec))
    except InvalidRequestError as error:
        form.refused(error, ALL)
    except NameTakenError as error:
        form.taken(error)
    except PlaycallError as error:
        say(ALL, error)
    else:
        st.session_state[MADE] = True
        say(ALL, f"{made.name} was registered: give it to an agent, or try it here.", "done")


def show_new() -> None:
    form = new_form()
    if st.session_state.pop(MADE, False):
        form.clear()
    with (
        st.expander("Register an HTTP tool", icon=":material/add:", expanded=bool(form.problems)),
        st.form("playcall_new_tool", border=False, enter_to_submit=False),
    ):
        form.show("Not registered: see what is said at the fields.")
        st.form_submit_button(
            "Register", type="primary", icon=":material/add:", key="playcall_register", on_click=register
        )


if (asked_for := wanted("tool")) is not None:
    show_tool(asked_for)
else:
    st.title("Tools")
    show_new()
    show_notice(ALL)
    with st.container(key="tools"):
        show_table()
