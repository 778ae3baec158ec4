"""One tool: what it takes, whether it could be called, and what it gives when it is."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import client, following
from playcall.dashboard.errors_shown import errors_shown, show_error
from playcall.dashboard.form_view import FormView
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.parameter_view import as_html as parameters_as_html
from playcall.dashboard.plain import plain
from playcall.dashboard.schema_form import fields_of_schema, parameters_of, read_parameters
from playcall.dashboard.showing import TOOLS, ago
from playcall.dashboard.task_view import show_live_task, show_value
from playcall.errors import InvalidRequestError, NotFoundError, PlaycallError, RequestError
from playcall.models import Tool, ToolHealth, ToolKind, ToolResult

__all__ = ["ALL", "show_tool"]

ALL: Final = "tools"
"""Where is said what came of a click that leads to all of them."""
PARAMETER_ROWS: Final = 200
WAIT_SECONDS: Final = 3.0
"""What a click on «Try it» waits; what takes longer is followed as the task that it is."""
# In the session: the form by which it was tried, and answered. It is done when it is seen again: a click before that, or
# after a lost answer, is the same command.
TRIED: Final = "playcall_tool_tried"

ICONS: Final[dict[str, str]] = {
    ToolKind.BUILTIN: ":material/home_repair_service:",
    ToolKind.INSTALLED: ":material/extension:",
    ToolKind.HTTP: ":material/http:",
}


def one(id: str) -> Tool:
    """Raises: ToolNotFoundError."""
    return collection.tools(following()).get(id) or client().tools.get(id)


def show_tool(id: str) -> None:
    st.page_link(TOOLS, label="All tools", icon=":material/arrow_back:")
    collection.tools(following()).wait()
    try:
        tool = one(id)
    except PlaycallError as error:
        st.title("Tools")
        show_error(error)
        return
    st.title(plain(tool.name))
    with st.container(key="tool"):
        show_head(tool)
        show_parameters(tool)
        show_try(tool)


def show_head(tool: Tool) -> None:
    if tool.description:
        st.text(tool.description)
    kind = str(tool.kind)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(plain(kind), color="violet", icon=ICONS.get(kind, ":material/build:"))
        st.button(
            "Check its health", key="playcall_health", icon=":material/ecg_heart:", on_click=check_health, args=(tool,)
        )
        if kind != ToolKind.BUILTIN:
            with st.popover("Delete", icon=":material/delete:"):
                st.text(f"Delete {tool.name} for good?")
                st.button("Delete it", type="primary", key="playcall_delete", on_click=delete, args=(tool,))
        st.caption(f"version {tool.version} · changed {ago(tool.updated_at)} · {plain(str(tool.id))}")
    if tool.url is not None:
        st.code(f"{tool.method or 'POST'} {tool.url}", language=None, wrap_lines=True)
    if tool.implementation is not None:
        st.code(tool.implementation, language=None)
    health: ToolHealth | None = st.session_state.get(health_key(tool))
    if health is not None:
        show_health(health)


def health_key(tool: Tool) -> str:
    return f"playcall_health:{tool.id}"


def show_health(health: ToolHealth) -> None:
    took = "" if health.latency_ms is None else f" ({health.latency_ms:.0f} ms)"
    said = f": {health.message}" if health.message else ""
    if health.healthy:
        st.success(plain(f"It could be called{took}{said}"), icon=":material/check_circle:")
    else:
        st.error(plain(f"It could not be called{took}{said}"), icon=":material/error:")


def check_health(tool: Tool) -> None:
    forget(place_of(tool))
    st.session_state.pop(health_key(tool), None)
    try:
        st.session_state[health_key(tool)] = client().tools.health(tool.id)
    except PlaycallError as error:
        say(place_of(tool), error)


def delete(tool: Tool) -> None:
    try:
        client().tools.delete(tool.id)
    except NotFoundError:
        say(ALL, f"{tool.name} was deleted already.")
    except PlaycallError as error:
        say(place_of(tool), error)
        return
    else:
        say(ALL, f"{tool.name} was deleted.", "done")
    st.query_params.clear()


def place_of(tool: Tool) -> str:
    return f"tool:{tool.id}"


# --- trying it --------------------------------------------------------------------------------------------------------


def show_parameters(tool: Tool) -> None:
    about = tool.parameters.get("description")
    if isinstance(about, str):
        st.text(about)
    with st.expander("What it takes", icon=":material/data_object:"):
        show_schema(tool)


def show_schema(tool: Tool) -> None:
    """As a table, and as it stands."""
    parameters = parameters_of(tool.parameters, tool.defaults)
    if parameters:
        st.html(parameters_as_html(parameters[:PARAMETER_ROWS]))
    else:
        st.caption("Its schema names no parameters.")
    st.caption("its schema")
    show_value(tool.parameters)


def show_try(tool: Tool) -> None:
    st.subheader("Try it", anchor=False)
    form = try_form(tool)
    with st.form("playcall_try", enter_to_submit=False):
        form.show("Not called: see what is said at the fields.")
        if not form.fields:
            st.caption("It takes no parameters.")
        st.form_submit_button(
            "Try it", type="primary", icon=":material/play_arrow:", key="playcall_try_it", on_click=try_it, args=(tool,)
        )
    show_notice(place_of(tool))
    result: ToolResult | None = st.session_state.get(result_key(tool))
    if result is not None:
        with st.container(border=True, key="result"), errors_shown():
            if result.finished:
                st.caption(":green[:material/check_circle: It gave:]")
                show_value(result.output)
            else:
                st.caption("It takes longer, and goes on as a task.")
                show_live_task(str(result.task_id), alone=False)
    if st.session_state.get(TRIED) == form.place:
        del st.session_state[TRIED]
        form.done()


def result_key(tool: Tool) -> str:
    return f"playcall_result:{tool.id}"


def try_form(tool: Tool) -> FormView:
    return FormView(f"{tool.id}:{tool.version}", fields_of_schema(tool.parameters, tool.defaults))


def try_it(tool: Tool) -> None:
    place = place_of(tool)
    forget(place)
    st.session_state.pop(result_key(tool), None)
    form = try_form(tool)
    values = form.read(read_parameters)
    if values is None:
        return
    try:
        result = client().tools.execute(
            tool.id, values, wait_seconds=WAIT_SECONDS, idempotency_key=form.command([tool.id, values])
        )
    except InvalidRequestError as error:
        form.refused(error, place, within=("body", "parameters"))
    except PlaycallError as error:
        say(place, error)
        if not (isinstance(error, RequestError) and error.may_have_happened):
            st.session_state[TRIED] = form.place
    else:
        st.session_state[result_key(tool)] = result
        st.session_state[TRIED] = form.place
