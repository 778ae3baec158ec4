"""One playbook: its steps drawn, its YAML, its inputs and its runs."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, following
from playcall.dashboard.drawing import graph, table
from playcall.dashboard.finding import RunWish, how_many
from playcall.dashboard.new_playbook import PLACE
from playcall.dashboard.notices import say
from playcall.dashboard.plain import plain
from playcall.dashboard.playbook_yaml import as_yaml
from playcall.dashboard.showing import RUN, RUNS, ago, ready, show_status, show_tags
from playcall.dashboard.step_graph import MOST_STEPS, step_graph, who_does
from playcall.errors import NotFoundError, PlaycallError
from playcall.models import Playbook, UnknownInput

__all__ = ["read_playbook", "show_playbook"]

COLOURED_CHARACTERS: Final = 50_000
"""Of YAML; to colour more takes a browser seconds."""
LINES_SHOWN: Final = 40
RUNS_SHOWN: Final = 10
RUNS_SECONDS: Final = 2.0
# In the session: a playbook of more steps than are kept for everybody.
LARGE: Final = "playcall_large_playbook"


def delete(id: str, name: str) -> None:
    try:
        client().playbooks.delete(id)
    except NotFoundError:
        say(PLACE, f"{name} was deleted already.")
    except PlaycallError as error:
        say(PLACE, error)
        return
    else:
        say(PLACE, f"{name} was deleted.", "done")
    st.query_params.clear()


def read_playbook(id: str) -> Playbook:
    """With all its steps. Raises: PlaybookNotFoundError."""
    known = collection.playbooks(following()).get(id)
    if known is not None and known.steps:
        return known
    held: Playbook | None = st.session_state.get(LARGE)
    if held is None or known is None or (held.id, held.version) != (known.id, known.version):
        held = st.session_state[LARGE] = client().playbooks.get(id)
    return held


def show_playbook(playbook: Playbook) -> None:
    st.title(plain(playbook.name))
    if playbook.description:
        st.text(playbook.description)
    show_tags(playbook.tags)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Run", type="primary", icon=":material/play_arrow:", key="playcall_run_this"):
            st.switch_page(RUN, query_params={"playbook": playbook.id})
        with st.popover("Delete", icon=":material/delete:"):
            st.text(f"Delete {playbook.name} for good? Its runs stay.")
            st.button(
                "Delete it", type="primary", key="playcall_delete", on_click=delete, args=(playbook.id, playbook.name)
            )
        st.caption(f"version {playbook.version} · changed {ago(playbook.updated_at)} · {playbook.id}")
    steps, yaml, inputs, runs = st.tabs(["Steps", "YAML", "Inputs", "Runs"], on_change="rerun", key="playcall_part")
    # Only what is looked at is drawn: a playbook may have 2,000 steps.
    if steps.open:
        with steps:
            show_steps(playbook)
    if yaml.open:
        with yaml:
            show_yaml(playbook)
    if inputs.open:
        with inputs:
            show_inputs(playbook)
    if runs.open:
        with runs:
            show_runs_of(playbook.id)


def show_yaml(playbook: Playbook) -> None:
    text = as_yaml(playbook)
    language = "yaml" if len(text) <= COLOURED_CHARACTERS else None
    st.code(text, language=language, height=600 if text.count("\n") > LINES_SHOWN else "content")


def show_steps(playbook: Playbook) -> None:
    graph(step_graph(playbook.steps), alt=f"The steps of {playbook.name}")
    if len(playbook.steps) > MOST_STEPS:
        st.caption(f"The first {MOST_STEPS} of {len(playbook.steps):,} steps are drawn; the YAML has all of them.")
    table(
        [
            {"step": each.id, "type": each.type, "who": who_does(each), "about": getattr(each, "description", "")}
            for each in playbook.steps
        ]
    )


def show_inputs(playbook: Playbook) -> None:
    if playbook.inputs:
        table(
            [
                {"input": name, "type": spec.type, "required": False, "default": "", "about": ""}
                if isinstance(spec, UnknownInput)
                else {
                    "input": name,
                    "type": str(spec.type),
                    "required": spec.is_required,
                    "default": "" if spec.default is None else str(spec.default),
                    "about": spec.description,
                }
                for name, spec in playbook.inputs.items()
            ]
        )
    else:
        st.caption("It takes none.")


@st.fragment(run_every=RUNS_SECONDS)
def show_runs_of(playbook_id: str) -> None:
    wish = RunWish(playbook_id=playbook_id)
    found = collection.runs(following(), wish)
    if not ready(found):
        return
    runs = [run for run in found.items() if wish.fits(run)]
    st.caption(how_many(len(runs), "run", more=found.full, shown=RUNS_SHOWN) if runs else "None yet.")
    for run in runs[:RUNS_SHOWN]:
        with st.container(horizontal=True, vertical_alignment="center"):
            show_status(run.status)
            st.page_link(RUNS, label=plain(str(run.id)), query_params={"run": run.id})
            st.caption(f"{run.steps_finished:,} of {run.steps_total:,} steps · {ago(run.created_at)}")
