"""The table of runs, the newest first, and what is looked for in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, following
from playcall.dashboard.drawing import clickable
from playcall.dashboard.errors_shown import errors_shown
from playcall.dashboard.finding import RunWish, with_older
from playcall.dashboard.gantt import duration
from playcall.dashboard.showing import RUNS, ago, ready
from playcall.models import Run, RunStatus

__all__ = ["show_table", "took"]

TABLE_SECONDS: Final = 2.0
TABLE_ROWS: Final = 200
FOUND_AT_MOST: Final = 200
# In the session: what was looked for, and what the backend found for it; and the run whose row was clicked.
FOUND: Final = "playcall_found_runs"
GO: Final = "playcall_go_to_run"


def found(wish: RunWish) -> tuple[Run, ...]:
    """From what is known; where there are older ones, the backend is asked for them, once for each wish."""
    known = collection.runs(following())
    fitting = tuple(run for run in known.items() if wish.fits(run))
    if not known.full or wish == RunWish():
        return fitting
    asked: tuple[RunWish, tuple[Run, ...]] | None = st.session_state.get(FOUND)
    if asked is None or asked[0] != wish:
        listed = client().runs.list(
            status=wish.status, playbook=wish.playbook_id, newest_first=True, max_items=FOUND_AT_MOST
        )
        asked = st.session_state[FOUND] = (wish, tuple(listed))
    return with_older(fitting, asked[1])


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
    with errors_shown():
        runs = found(wish)
        st.caption(f"{len(runs):,} runs" + (f", the newest {TABLE_ROWS} are shown" if len(runs) > TABLE_ROWS else ""))
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
