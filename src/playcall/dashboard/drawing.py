"""Streamlit's tables and charts with types that say what we give them: theirs name libraries that have none."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

__all__ = ["Rows", "chart", "clickable", "graph", "table"]

Rows = Sequence[Mapping[str, object]]

ROW_PIXELS: Final = 35
HEIGHT_PIXELS: Final = 460


def table(
    rows: Rows,
    *,
    columns: Mapping[str, Any] | None = None,  # Any: what `st.column_config` makes, which has no public name
) -> None:
    """Rows as a table that can be sorted and searched; every text in it is text. As high as its rows, up to a bound."""
    st.dataframe(list(rows), hide_index=True, column_config=columns, height=_height(rows))


def clickable(
    rows: Rows,
    ids: Sequence[str],
    on_click: Callable[[str], object],
    *,
    key: str,
    columns: Mapping[str, Any] | None = None,  # Any: as above
    height: int | None = None,
) -> None:
    """As `table`; `on_click` gets the id of the row that was clicked, before anything is drawn.

    It is the row that stood there when it was drawn: rows that move meanwhile do not make another one of it.
    """

    def clicked() -> None:
        cells: list[tuple[int, str]] = st.session_state[key]["selection"].get("cells", [])
        if cells:
            on_click(ids[cells[0][0]])

    st.dataframe(
        list(rows),
        key=key,
        hide_index=True,
        column_config=columns,
        height=height or _height(rows),
        on_select=clicked,
        selection_mode="single-cell",
    )


def _height(rows: Rows) -> int:
    return min(HEIGHT_PIXELS, (len(rows) + 1) * ROW_PIXELS + 3)


def chart(spec: dict[str, Any], *, key: str | None = None, alt: str | None = None) -> None:
    """A Vega-Lite chart as wide as its place; its data are in it."""
    st.vega_lite_chart(spec=spec, width="stretch", key=key, alt=alt)


def graph(dot: str, *, alt: str | None = None) -> None:
    """A picture in Graphviz's language. The browser draws it, by code that came with Streamlit."""
    st.graphviz_chart(dot, width="content", alt=alt)
