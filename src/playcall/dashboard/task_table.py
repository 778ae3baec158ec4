"""The table of tasks, the newest first, and what is looked for in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import following
from playcall.dashboard.drawing import clickable
from playcall.dashboard.finding import TaskWish, how_many
from playcall.dashboard.gantt import duration
from playcall.dashboard.plain import cut
from playcall.dashboard.showing import TASKS, ago, ready
from playcall.models import Task, TaskStatus

__all__ = ["GO", "go_where_it_was_clicked", "show_rows", "show_table"]

TABLE_SECONDS: Final = 2.0
TABLE_ROWS: Final = 200
HIGH_ROWS: Final = 15
HEIGHT_PIXELS: Final = 600
# In the session: the task to go to.
GO: Final = "playcall_go_to_task"


@st.fragment(run_every=TABLE_SECONDS)
def show_table() -> None:
    go_where_it_was_clicked()
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
    found = collection.tasks(following(), wish)
    if found is not known and not ready(found):
        return
    tasks = [task for task in found.items() if wish.fits(task)]
    st.caption(how_many(len(tasks), "task", more=found.full, shown=TABLE_ROWS))
    if not tasks:
        return
    show_rows(tasks[:TABLE_ROWS], key=f"playcall_tasks:{wish.status}:{wish.agent_id}:{wish.run_id}")
    st.caption("Click a row to open the task.")


def go_where_it_was_clicked() -> None:
    """At the beginning of a fragment that shows rows."""
    if (task_id := st.session_state.pop(GO, None)) is not None:
        st.switch_page(TASKS, query_params={"task": task_id})


def show_rows(tasks: Sequence[Task], *, key: str) -> None:
    """A click on one leads to it."""
    now = datetime.now(UTC)
    runs = {str(run.id): run.playbook_name for run in collection.runs(following()).items()}
    clickable(
        [_row(task, now, runs) for task in tasks],
        [str(task.id) for task in tasks],
        _go_to,
        key=key,
        columns={
            "status": st.column_config.TextColumn(width="small"),
            "created": st.column_config.TextColumn(width="small"),
            "took": st.column_config.TextColumn(width="small"),
            "about": st.column_config.TextColumn(width="medium"),
        },
        height=HEIGHT_PIXELS if len(tasks) > HIGH_ROWS else None,
    )


def _go_to(task_id: str) -> None:
    st.session_state[GO] = task_id


def _row(task: Task, now: datetime, runs: Mapping[str, str]) -> dict[str, object]:
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
