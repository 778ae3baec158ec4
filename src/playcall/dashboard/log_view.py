"""Log lines as HTML: escaped, so that a line is text whatever it holds; the level shows by its colour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from html import escape
from typing import Final

from playcall.dashboard.plain import cut
from playcall.models import LogLine

__all__ = ["as_html"]

MESSAGE_CHARACTERS: Final = 2_000

_COLOURS: Final = {"debug": "#8a94a0", "info": "inherit", "warning": "#b7791f", "error": "#c53030"}


def as_html(lines: Sequence[LogLine]) -> str:
    """One row a line: time, in UTC as its Z says, level, step, message. As wide as its place; long messages are broken."""
    rows = "".join(_row(line) for line in lines)
    return (
        "<div style='font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:0.78rem;line-height:1.5;"
        f"white-space:pre-wrap;overflow-wrap:anywhere'>{rows}</div>"
    )


def _row(line: LogLine) -> str:
    colour = _COLOURS.get(str(line.level), "#6b46c1")
    step = f" <span style='opacity:.6'>{escape(line.step_id)}</span>" if line.step_id else ""
    message = escape(cut(line.message, MESSAGE_CHARACTERS))
    return (
        f"<div style='color:{colour}'><span style='opacity:.6'>{line.at.astimezone(UTC):%H:%M:%S}Z</span> "
        f"{escape(str(line.level)):<7}{step} {message}</div>"
    )
