"""What can be run: cards to find it by, one playbook with its steps drawn, and the way in for new ones."""

from __future__ import annotations

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, errors_shown, following, show_error
from playcall.dashboard.drawing import graph, table
from playcall.dashboard.finding import PlaybookWish, agents_of, tags_of
from playcall.dashboard.mistakes import headline, pointed_at
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.playbook_yaml import as_yaml
from playcall.dashboard.showing import PLAYBOOKS, RUN, RUNS, ago, ready, show_status, show_tags, wanted
from playcall.dashboard.step_graph import MOST_STEPS, step_graph, who_does
from playcall.errors import InvalidRequestError, NotFoundError, PlaycallError
from playcall.models import FieldProblem, Playbook, UnknownInput

PLACE = "playbooks"
CARDS_SECONDS = 2.0
CARDS = 30
COLUMNS = 3
FOUND_AT_MOST = 200
# In the session: the YAML that was looked at, and what is wrong with it; and what is being written.
MISTAKES = "playcall_mistakes"
NEW = "playcall_new_yaml"
EXAMPLE = """\
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


# --- a new one --------------------------------------------------------------------------------------------------------


def take_upload() -> None:
    file = st.session_state.get("playcall_upload")
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
            key="playcall_upload",
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
            for problem in problems[:50]:
                where = pointed_at(text, problem)
                st.code(headline(problem) + (f"\n\n{where}" if where else ""), language=None, wrap_lines=True)


# --- all of them ------------------------------------------------------------------------------------------------------


def found(wish: PlaybookWish) -> tuple[Playbook, ...]:
    """From what is known; where that is not all, the backend is asked."""
    known = collection.playbooks(following())
    if known.full and wish != PlaybookWish():
        return tuple(
            client().playbooks.list(
                text=wish.text or None, tag=wish.tag, agent=wish.agent, newest_first=True, max_items=FOUND_AT_MOST
            )
        )
    return tuple(playbook for playbook in known.items() if wish.fits(playbook))


@st.fragment(run_every=CARDS_SECONDS)
def show_cards() -> None:
    known = collection.playbooks(following())
    if not ready(known):
        return
    text, by_tag, by_agent = st.columns([2, 1, 1])
    everything = known.items()
    wish = PlaybookWish(
        text.text_input(
            "Search", key="playcall_find", placeholder="name or description", icon=":material/search:", live=True
        )
        or "",
        by_tag.selectbox("Tag", tags_of(everything), index=None, key="playcall_tag", placeholder="any"),
        by_agent.selectbox("Agent", agents_of(everything), index=None, key="playcall_agent", placeholder="any"),
    )
    with errors_shown():
        playbooks = found(wish)
        many = len(playbooks)
        st.caption(f"{many:,} playbook{'' if many == 1 else 's'}")
        shown: int = st.session_state.setdefault("playcall_cards", CARDS)
        for start in range(0, min(many, shown), COLUMNS):
            for column, playbook in zip(st.columns(COLUMNS), playbooks[start : start + COLUMNS], strict=False):
                with column:
                    show_card(playbook)
        if many > shown and st.button(f"Show {min(CARDS, many - shown)} more", key="playcall_more"):
            st.session_state["playcall_cards"] = shown + CARDS
            st.rerun(scope="fragment")
        if not everything:
            st.info("There is no playbook yet. Open «New playbook» above to create one.", icon=":material/menu_book:")


def show_card(playbook: Playbook) -> None:
    with st.container(border=True, height="stretch", key=f"playcall_card_{playbook.id}"):
        st.page_link(
            PLAYBOOKS,
            label=f"**{plain(cut(playbook.name, 60))}**",
            icon=":material/menu_book:",
            query_params={"playbook": playbook.id},
        )
        st.caption(plain(cut(playbook.description, 140)) or "No description")
        show_tags(playbook.tags)
        steps = len(playbook.steps)
        many = f"{steps} step{'' if steps == 1 else 's'}" if steps else "many steps"
        st.caption(f"{many} · {plain(cut(', '.join(playbook.agents), 60))}")
        st.page_link(RUN, label="Run", icon=":material/play_arrow:", query_params={"playbook": playbook.id})


# --- one of them ------------------------------------------------------------------------------------------------------


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


def one(id: str) -> Playbook:
    """Raises: PlaybookNotFoundError."""
    known = collection.playbooks(following()).get(id)
    return known if known is not None and known.steps else client().playbooks.get(id)


def show_playbook(playbook: Playbook) -> None:
    st.page_link(PLAYBOOKS, label="All playbooks", icon=":material/arrow_back:")
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
    steps, yaml, inputs, runs = st.tabs(["Steps", "YAML", "Inputs", "Runs"])
    with steps:
        graph(step_graph(playbook.steps), alt=f"The steps of {playbook.name}")
        if len(playbook.steps) > MOST_STEPS:
            st.caption(f"The first {MOST_STEPS} of {len(playbook.steps):,} steps are drawn; the YAML has all of them.")
        table(
            [
                {"step": each.id, "type": each.type, "who": who_does(each), "about": getattr(each, "description", "")}
                for each in playbook.steps
            ]
        )
    with yaml:
        st.code(as_yaml(playbook), language="yaml", height=600 if len(playbook.steps) > 6 else "content")
    with inputs:
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
    with runs:
        show_runs_of(playbook.id)


@st.fragment(run_every=CARDS_SECONDS)
def show_runs_of(playbook_id: str) -> None:
    known = collection.runs(following())
    if not ready(known):
        return
    runs = [run for run in known.items() if run.playbook_id == playbook_id][:10]
    if not runs:
        st.caption("None yet.")
    for run in runs:
        with st.container(horizontal=True, vertical_alignment="center"):
            show_status(run.status)
            st.page_link(RUNS, label=plain(str(run.id)), query_params={"run": run.id})
            st.caption(f"{run.steps_finished} of {run.steps_total} steps · {ago(run.created_at)}")


asked_for = wanted("playbook")
if asked_for:
    show_notice(PLACE)
    try:
        show_playbook(one(asked_for))
    except PlaycallError as error:
        show_error(error)
        st.page_link(PLAYBOOKS, label="All playbooks", icon=":material/arrow_back:")
else:
    st.title("Playbooks")
    show_new()
    show_notice(PLACE)
    show_cards()
