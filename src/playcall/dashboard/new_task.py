"""The way in for a new task: an agent, an operation of it, and a form of what that takes."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, following
from playcall.dashboard.form_view import FormView
from playcall.dashboard.notices import forget, say
from playcall.dashboard.schema_form import fields_of_schema, read_parameters
from playcall.dashboard.showing import AGENTS, ready
from playcall.dashboard.task_form import ABOUT, operations_of
from playcall.dashboard.task_table import GO
from playcall.errors import InvalidRequestError, PlaycallError
from playcall.models import Agent

__all__ = ["PLACE", "show_new"]

PLACE: Final = "tasks"
"""Where is said what came of it."""
# In the session: the forms by which one was made. They are emptied when they would be seen again, for a click before that
# is the same command.
LEFT: Final = "playcall_task_forms_left"


def show_new() -> None:
    if GO not in st.session_state:
        for place in st.session_state.pop(LEFT, ()):
            FormView(place, ()).clear()
    with st.expander("New task", icon=":material/add:"):
        known = collection.agents(following())
        if not ready(known, ticking=False):
            return
        agents = {str(agent.id): agent for agent in known.items()}
        if not agents:
            st.page_link(AGENTS, label="There is no agent yet: create one", icon=":material/add:")
            return
        who, what = st.columns(2)
        ids = sorted(agents, key=lambda each: agents[each].name.casefold())
        chosen = who.selectbox(
            "Agent", ids, index=None, format_func=lambda each: agents[each].name, key="playcall_task_agent",
            placeholder="who does it?",
        )  # fmt: skip
        operations = operations_of(agents[chosen]) if chosen is not None else ()
        operation = what.selectbox(
            "Operation", operations, index=None, key=f"playcall_task_operation:{chosen}", placeholder="does what?",
            accept_new_options=chosen is not None and agents[chosen].model is not None, disabled=chosen is None,
        )  # fmt: skip
        if chosen is not None and operation is not None:
            _show_form(agents[chosen], operation)


def _forms_of(agent: Agent, operation: str) -> tuple[FormView, FormView]:
    """Of its parameters, and of what is said of it."""
    tool = next((each for each in collection.tools(following()).items() if each.name == operation), None)
    schema, defaults = ({}, {}) if tool is None else (tool.parameters, tool.defaults)
    version = "" if tool is None else f"{tool.id}:{tool.version}"
    place = f"task:{agent.id}:{version or operation}"
    return FormView(place, fields_of_schema(schema, defaults)), FormView(f"{place}:about", ABOUT)


def _show_form(agent: Agent, operation: str) -> None:
    if not ready(collection.tools(following()), ticking=False):
        return
    parameters, about = _forms_of(agent, operation)
    with st.form("playcall_new_task", border=False, enter_to_submit=False):
        parameters.show("Not created: see what is said at the fields.")
        about.show("Not created: see what is said at the fields.")
        st.form_submit_button(
            "Create", type="primary", icon=":material/add:", key="playcall_create", on_click=_create,
            args=(agent, operation),
        )  # fmt: skip


def _create(agent: Agent, operation: str) -> None:
    forget(PLACE)
    parameters, about = _forms_of(agent, operation)
    values, more = parameters.read(read_parameters), about.read()
    if values is None or more is None:
        return
    spec = {"agent": str(agent.id), "operation": operation, "parameters": values, **more}
    try:
        task = client().tasks.create(spec, idempotency_key=parameters.command(spec))
    except InvalidRequestError as error:
        parameters.refused(error, PLACE, within=("body", "parameters"))
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[LEFT] = parameters.place, about.place
        st.session_state[GO] = str(task.id)
