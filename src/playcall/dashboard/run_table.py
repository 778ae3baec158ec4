"""The table of runs, the newest first, and what is looked for in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import following
from playcall.dashboard.drawing import clickable
from playcall.dashboard.finding import RunWish, how_many
from playcall.dashboard.gantt import duration
from playcall.dashboard.showing import RUNS, ago, ready
from playcall.models import Run, RunStatus

__all__ = ["show_table", "took"]

TABLE_SECONDS: Final = 2.0
TABLE_ROWS: Final = 200
# In the session: the run whose row was clicked.
GO: Final = "playcall_go_to_run"


@st.fragment(run_every=TABLE_SECONDS)
def show_table() -> None:
    if (run_id := st.session_state.pop(GO, None)) is not None:
        st.switch_page(RUNS, query_params={"run": run_id})
    known = collection.runs(following())
    if not ready(known):
        return
    names = {str(run.playbook_id): run.playbook_name for run in reversed(known.items())}
    by_status, by_playbook = st.columns([1, 2])
    wish = RunWish(
        by_status.selectbox(
            "Status", [str(each) for each in RunStatus], index=None, key="playcall_status", placeholder="any"
        ),
        by_playbook.selectbox(
            "Playbook", list(names), index=None, format_func=names.__getitem__, key="playcall_of", placeholder="any"
        ),
    )
    found = collection.runs(following(), wish)
    if found is not known and not ready(found):
        return
    runs = [run for run in found.items() if wish.fits(run)]
    st.caption(how_many(len(runs), "run", more=found.full, shown=TABLE_ROWS))
    if not runs:
        return
    now = datetime.now(UTC)
    clickable(
        [row(run, now) for run in runs[:TABLE_ROWS]],
        [str(run.id) for run in runs[:TABLE_ROWS]],
        _go_to,
        key=f"playcall_runs:{wish.status}:{wish.playbook_id}",
        columns={
            "progress": st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent", width="small"),
            "started": st.column_config.TextColumn(width="small"),
        },
        height=600 if len(runs) > 15 else None,
    )
    st.caption("Click a row to open the run.")


def _go_to(run_id: str) -> None:
    st.session_state[GO] = run_id


def row(run: Run, now: datetime) -> dict[str, object]:
    return {
        "playbook": run.playbook_name,
        "status": str(run.status),
        "progress": run.steps_finished / run.steps_total if run.steps_total else 0.0,
        "steps": f"{run.steps_finished:,} of {run.steps_total:,}",
        "started": ago(run.started_at or run.created_at, now),
        "took": took(run, now),
        "run": str(run.id),
    }


def took(run: Run, now: datetime) -> str:
    if run.started_at is None:
        return ""
    return duration(((run.ended_at or now) - run.started_at).total_seconds())
