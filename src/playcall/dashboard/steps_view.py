"""A run's steps as an HTML table; whatever users wrote in them is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final

from playcall.dashboard.gantt import COLOURS, duration
from playcall.dashboard.html_table import html_table
from playcall.dashboard.plain import cut
from playcall.models import RunStep

__all__ = ["as_html"]

TEXT_CHARACTERS: Final = 200


def as_html(steps: Sequence[RunStep], now: datetime) -> str:
    """Of a step that failed why; of one that completed the beginning of its output."""
    return html_table(("step", "status", "took", "attempt", "what came of it"), [_row(step, now) for step in steps])


def _row(step: RunStep, now: datetime) -> tuple[str, ...]:
    dot = f"<span style='color:{COLOURS.get(str(step.status), '#8a94a0')}'>●</span>"
    took = "" if step.started_at is None else duration(((step.ended_at or now) - step.started_at).total_seconds())
    outcome = step.error.message if step.error is not None else step.output
    return (
        f"<code>{escape(step.id)}</code>",
        f"{dot} {escape(str(step.status))}",
        took,
        str(step.attempt or ""),
        escape(cut("" if outcome is None else str(outcome), TEXT_CHARACTERS)),
    )
