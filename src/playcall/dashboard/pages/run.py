"""Starts a run: a form made of the playbook's inputs, with what is wrong said at the field."""

from __future__ import annotations

import hashlib
import json
import uuid

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, errors_shown, following
from playcall.dashboard.input_form import Ask, Field, fields_of, problems_by_field, read
from playcall.dashboard.mistakes import headline
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import PLAYBOOKS, RUNS, ready, show_tags
from playcall.errors import InvalidRequestError, PlaycallError
from playcall.models import JsonObject, Playbook

PLACE = "run"
# In the session: what is wrong, by field; the command's name, so that a second click is the same command; the run made.
PROBLEMS = "playcall_run_problems"
COMMAND = "playcall_run_command"
STARTED = "playcall_run_started"


def widget_key(playbook: Playbook, name: str) -> str:
    return f"playcall_input:{playbook.id}:{playbook.version}:{name}"


def idempotency_key(playbook: Playbook, values: JsonObject) -> str:
    """The same for the same values, until the form is left: two clicks, or one after a lost answer, are one run."""
    command: str = st.session_state.setdefault(COMMAND, uuid.uuid4().hex)
    said = json.dumps([playbook.id, values], sort_keys=True)
    return f"dashboard-{command}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def start(playbook: Playbook) -> None:
    """On the click, before anything is drawn: so that what is wrong can be drawn at its field."""
    forget(PLACE)
    fields = fields_of(playbook)
    reading = read(fields, {each.name: st.session_state.get(widget_key(playbook, each.name)) for each in fields})
    st.session_state[PROBLEMS] = reading.problems
    if reading.problems:
        return
    try:
        key = idempotency_key(playbook, reading.values)
        run = client().playbooks.run(playbook.id, inputs=reading.values, idempotency_key=key)
    except InvalidRequestError as error:
        st.session_state[PROBLEMS], others = problems_by_field(error.errors, fields)
        if others or not error.errors:
            say(PLACE, "; ".join(headline(each) for each in others) or error.message, "wrong")
    except PlaycallError as error:
        say(PLACE, error)
    else:
        st.session_state[STARTED] = run.id


def show_field(playbook: Playbook, asked: Field) -> None:
    key = widget_key(playbook, asked.name)
    label = plain(asked.name) + (" (required)" if asked.required else "")
    about = asked.spec.description if asked.spec is not None else ""
    hint = plain(f"{about} ({asked.hint})" if about else asked.hint)
    match asked.ask:
        case Ask.CHOICE:
            index = asked.initial if isinstance(asked.initial, int) else None
            shown = asked.shown_choices
            st.selectbox(
                label, range(len(shown)), index=index, format_func=shown.__getitem__, key=key, placeholder="choose"
            )
        case Ask.YES_NO if isinstance(asked.initial, bool):
            st.toggle(label, value=asked.initial, key=key)
        case Ask.YES_NO:
            st.selectbox(label, [True, False], index=None, format_func=_yes_no, key=key, placeholder="choose")
        case Ask.LINES:
            st.text_area(label, value=str(asked.initial or ""), key=key, height=110, placeholder=asked.placeholder)
        case Ask.LINE:
            st.text_input(label, value=str(asked.initial or ""), key=key, placeholder=asked.placeholder)
    problem = st.session_state.get(PROBLEMS, {}).get(asked.name)
    if problem is not None:
        with st.container(key=f"playcall_problem:{asked.name}"):
            st.markdown(f":red[:material/error: {plain(cut(problem, 400))}]")
    st.caption(hint)


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def show_form(playbook: Playbook) -> None:
    st.text(playbook.description)
    show_tags(playbook.tags)
    with st.form("playcall_run", enter_to_submit=False):
        fields = fields_of(playbook)
        for asked in fields:
            show_field(playbook, asked)
        if not fields:
            st.caption("It takes no inputs.")
        if st.session_state.get(PROBLEMS):
            st.error("Not started: see what is said at the fields.", icon=":material/error:")
        st.form_submit_button(
            "Start the run", type="primary", icon=":material/play_arrow:", on_click=start, args=(playbook,)
        )


def choose() -> None:
    st.session_state.pop(PROBLEMS, None)
    forget(PLACE)
    chosen = st.session_state.get("playcall_run_playbook")
    if chosen is None:
        st.query_params.clear()
    else:
        st.query_params["playbook"] = chosen


started = st.session_state.pop(STARTED, None)
if started is not None:
    st.session_state.pop(COMMAND, None)
    st.switch_page(RUNS, query_params={"run": started})

st.title("Run")
known = collection.playbooks(following())
wanted = st.query_params.get("playbook")
if ready(known):
    names = {str(each.id): each.name for each in known.items()}
    with errors_shown():
        playbook = None
        if wanted:
            playbook = known.get(wanted) or client().playbooks.get(wanted)
            names.setdefault(wanted, playbook.name)
        ids = sorted(names, key=lambda each: names[each].casefold())
        st.session_state["playcall_run_playbook"] = wanted
        st.selectbox(
            "Playbook", ids, index=None, format_func=names.__getitem__, key="playcall_run_playbook", on_change=choose,
            placeholder="which one?",
        )  # fmt: skip
        show_notice(PLACE)
        if playbook is not None:
            show_form(playbook)
        elif not names:
            st.page_link(PLAYBOOKS, label="There is no playbook yet: create one", icon=":material/add:")
