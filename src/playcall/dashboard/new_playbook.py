"""The way in for a new playbook: YAML, pasted or uploaded, and every mistake in it where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import streamlit as st

from playcall.dashboard.connection import client
from playcall.dashboard.form_view import FormView
from playcall.dashboard.mistakes import headline, pointed_at
from playcall.dashboard.notices import forget, say
from playcall.errors import InvalidRequestError, PlaycallError
from playcall.models import FieldProblem

__all__ = ["PLACE", "show_new"]

PLACE: Final = "playbooks"
"""Where it is said what came of it."""
# In the session: the YAML that is being written, what was found in it, and that it was created. It is emptied when it is
# seen again, for a click before that is the same command.
NEW: Final = "playcall_new_yaml"
FOUND: Final = "playcall_mistakes"
MADE: Final = "playcall_playbook_made"
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


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with a text; it says nothing of another that has taken its place."""

    text: str
    problems: Sequence[FieldProblem]
    refused: bool
    """Whether it was to be created, not only checked."""


FORM: Final = FormView("playbook:new", ())
"""Has no fields of its own; it says which clicks are one command."""


def take_upload() -> None:
    file = st.session_state.get(UPLOAD)
    if file is None:
        return
    forget(PLACE)
    try:
        st.session_state[NEW] = file.getvalue().decode("utf-8")
    except UnicodeDecodeError:
        say(PLACE, f"{file.name} is not UTF-8 text", "wrong")


def check() -> None:
    forget(PLACE)
    text: str = st.session_state.get(NEW) or ""
    try:
        found = client().playbooks.validate(text)
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[FOUND] = Found(text, found.errors, refused=False)


def create() -> None:
    forget(PLACE)
    text: str = st.session_state.get(NEW) or ""
    if not text.strip():
        say(PLACE, "There is nothing to create yet: write a playbook, or upload one.", "wrong")
        return
    try:
        made = client().playbooks.create_from_yaml(text, idempotency_key=FORM.command(text))
    except InvalidRequestError as error:
        if error.errors:
            st.session_state[FOUND] = Found(text, error.errors, refused=True)
        else:
            say(PLACE, error)
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[MADE] = True
        say(PLACE, f"{made.name} was created.", "done")
        st.query_params["playbook"] = made.id


def show_new() -> None:
    if st.session_state.pop(MADE, False):
        FORM.done()
        st.session_state.pop(FOUND, None)
        st.session_state[NEW] = ""
    with st.expander("New playbook", icon=":material/add:", expanded=bool(st.session_state.get(NEW))):
        st.file_uploader(
            "A YAML file, to be looked at below",
            type=["yaml", "yml", "json"],
            key=UPLOAD,
            on_change=take_upload,
        )
        # In a form: what is typed would be sent as the field is left otherwise, behind the click that leads to another
        # page, and would lead back.
        with st.form("playcall_new", border=False):
            text = st.text_area("YAML", key=NEW, height=280, placeholder=EXAMPLE, persist_state="session")
            with st.container(horizontal=True):
                st.form_submit_button("Create", type="primary", icon=":material/add:", on_click=create)
                st.form_submit_button("Check only", icon=":material/rule:", on_click=check)
        found: Found | None = st.session_state.get(FOUND)
        if found is not None and found.text == text:
            show_found(found)


def show_found(found: Found) -> None:
    count = len(found.problems)
    if not count:
        st.success("No mistakes: it can be created.", icon=":material/check_circle:")
        return
    said = f"{count:,} mistake{'' if count == 1 else 's'}"
    st.error(f"{said}, so nothing was created" if found.refused else said, icon=":material/error:")
    for problem in found.problems[:MISTAKES_SHOWN]:
        where = pointed_at(found.text, problem)
        st.code(headline(problem) + (f"\n\n{where}" if where else ""), language=None, wrap_lines=True)
    if count > MISTAKES_SHOWN:
        st.caption(f"The first {MISTAKES_SHOWN} are shown.")
