"""Agents: cards of all, and one with what it can do, what it did last, and how it is changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.agent_form import changes_of, fields_of_agent, spec_of
from playcall.dashboard.connection import client, errors_shown, following, show_error
from playcall.dashboard.form_view import FormView
from playcall.dashboard.gantt import duration
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import AGENTS, TASKS, TOOLS, Colour, ago, ready, show_status, wanted
from playcall.errors import InvalidRequestError, NameTakenError, NotFoundError, PlaycallError
from playcall.models import Agent, AgentState, Task

PLACE = "agents"
CARDS_SECONDS = 2.0
CARDS = 30
COLUMNS = 3
TASKS_SHOWN = 15
# In the session: the agent that is being changed, as it was when that began.
EDITED = "playcall_agent_edited"
# One was made: the form is emptied when it is seen again, for a click before that is the same command.
MADE = "playcall_agent_made"

STATES: Final[dict[str, tuple[Colour, str]]] = {
    AgentState.CREATED: ("gray", ":material/schedule:"),
    AgentState.READY: ("green", ":material/check_circle:"),
    AgentState.RUNNING: ("blue", ":material/sync:"),
    AgentState.STOPPED: ("orange", ":material/pause_circle:"),
    AgentState.ERROR: ("red", ":material/error:"),
}


def show_state(agent: Agent) -> None:
    colour, icon = STATES.get(str(agent.state), ("gray", ":material/help:"))
    st.badge(plain(str(agent.state)), color=colour, icon=icon)


def tool_names() -> list[str]:
    return [tool.name for tool in collection.tools(following()).items()]


# --- what is done to one ----------------------------------------------------------------------------------------------


def place_of(agent: Agent) -> str:
    return f"agent:{agent.id}"


def start(agent: Agent) -> None:
    try:
        now = client().agents.start(agent.id)
    except PlaycallError as error:
        say(place_of(agent), error)
    else:
        say(place_of(agent), f"It is {now.state}: what waited for it goes on.", "done")


def stop(agent: Agent) -> None:
    try:
        now = client().agents.stop(agent.id)
    except PlaycallError as error:
        say(place_of(agent), error)
    else:
        say(place_of(agent), f"It is {now.state}: what it is doing it finishes, what is queued for it waits.", "done")


def delete(agent: Agent) -> None:
    try:
        client().agents.delete(agent.id)
    except NotFoundError:
        say(PLACE, f"{agent.name} was deleted already.")
    except PlaycallError as error:
        say(place_of(agent), error)
        return
    else:
        say(PLACE, f"{agent.name} was deleted.", "done")
    st.query_params.clear()


def show_start_or_stop(agent: Agent) -> None:
    if agent.state == AgentState.STOPPED:
        st.button(
            "Start", key=f"playcall_start:{agent.id}", icon=":material/play_arrow:", on_click=start, args=(agent,)
        )
        return
    if agent.state == AgentState.ERROR:
        st.button(
            "Start anew", key=f"playcall_start:{agent.id}", icon=":material/replay:", on_click=start, args=(agent,)
        )
    st.button("Stop", key=f"playcall_stop:{agent.id}", icon=":material/pause:", on_click=stop, args=(agent,))


# --- a new one --------------------------------------------------------------------------------------------------------


def new_form() -> FormView:
    return FormView("agent:new", fields_of_agent(tool_names()))


def create() -> None:
    forget(PLACE)
    form = new_form()
    values = form.read()
    if values is None:
        return
    spec = spec_of(values)
    try:
        made = client().agents.create(spec, idempotency_key=form.command(spec))
    except InvalidRequestError as error:
        form.refused(error, PLACE)
    except NameTakenError as error:
        form.taken(error)
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[MADE] = True
        say(PLACE, f"{made.name} was created.", "done")


def show_new() -> None:
    form = new_form()
    if st.session_state.pop(MADE, False):
        form.clear()
    with st.expander("New agent", icon=":material/add:", expanded=bool(form.problems)):
        if not ready(collection.tools(following())):
            return
        with st.form("playcall_new_agent", border=False, enter_to_submit=False):
            form.show("Not created: see what is said at the fields.")
            st.form_submit_button(
                "Create", type="primary", icon=":material/add:", key="playcall_create", on_click=create
            )


# --- all of them ------------------------------------------------------------------------------------------------------


@st.fragment(run_every=CARDS_SECONDS)
def show_cards() -> None:
    known = collection.agents(following())
    if not ready(known):
        return
    text = st.text_input(
        "Search",
        key="playcall_find_agent",
        placeholder="name, description or tool",
        icon=":material/search:",
        live=True,
    )
    looked_for = (text or "").strip().casefold()
    agents = [each for each in known.items() if any(looked_for in part.casefold() for part in words(each))]
    many = len(agents)
    st.caption(f"{many:,} agent{'' if many == 1 else 's'}" + (", the newest" if known.full else ""))
    shown: int = st.session_state.setdefault("playcall_agent_cards", CARDS)
    for first in range(0, min(many, shown), COLUMNS):
        for column, agent in zip(st.columns(COLUMNS), agents[first : first + COLUMNS], strict=False):
            with column:
                show_card(agent)
    if many > shown and st.button(f"Show {min(CARDS, many - shown)} more", key="playcall_more_agents"):
        st.session_state["playcall_agent_cards"] = shown + CARDS
        st.rerun(scope="fragment")
    if not known.items():
        st.info("There is no agent yet. Open «New agent» above to create one.", icon=":material/smart_toy:")


def words(agent: Agent) -> tuple[str, ...]:
    return agent.name, agent.description, *agent.tools


def show_card(agent: Agent) -> None:
    with st.container(border=True, height="stretch", key=f"playcall_agent_{agent.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                AGENTS,
                label=f"**{plain(cut(agent.name, 40))}**",
                icon=":material/smart_toy:",
                query_params={"agent": agent.id},
            )
            show_state(agent)
        st.caption(plain(cut(agent.description, 140)) or "No description")
        st.caption(plain(cut(", ".join(agent.tools), 100)) or "no tools")
        with st.container(horizontal=True):
            show_start_or_stop(agent)
        show_notice(place_of(agent))


# --- one of them ------------------------------------------------------------------------------------------------------


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


def one(id: str) -> Agent:
    """Raises: AgentNotFoundError."""
    return collection.agents(following()).get(id) or client().agents.get(id)


def show_one(id: str) -> None:
    st.page_link(AGENTS, label="All agents", icon=":material/arrow_back:")
    collection.agents(following()).wait()
    try:
        agent = one(id)
    except PlaycallError as error:
        show_error(error)
        return
    st.title(plain(agent.name))
    edited: Agent | None = st.session_state.get(EDITED)
    with st.container(key="agent"):
        show_head(id)
        if edited is not None and edited.id == agent.id:
            show_edit(edited)
        show_tasks(id)


@st.fragment(run_every=CARDS_SECONDS)
def show_head(id: str) -> None:
    with errors_shown():
        agent = one(id)
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
            for name in agent.tools[:40]:
                st.badge(plain(name), color="violet", icon=":material/build:")
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


@st.fragment(run_every=CARDS_SECONDS)
def show_tasks(id: str) -> None:
    st.subheader("Its latest tasks", anchor=False)
    known = collection.tasks(following())
    if not ready(known):
        return
    with errors_shown():
        tasks = [task for task in known.items() if task.agent_id == id][:TASKS_SHOWN]
        if not tasks and known.full:
            tasks = older_tasks(id)
        now = datetime.now(UTC)
        for task in tasks:
            show_task_line(task, now)
        if not tasks:
            st.caption("None yet.")


def older_tasks(id: str) -> list[Task]:
    """Asked for once: what comes later is among the newest."""
    key = f"playcall_older_tasks:{id}"
    if key not in st.session_state:
        st.session_state[key] = list(client().agents.tasks(id, newest_first=True, max_items=TASKS_SHOWN))
    kept: list[Task] = st.session_state[key]
    return kept


def show_task_line(task: Task, now: datetime) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        show_status(str(task.status))
        st.page_link(TASKS, label=plain(cut(task.operation, 60)), query_params={"task": task.id})
        took = "" if task.started_at is None else duration(((task.ended_at or now) - task.started_at).total_seconds())
        said = cut(task.error.message if task.error is not None else task.description, 100)
        st.caption(" · ".join(each for each in (ago(task.created_at, now), took, plain(said)) if each))


if (asked_for := wanted("agent")) is not None:
    show_one(asked_for)
else:
    st.title("Agents")
    show_new()
    show_notice(PLACE)
    with st.container(key="agents"):
        show_cards()
