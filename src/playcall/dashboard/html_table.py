"""A plain HTML table: text that a screen reader reads, where Streamlit's own tables are drawn on a canvas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_table"]

_CELL = "style='padding:.32rem .9rem .32rem 0;border:0;border-bottom:1px solid rgba(128,128,128,.22);text-align:left'"


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """`rows` are HTML already: whoever makes them escapes what users wrote. `heads` are text."""
    head = "".join(f"<th {_CELL}>{escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td {_CELL}>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table style='border-collapse:collapse;font-size:.88rem;width:100%'><tr>{head}</tr>{body}</table>"
