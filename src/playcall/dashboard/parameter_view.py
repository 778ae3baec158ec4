"""What a tool takes as an HTML table; what its author wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from playcall.dashboard.html_table import html_table
from playcall.dashboard.plain import cut
from playcall.dashboard.schema_form import Parameter

__all__ = ["as_html"]

TEXT_CHARACTERS = 400


def as_html(parameters: Sequence[Parameter]) -> str:
    """Without the column of what is said about them, where nothing is."""
    about = any(each.about for each in parameters)
    heads = ("parameter", "what it is", "", "default", *(("about",) if about else ()))
    return html_table(heads, [_row(each, about) for each in parameters])


def _row(parameter: Parameter, about: bool) -> tuple[str, ...]:
    default = f"<code>{escape(cut(parameter.default, TEXT_CHARACTERS))}</code>" if parameter.default else ""
    return (
        f"<code>{escape(cut(parameter.name, TEXT_CHARACTERS))}</code>",
        escape(cut(parameter.kind, TEXT_CHARACTERS)),
        "required" if parameter.required else "",
        default,
        *((escape(cut(parameter.about, TEXT_CHARACTERS)),) if about else ()),
    )
