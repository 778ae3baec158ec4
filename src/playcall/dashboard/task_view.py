"""One task as it goes on: how far it is, what it gives, and why it failed; on its own page, and below a tool that is tried."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from playcall.dashboard.connection import client, following
from playcall.dashboard.gantt import duration
from playcall.dashboard.json_view import SHOWN_CHARACTERS, as_text
from playcall.dashboard.notices import say, settle, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import AGENTS, RUNS, TASKS, ago, ready, show_status
from playcall.dashboard.task_actions import cancel
from playcall.dashboard.task_model import TaskModel, task_model
from playcall.errors import PlaycallError
from playcall.models import Task, TaskStatus

__all__ = ["LIVE_SECONDS", "show_live_task", "show_task", "show_value"]

LIVE_SECONDS = 1.0
ERROR_CHARACTERS = 2_000
TITLE_CHARACTERS = 80
TALL_LINES = 24
TALL_PIXELS = 420


def show_live_task(task_id: str, *, alone: bool) -> None:
    """Ticks for as long as the task goes on. `alone`: on its own page, with its title and parameters."""
    model = task_model(following(), task_id)
    model.wait()
    ticking = not model.over
    st.fragment(_tick, run_every=LIVE_SECONDS if ticking else None)(task_id, ticking, alone)


def _tick(task_id: str, ticking: bool, alone: bool) -> None:
    """Each asks for the model anew: the one of the tick before may have been let go."""
    model = task_model(following(), task_id)
    if model.over == ticking:  # nothing moves any more; or what had ended is read anew
        settle(_place(task_id))
        st.rerun()
    if alone:  # here, since a page may be there before its task is
        st.title("Tasks" if model.task is None else plain(cut(model.task.operation, TITLE_CHARACTERS)))
    if ready(model) and (task := model.task) is not None:
        show_task(task, model, alone=alone)


def show_task(task: Task, model: TaskModel, *, alone: bool) -> None:
    now = datetime.now(UTC)
    with st.container(horizontal=True, vertical_alignment="center"):
        show_status(str(task.status))
        st.caption(" · ".join(each for each in _facts(task, now) if each))
        if task.agent_id is not None and task.agent is not None:
            st.page_link(AGENTS, label=plain(task.agent), query_params={"agent": task.agent_id})
        if task.run_id is not None:
            st.page_link(RUNS, label="its run", query_params={"run": task.run_id})
        if not alone:
            st.page_link(TASKS, label="its task", query_params={"task": task.id})
    if task.description:
        st.text(task.description)
    if (progress := model.progress) is not None and task.ended_at is None:
        share = min(1.0, progress.done / progress.total) if progress.total else 0.0
        of = "" if progress.total is None else f" of {progress.total:,g}"
        st.progress(max(0.0, share), text=plain(f"{progress.done:,g}{of} {progress.message}"))
    if task.ended_at is None and task.run_id is None:  # a run's is cancelled with the run
        st.button("Cancel", key=f"playcall_cancel:{task.id}", icon=":material/stop:", on_click=_cancel, args=(task,))
    show_notice(_place(task.id))
    if task.error is not None and task.status != TaskStatus.CANCELLED:
        st.error(plain(f"{task.error.code}: {cut(task.error.message, ERROR_CHARACTERS)}"), icon=":material/error:")
    if model.text:
        st.caption("being written")
        st.code(model.text, language=None, wrap_lines=True, height=TALL_PIXELS)
    if alone:
        st.caption("parameters")
        show_value(task.parameters)
    if task.output is not None:
        st.caption("output")
        show_value(task.output)
    elif task.status == TaskStatus.COMPLETED:
        st.caption("It gave no output.")


def show_value(value: object) -> None:
    """A value of users, as text; of a long one its beginning."""
    text, whole = as_text(value)
    st.code(
        text,
        language=None if isinstance(value, str) else "json",
        wrap_lines=True,
        height=TALL_PIXELS if text.count("\n") > TALL_LINES or len(text) > ERROR_CHARACTERS else "content",
    )
    if not whole:
        st.caption(f"The first {SHOWN_CHARACTERS:,} characters.")


def _facts(task: Task, now: datetime) -> tuple[str, ...]:
    if task.started_at is None:
        when = f"made {ago(task.created_at, now)}"
    else:
        took = duration(((task.ended_at or now) - task.started_at).total_seconds())
        when = f"begun {ago(task.started_at, now)} · {'took ' if task.ended_at else ''}{took}"
    limit = "" if task.timeout_seconds is None else f"at most {duration(task.timeout_seconds)}"
    return when, limit, plain(str(task.id))


def _cancel(task: Task) -> None:
    try:
        said = cancel(client(), task.id)
    except PlaycallError as error:
        say(_place(task.id), error)
    else:
        say(_place(task.id), said.sentence, "info" if said.good else "wrong")


def _place(task_id: str) -> str:
    return f"task:{task_id}"
