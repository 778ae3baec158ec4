"""The table of tools by kind, and what is looked for in it."""

from __future__ import annotations

from typing import Final

import streamlit as st

from playcall.dashboard import collection
from playcall.dashboard.connection import following
from playcall.dashboard.drawing import clickable
from playcall.dashboard.finding import ToolWish, how_many
from playcall.dashboard.plain import cut
from playcall.dashboard.schema_form import parameters_of
from playcall.dashboard.showing import TOOLS, ready
from playcall.models import Tool, ToolKind

__all__ = ["show_table"]

TABLE_SECONDS: Final = 2.0
TABLE_ROWS: Final = 500
NAMES: Final = 12
"""Parameters that are named in a row."""
# In the session: the tool to go to.
GO: Final = "playcall_go_to_tool"


@st.fragment(run_every=TABLE_SECONDS)
def show_table() -> None:
    if (tool_id := st.session_state.pop(GO, None)) is not None:
        st.switch_page(TOOLS, query_params={"tool": tool_id})
    known = collection.tools(following())
    if not ready(known):
        return
    everything = known.items()
    text, by_kind = st.columns([2, 1])
    wish = ToolWish(
        text.text_input(
            "Search", key="playcall_find_tool", placeholder="name or description", icon=":material/search:", live=True
        )
        or "",
        by_kind.selectbox(
            "Kind", sorted({str(tool.kind) for tool in everything}), index=None, key="playcall_kind", placeholder="any"
        ),
    )
    tools = [tool for tool in everything if wish.fits(tool)]
    st.caption(how_many(len(tools), "tool", more=known.full, shown=TABLE_ROWS))
    shown = sorted(tools[:TABLE_ROWS], key=lambda each: (_kind_order(each), each.name.casefold()))
    if shown:
        clickable(
            [_row(tool) for tool in shown],
            [str(tool.id) for tool in shown],
            _go_to,
            key=f"playcall_tools:{wish.kind}",
            columns={
                "kind": st.column_config.TextColumn(width="small"),
                "description": st.column_config.TextColumn(width="large"),
            },
            height=600 if len(shown) > 15 else None,
        )
        st.caption("Click a row to see what it takes, and to try it.")


def _go_to(tool_id: str) -> None:
    st.session_state[GO] = tool_id


def _kind_order(tool: Tool) -> int:
    """One's own first: they are what changes."""
    kinds = [str(ToolKind.HTTP), str(ToolKind.INSTALLED), str(ToolKind.BUILTIN)]
    return kinds.index(tool.kind) if tool.kind in kinds else len(kinds)


def _row(tool: Tool) -> dict[str, object]:
    names = [each.name for each in parameters_of(tool.parameters, tool.defaults)[:NAMES]]
    return {
        "tool": tool.name,
        "kind": str(tool.kind),
        "description": cut(tool.description, 200),
        "parameters": ", ".join(names),
    }
