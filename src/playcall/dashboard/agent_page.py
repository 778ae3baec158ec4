"""One agent: what it can do, what it did last, and how it is changed."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.agent_form import changes_of, fields_of_agent
from playcall.dashboard.agent_view import place_of, show_start_or_stop, show_state
from playcall.dashboard.connection import client, following
from playcall.dashboard.errors_shown import errors_shown, show_error
from playcall.dashboard.finding import TaskWish
from playcall.dashboard.form_view import FormView
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.plain import plain
from playcall.dashboard.showing import AGENTS, TOOLS, ago, ready
from playcall.dashboard.task_table import go_where_it_was_clicked, show_rows
from playcall.errors import InvalidRequestError, NameTakenError, NotFoundError, PlaycallError
from playcall.models import Agent

__all__ = ["ALL", "show_agent", "tool_names"]

ALL: Final = "agents"
"""Where is said what came of a click that leads to all of them."""
SECONDS: Final = 2.0
TASKS_SHOWN: Final = 15
TOOLS_SHOWN: Final = 40
# In the session: the agent that is being changed, as it was when that began.
EDITED: Final = "playcall_agent_edited"


def one(id: str) -> Agent:
    """Raises: AgentNotFoundError."""
    return collection.agents(following()).get(id) or client().agents.get(id)


def show_agent(id: str) -> None:
    st.page_link(AGENTS, label="All agents", icon=":material/arrow_back:")
    collection.agents(following()).wait()
    try:
        agent = one(id)
    except PlaycallError as error:
        st.title("Agents")
        show_error(error)
        return
    edited: Agent | None = st.session_state.get(EDITED)
    with st.container(key="agent"):
        show_head(id)
        if edited is not None and edited.id == agent.id:
            show_edit(edited)
        show_tasks(id)


@st.fragment(run_every=SECONDS)
def show_head(id: str) -> None:
    """With its name, which may change while it is looked at."""
    with errors_shown():
        try:
            agent = one(id)
        except NotFoundError:
            st.rerun()  # it was deleted meanwhile: the page says so, once
        st.title(plain(agent.name))
        with st.container(horizontal=True, vertical_alignment="center"):
            show_state(agent)
            model = f"model {agent.model}" if agent.model else "no model"
            about = f"{plain(agent.type)} · {plain(model)} · version {agent.version} · changed {ago(agent.updated_at)}"
            st.caption(f"{about} · {plain(str(agent.id))}")
        if agent.description:
            st.text(agent.description)
        if agent.instructions:
            with st.expander("Instructions"):
                st.text(agent.instructions)
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            for name in agent.tools[:TOOLS_SHOWN]:
                st.badge(plain(name), color="violet", icon=":material/build:")
            if len(agent.tools) > TOOLS_SHOWN:
                st.caption(f"and {len(agent.tools) - TOOLS_SHOWN:,} more")
            if not agent.tools:
                st.page_link(TOOLS, label="It has no tools yet", icon=":material/build:")
        with st.container(horizontal=True):
            show_start_or_stop(agent)
            if st.button("Edit", key="playcall_edit", icon=":material/edit:", on_click=edit, args=(agent,)):
                st.rerun()
            with st.popover("Delete", icon=":material/delete:"):
                st.text(f"Delete {agent.name} for good?")
                if st.button("Delete it", type="primary", key="playcall_delete", on_click=delete, args=(agent,)):
                    st.rerun()
        show_notice(place_of(agent))


def show_edit(agent: Agent) -> None:
    with st.form("playcall_edit_agent", enter_to_submit=False):
        edit_form(agent).show("Not changed: see what is said at the fields.")
        with st.container(horizontal=True):
            st.form_submit_button(
                "Save", type="primary", icon=":material/check:", key="playcall_save", on_click=save, args=(agent,)
            )
            st.form_submit_button("Discard", key="playcall_discard", on_click=edit, args=(None,))


# --- changing it ------------------------------------------------------------------------------------------------------


def tool_names() -> list[str]:
    return [tool.name for tool in collection.tools(following()).items()]


def edit(agent: Agent | None) -> None:
    """Begins with this one; None: ends."""
    if agent is None:
        st.session_state.pop(EDITED, None)
    else:
        edit_form(agent).clear()
        st.session_state[EDITED] = agent


def edit_form(agent: Agent) -> FormView:
    return FormView(f"agent:{agent.id}", fields_of_agent(tool_names(), agent))


def save(agent: Agent) -> None:
    """`agent` as it was when the form was filled in with it."""
    place = place_of(agent)
    forget(place)
    form = edit_form(agent)
    values = form.read()
    if values is None:
        return
    changes = changes_of(agent, values)
    try:
        if changes:
            client().agents.update(agent.id, changes)
    except InvalidRequestError as error:
        form.refused(error, place)
    except NameTakenError as error:
        form.taken(error)
    except PlaycallError as error:
        say(place, error)
    else:
        edit(None)
        say(place, f"Changed: {', '.join(changes)}." if changes else "Nothing was changed.", "done")


def delete(agent: Agent) -> None:
    try:
        client().agents.delete(agent.id)
    except NotFoundError:
        say(ALL, f"{agent.name} was deleted already.")
    except PlaycallError as error:
        say(place_of(agent), error)
        return
    else:
        say(ALL, f"{agent.name} was deleted.", "done")
    st.query_params.clear()


# --- its tasks --------------------------------------------------------------------------------------------------------


@st.fragment(run_every=SECONDS)
def show_tasks(id: str) -> None:
    go_where_it_was_clicked()
    st.subheader("Its latest tasks", anchor=False)
    wish = TaskWish(agent_id=id)
    found = collection.tasks(following(), wish)
    if not ready(found):
        return
    tasks = [task for task in found.items() if wish.fits(task)]
    if tasks:
        show_rows(tasks[:TASKS_SHOWN], key=f"playcall_tasks_of:{id}")
    else:
        st.caption("None yet.")
