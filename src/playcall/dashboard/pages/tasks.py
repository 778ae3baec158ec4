"""Tasks: a table of the newest, one of them as it goes on, and the way in for new ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, errors_shown, following
from playcall.dashboard.drawing import clickable
from playcall.dashboard.finding import TaskWish
from playcall.dashboard.form_view import FormView
from playcall.dashboard.gantt import duration
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.schema_form import fields_of_schema, read_parameters
from playcall.dashboard.showing import AGENTS, TASKS, ago, ready, wanted
from playcall.dashboard.task_form import ABOUT, operations_of
from playcall.dashboard.task_model import task_model
from playcall.dashboard.task_view import show_live_task
from playcall.errors import InvalidRequestError, PlaycallError
from playcall.models import Agent, Task, TaskStatus

PLACE = "tasks"
TABLE_SECONDS = 2.0
TABLE_ROWS = 200
FOUND_AT_MOST = 200
# In the session: the task to go to; and the forms by which it was made. A second click that was made before the page
# could be left is the same command, so they are emptied only when they would be seen again.
GO = "playcall_go_to_task"
LEFT = "playcall_task_forms_left"


# --- a new one --------------------------------------------------------------------------------------------------------


def show_new() -> None:
    with st.expander("New task", icon=":material/add:"):
        known = collection.agents(following())
        if not ready(known):
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
            show_form(agents[chosen], operation)


def forms_of(agent: Agent, operation: str) -> tuple[FormView, FormView]:
    """Of its parameters, and of what is said of it."""
    tool = next((each for each in collection.tools(following()).items() if each.name == operation), None)
    schema, defaults = ({}, {}) if tool is None else (tool.parameters, tool.defaults)
    version = "" if tool is None else f"{tool.id}:{tool.version}"
    place = f"task:{agent.id}:{version or operation}"
    return FormView(place, fields_of_schema(schema, defaults)), FormView(f"{place}:about", ABOUT)


def show_form(agent: Agent, operation: str) -> None:
    if not ready(collection.tools(following())):
        return
    parameters, about = forms_of(agent, operation)
    with st.form("playcall_new_task", border=False, enter_to_submit=False):
        parameters.show("Not created: see what is said at the fields.")
        about.show("Not created: see what is said at the fields.")
        st.form_submit_button(
            "Create", type="primary", icon=":material/add:", key="playcall_create", on_click=create,
            args=(agent, operation),
        )  # fmt: skip


def create(agent: Agent, operation: str) -> None:
    forget(PLACE)
    parameters, about = forms_of(agent, operation)
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


# --- all of them ------------------------------------------------------------------------------------------------------


def found(wish: TaskWish) -> tuple[Task, ...]:
    """From what is known; where that is not all, the backend is asked, once for each change."""
    known = collection.tasks(following())
    if not known.full or wish == TaskWish():
        return tuple(task for task in known.items() if wish.fits(task))
    asked = known.version, wish
    kept: tuple[object, tuple[Task, ...]] | None = st.session_state.get("playcall_tasks_found")
    if kept is None or kept[0] != asked:
        newest = client().tasks.list(
            status=wish.status, agent=wish.agent_id, run=wish.run_id, newest_first=True, max_items=FOUND_AT_MOST
        )
        kept = asked, tuple(newest)
        st.session_state["playcall_tasks_found"] = kept
    return kept[1]


def go_to(task_id: str) -> None:
    st.session_state[GO] = task_id


@st.fragment(run_every=TABLE_SECONDS)
def show_table() -> None:
    if (task_id := st.session_state.pop(GO, None)) is not None:
        st.switch_page(TASKS, query_params={"task": task_id})
    known = collection.tasks(following())
    if not ready(known):
        return
    names = {str(task.agent_id): task.agent or "" for task in reversed(known.items()) if task.agent_id is not None}
    by_status, by_agent, by_run = st.columns([1, 1, 1.4])
    wish = TaskWish(
        by_status.selectbox(
            "Status", [str(each) for each in TaskStatus], index=None, key="playcall_task_status", placeholder="any"
        ),
        by_agent.selectbox(
            "Agent", list(names), index=None, format_func=names.__getitem__, key="playcall_task_of", placeholder="any"
        ),
        (by_run.text_input("Run", key="playcall_task_run", placeholder="run_…, its id") or "").strip() or None,
    )
    with errors_shown():
        tasks = found(wish)
        many = f"{len(tasks):,} task{'' if len(tasks) == 1 else 's'}"
        st.caption(many + (f", the newest {TABLE_ROWS} are shown" if len(tasks) > TABLE_ROWS else ""))
        if not tasks:
            return
        now = datetime.now(UTC)
        shown = tasks[:TABLE_ROWS]
        runs = {str(run.id): run.playbook_name for run in collection.runs(following()).items()}
        clickable(
            [row(task, now, runs) for task in shown],
            [str(task.id) for task in shown],
            go_to,
            key=f"playcall_tasks:{wish.status}:{wish.agent_id}:{wish.run_id}",
            columns={
                "status": st.column_config.TextColumn(width="small"),
                "created": st.column_config.TextColumn(width="small"),
                "took": st.column_config.TextColumn(width="small"),
                "about": st.column_config.TextColumn(width="medium"),
            },
            height=600 if len(shown) > 15 else None,
        )
        st.caption("Click a row to open the task.")


def row(task: Task, now: datetime, runs: Mapping[str, str]) -> dict[str, object]:
    ran = task.started_at is not None
    return {
        "operation": cut(task.operation, 100),
        "agent": task.agent or "",
        "status": str(task.status),
        "created": ago(task.created_at, now),
        "took": duration(((task.ended_at or now) - task.started_at).total_seconds()) if ran and task.started_at else "",
        "about": cut(task.error.message if task.error is not None else task.description, 200),
        "run": "" if task.run_id is None else runs.get(str(task.run_id), str(task.run_id)),
    }


# --- one of them ------------------------------------------------------------------------------------------------------


def show_one(task_id: str) -> None:
    st.page_link(TASKS, label="All tasks", icon=":material/arrow_back:")
    model = task_model(following(), task_id)
    model.wait()
    if model.task is not None:
        st.title(plain(cut(model.task.operation, 80)))
    with st.container(key="task"):
        show_live_task(model, alone=True)


if (asked_for := wanted("task")) is not None:
    show_one(asked_for)
else:
    if GO not in st.session_state:
        for place in st.session_state.pop(LEFT, ()):
            FormView(place, ()).clear()
    st.title("Tasks")
    show_new()
    show_notice(PLACE)
    with st.container(key="tasks"):
        show_table()
