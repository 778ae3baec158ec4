"""The live page of one run: how it stands, its steps over time, its logs, tasks, artifacts and values."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from playcall.dashboard import artifact_view, gantt, log_view, run_logs, steps_view
from playcall.dashboard.connection import client, following
from playcall.dashboard.drawing import chart, table
from playcall.dashboard.errors_shown import errors_shown
from playcall.dashboard.notices import forget, say, settle, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.run_actions import Action, actions_for, do
from playcall.dashboard.run_model import ARTIFACTS_KEPT, RunModel, run_model
from playcall.dashboard.run_table import took
from playcall.dashboard.showing import PLAYBOOKS, RUNS, ago, ready, show_status
from playcall.dashboard.task_view import show_value
from playcall.errors import PlaycallError, RequestError
from playcall.models import LogLevel, Run, RunStatus
from playcall.status import ConnectionState

__all__ = ["show_run"]

LIVE_SECONDS: Final = 1.0
TASK_ROWS: Final = 200
LINES: Final = 200
ARTIFACT_ROWS: Final = 200
SECTIONS: Final = ("Logs", "Steps", "Tasks", "Artifacts", "Inputs and output")
ACTIONS: Final[tuple[tuple[Action, str, str], ...]] = (
    ("pause", "Pause", ":material/pause:"),
    ("resume", "Resume", ":material/play_arrow:"),
    ("cancel", "Cancel", ":material/stop:"),
    ("retry", "Retry", ":material/replay:"),
)
# In the session, with the place after it: the idempotency key of a click; and that it was answered. Then the next click is
# another command, once the page was seen again; a click before that, or after a lost answer, is the same one.
COMMAND: Final = "playcall_command:"
ANSWERED: Final = "playcall_answered:"


def show_run(run_id: str) -> None:
    """What moves is drawn again and again until the run has ended."""
    model = run_model(following(), run_id)
    model.wait()
    ticking = not model.over
    st.fragment(show_live, run_every=LIVE_SECONDS if ticking else None)(run_id, ticking)


def act(action: Action, run: Run) -> None:
    place = f"run:{run.id}"
    command: str = st.session_state.setdefault(COMMAND + place, uuid.uuid4().hex)
    try:
        said = do(client(), action, run, command=f"dashboard-{command}")
    except PlaycallError as error:
        say(place, error)
        st.session_state[ANSWERED + place] = not (isinstance(error, RequestError) and error.may_have_happened)
        return
    st.session_state[ANSWERED + place] = True
    if said.run_id is not None:
        say(f"run:{said.run_id}", said.sentence, "done")
        st.session_state["playcall_go_to_run"] = said.run_id
    else:
        say(place, said.sentence, "info" if said.good else "wrong")


def show_live(run_id: str, ticking: bool) -> None:
    """Everything that moves, from what is known: nothing is asked of the backend for it.

    Each tick asks for the model anew: the one of the tick before may have been let go.
    """
    if (go_to := st.session_state.pop("playcall_go_to_run", None)) is not None:
        st.switch_page(RUNS, query_params={"run": go_to})
    model = run_model(following(), run_id)
    if model.over == ticking:  # nothing moves any more; or what had ended is read anew
        settle(f"run:{run_id}")
        st.rerun()
    run = model.run
    st.title("Runs" if run is None else plain(run.playbook_name))
    if not ready(model) or (run := model.run) is None:
        return
    if st.session_state.pop(ANSWERED + f"run:{run.id}", False):
        st.session_state.pop(COMMAND + f"run:{run.id}", None)
    with st.container(key="playcall_head"):
        show_head(run)
    show_timeline(model, run)
    controls = st.container(horizontal=True, vertical_alignment="center")
    section = controls.segmented_control(
        "Section", SECTIONS, default=SECTIONS[0], required=True, key="playcall_section", label_visibility="collapsed"
    )
    with errors_shown():
        match section:
            case "Steps":
                show_steps(model, run)
            case "Tasks":
                show_tasks(model)
            case "Artifacts":
                show_artifacts(model)
            case "Inputs and output":
                show_values(run)
            case _:
                show_logs(model, controls)


def show_head(run: Run) -> None:
    now = datetime.now(UTC)
    with st.container(horizontal=True, vertical_alignment="center"):
        show_status(run.status)
        if run.wish is not None and run.ended_at is None:
            st.badge(plain(f"{run.wish} asked for"), color="orange", icon=":material/hourglass:")
        st.caption(
            " · ".join(
                each
                for each in (
                    f"begun {ago(run.started_at, now)}" if run.started_at else f"made {ago(run.created_at, now)}",
                    f"took {took(run, now)}" if run.ended_at else took(run, now),
                    plain(str(run.id)),
                )
                if each
            )
        )
        st.page_link(PLAYBOOKS, label="its playbook", query_params={"playbook": run.playbook_id})
        if run.retry_of is not None:
            st.page_link(RUNS, label="retry of an earlier run", query_params={"run": run.retry_of})
    share = run.steps_finished / run.steps_total if run.steps_total else 0.0
    st.progress(min(1.0, share), text=f"{run.steps_finished:,} of {run.steps_total:,} steps")
    possible = actions_for(run)
    with st.container(horizontal=True):
        for action, label, icon in ACTIONS:
            if action in possible:
                st.button(label, key=f"playcall_{action}:{run.id}", icon=icon, on_click=act, args=(action, run))
    show_notice(f"run:{run.id}")
    if run.error is not None and run.status != RunStatus.CANCELLED:
        st.error(plain(f"{run.error.code}: {cut(run.error.message, 2_000)}"), icon=":material/error:")
    state = client().status.current.state
    if run.ended_at is None and state is not ConnectionState.ONLINE:
        st.caption(
            f":orange[:material/cloud_off: The connection is {plain(state)}: this is the run as it was last heard of.]"
        )


def window_key(run: Run) -> str:
    return f"playcall_window:{run.id}"


def show_timeline(model: RunModel, run: Run) -> None:
    steps = model.steps()
    chosen: int | None = st.session_state.get(window_key(run))
    window = gantt.window_of(steps, chosen)
    rows = gantt.rows(steps[window.start : window.end], run.ended_at or datetime.now(UTC), first=window.start)
    if rows:
        chart(gantt.gantt(rows), key="playcall_gantt", alt="The steps over time")
    else:
        st.caption("No step is known yet.")
    if window.total > gantt.WINDOW:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Earlier steps", key="playcall_steps_back", on_click=move, args=(run, window.start - gantt.WINDOW)
            )
            st.button("Later steps", key="playcall_steps_on", on_click=move, args=(run, window.end))
            if chosen is not None:
                st.button("Follow the run", key="playcall_steps_follow", on_click=move, args=(run, None))
            st.caption(f"steps {window.start + 1:,} to {window.end:,} of {window.total:,}")


def move(run: Run, start: int | None) -> None:
    st.session_state[window_key(run)] = None if start is None else max(0, start)


def show_steps(model: RunModel, run: Run) -> None:
    """The steps of the timeline's window, as text."""
    steps = model.steps()
    window = gantt.window_of(steps, st.session_state.get(window_key(run)))
    st.html(steps_view.as_html(steps[window.start : window.end], run.ended_at or datetime.now(UTC)))


def show_tasks(model: RunModel) -> None:
    tasks = model.tasks()
    if not tasks:
        st.caption("None yet.")
        return
    if len(tasks) > TASK_ROWS:
        st.caption(f"The newest {TASK_ROWS} are shown.")
    now = datetime.now(UTC)
    table(
        [
            {
                "step": task.step_id or "",
                "who": task.agent or "",
                "operation": cut(task.operation, 80),
                "status": str(task.status),
                "done": None if progress is None or not progress.total else min(1.0, progress.done / progress.total),
                "says": cut(task.error.message if task.error else progress.message if progress else "", 200),
                "took": ""
                if task.started_at is None
                else gantt.duration(((task.ended_at or now) - task.started_at).total_seconds()),
            }
            for task, progress in tasks[:TASK_ROWS]
        ],
        columns={"done": st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent", width="small")},
    )


# --- logs -------------------------------------------------------------------------------------------------------------


def page_key(run_id: str, level: LogLevel) -> str:
    return f"playcall_log_page:{run_id}:{level}"


def read_earlier(run_id: str, epoch: str, before: int, level: LogLevel) -> None:
    place = f"logs:{run_id}"
    forget(place)
    try:
        hidden = run_logs.hidden_below(level)
        page = run_logs.earlier_lines(client(), run_id, epoch, before, hidden=hidden, want=LINES)
    except PlaycallError as error:
        say(place, error)
    else:
        st.session_state[page_key(run_id, level)] = page


def leave_page(run_id: str) -> None:
    """Of all levels: whoever comes back to one follows the run again."""
    forget(f"logs:{run_id}")
    for level in run_logs.LEVELS:
        st.session_state.pop(page_key(run_id, level), None)


def show_logs(model: RunModel, controls: DeltaGenerator) -> None:
    with controls:
        level = LogLevel(
            st.segmented_control(
                "Level", [str(each) for each in run_logs.LEVELS], default="debug", required=True, label_visibility="collapsed",
                key="playcall_level", on_change=leave_page, args=(model.run_id,),
            )
            or "debug"
        )  # fmt: skip
        page: run_logs.LogPage | None = st.session_state.get(page_key(model.run_id, level))
        if page is None:
            hidden = run_logs.hidden_below(level)
            lines = [line for line in model.lines() if line.level not in hidden]
            cut_off = len(lines) > LINES
            lines = lines[-LINES:]
            before = lines[0].seq - 1 if cut_off else model.lines_from
        else:
            lines, before = list(page.lines[-LINES:]), page.before
            before = lines[0].seq - 1 if len(page.lines) > LINES else page.before
        if before > 0:
            st.button(
                "Earlier lines", key="playcall_earlier", icon=":material/arrow_upward:",
                on_click=read_earlier, args=(model.run_id, model.epoch, before, level),
            )  # fmt: skip
        if page is not None:
            st.button(
                "Newest lines", key="playcall_newest", icon=":material/arrow_downward:",
                on_click=leave_page, args=(model.run_id,),
            )  # fmt: skip
    show_notice(f"logs:{model.run_id}")
    with st.container(height=420, border=True, key="playcall_log", autoscroll=page is None):
        if lines:
            st.html(log_view.as_html(lines))
        else:
            st.caption("No lines.")


# --- artifacts, values ------------------------------------------------------------------------------------------------


def show_artifacts(model: RunModel) -> None:
    artifacts = model.artifacts()
    if not artifacts:
        st.caption("None yet.")
        return
    known = len(artifacts)
    if known > ARTIFACT_ROWS:
        text = (st.text_input("Find", key="playcall_find_artifact", placeholder="part of a name") or "").casefold()
        artifacts = tuple(each for each in artifacts if text in each.name.casefold())
        st.caption(
            f"{len(artifacts):,} files"
            + (f", the first {ARTIFACT_ROWS} are shown" if len(artifacts) > ARTIFACT_ROWS else "")
            + (f"; looked for among the first {ARTIFACTS_KEPT:,} of the run" if known == ARTIFACTS_KEPT else "")
        )
    st.html(artifact_view.as_html(model.run_id, artifacts[:ARTIFACT_ROWS]))


def show_values(run: Run) -> None:
    if not run.inputs:
        st.caption("It took no inputs.")
    for name, value in run.inputs.items():
        st.caption(plain(name))
        show_value(value)
    if run.output is not None:
        st.caption("output")
        show_value(run.output)
    else:
        st.caption("It has no output yet." if run.ended_at is None else "It gave no output.")
