"""The way in for a new playbook: YAML, pasted or uploaded, and every mistake in it where it stands."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard.connection import client
from playcall.dashboard.mistakes import headline, pointed_at
from playcall.dashboard.notices import forget, say
from playcall.errors import InvalidRequestError, PlaycallError
from playcall.models import FieldProblem

__all__ = ["PLACE", "show_new"]

PLACE: Final = "playbooks"
"""Where it is said what came of it."""
# In the session: the YAML that was looked at, and what is wrong with it; and what is being written.
MISTAKES: Final = "playcall_mistakes"
NEW: Final = "playcall_new_yaml"
UPLOAD: Final = "playcall_upload"
MISTAKES_SHOWN: Final = 50
EXAMPLE: Final = """\
name: Find work
agents: [Reader]
inputs:
  path: {type: string, description: Where to look}
steps:
  - id: look
    type: standard
    agent: Reader
    operation: text.search
    parameters: {path: "{{ inputs.path }}", pattern: "TODO|FIXME"}
"""


def take_upload() -> None:
    file = st.session_state.get(UPLOAD)
    if file is None:
        return
    try:
        st.session_state[NEW] = file.getvalue().decode("utf-8")
    except UnicodeDecodeError:
        say(PLACE, f"{file.name} is not UTF-8 text", "wrong")


def check() -> None:
    text = st.session_state.get(NEW) or ""
    forget(PLACE)
    try:
        found = client().playbooks.validate(text)
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[MISTAKES] = text, found.errors
        if found.valid:
            say(PLACE, "No mistakes: it can be created.", "done")


def create() -> None:
    text = st.session_state.get(NEW) or ""
    if "playbook" in st.query_params:
        return  # a second click: it was created by the first
    forget(PLACE)
    st.session_state.pop(MISTAKES, None)
    if not text.strip():
        say(PLACE, "There is nothing to create yet: write a playbook, or upload one.", "wrong")
        return
    try:
        made = client().playbooks.create_from_yaml(text)
    except InvalidRequestError as error:
        if error.errors:
            st.session_state[MISTAKES] = text, list(error.errors)
        else:
            say(PLACE, error)
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[NEW] = ""
        say(PLACE, f"{made.name} was created.", "done")
        st.query_params["playbook"] = made.id


def show_new() -> None:
    with st.expander("New playbook", icon=":material/add:", expanded=bool(st.session_state.get(MISTAKES))):
        st.file_uploader(
            "A YAML file, to be looked at below",
            type=["yaml", "yml", "json"],
            key=UPLOAD,
            on_change=take_upload,
        )
        with st.form("playcall_new", border=False):
            st.text_area("YAML", key=NEW, height=280, placeholder=EXAMPLE)
            with st.container(horizontal=True):
                st.form_submit_button("Create", type="primary", icon=":material/add:", on_click=create)
                st.form_submit_button("Check only", icon=":material/rule:", on_click=check)
        looked_at: tuple[str, list[FieldProblem]] | None = st.session_state.get(MISTAKES)
        if looked_at is not None and looked_at[1]:
            text, problems = looked_at
            count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
            st.error(f"{count}, so nothing was created", icon=":material/error:")
            for problem in problems[:MISTAKES_SHOWN]:
                where = pointed_at(text, problem)
                st.code(headline(problem) + (f"\n\n{where}" if where else ""), language=None, wrap_lines=True)
