"""A run's steps over time, as a chart: rows, and what Vega-Lite makes of them. Bounded: a window of the steps is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from playcall.dashboard.plain import cut
from playcall.models import RunStep, StepStatus

__all__ = ["COLOURS", "WINDOW", "Window", "duration", "gantt", "rows", "window_of"]

WINDOW: Final = 25
"""Steps that are drawn at once."""
ROOM_FOR_TEXT: Final = 1.07
"""What is written after the longest bar stands within the chart."""
LEAST_SECONDS: Final = 0.02
"""A bar that is shorter could not be seen."""

COLOURS: Final = {
    "running": "#2f7fd6",
    "completed": "#2a9d6f",
    "failed": "#d64545",
    "cancelled": "#8a8f98",
    "reused": "#7fb8a4",
    "skipped": "#c9ced6",
    "pending": "#e3e7ec",
}


@dataclass(frozen=True, slots=True)
class Window:
    """Which steps are drawn: from `start` up to but not with `end`, of `total`."""

    start: int
    end: int
    total: int


def window_of(steps: Sequence[RunStep], start: int | None, *, size: int = WINDOW) -> Window:
    """The window that begins at `start`; with None the one in which the run is at work, or has come to its end."""
    total = len(steps)
    if start is None:
        reached = [index for index, step in enumerate(steps) if step.started_at is not None]
        here = next((index for index in reached if steps[index].ended_at is None), reached[-1] if reached else 0)
        start = here - size // 2
    start = max(0, min(start, total - size))
    return Window(start, min(total, start + size), total)


def rows(steps: Sequence[RunStep], now: datetime, *, first: int = 0) -> list[dict[str, Any]]:
    """One row a step: seconds since the first of them began, None before it has begun. `first` numbers them."""
    zero = min((step.started_at for step in steps if step.started_at is not None), default=now)
    return [_row(step, now, zero, first + index) for index, step in enumerate(steps)]


def _row(step: RunStep, now: datetime, zero: datetime, order: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "order": order,
        "step": step.id,  # whole, for it says which bar is whose; the axis cuts what is drawn of it
        "status": str(step.status),
        "from": None,
        "to": None,
        "took": "",
        "attempt": step.attempt,
        "about": cut(step.description, 120),
    }
    if step.started_at is not None:
        from_seconds = (step.started_at - zero).total_seconds()
        # The clocks of backend and dashboard may differ: no bar runs backwards.
        to_seconds = max(from_seconds, ((step.ended_at or now) - zero).total_seconds())
        row["from"], row["to"] = round(from_seconds, 3), round(max(to_seconds, from_seconds + LEAST_SECONDS), 3)
        row["took"] = duration(to_seconds - from_seconds)
    elif step.status != StepStatus.PENDING:
        row["from"], row["to"], row["took"] = 0.0, 0.0, str(step.status)
    return row


def gantt(made: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The chart of these rows, in Vega-Lite; it needs no network, and texts in it are texts."""
    longest = max((row["to"] for row in made if row["to"] is not None), default=1.0) or 1.0
    return {
        "data": {"values": list(made)},
        "height": {"step": 20},
        "layer": [
            {"mark": {"type": "bar", "cornerRadius": 3, "height": {"band": 0.72}}},
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 10, "color": "#7b8794"},
                "encoding": {"text": {"field": "took"}, "x": {"field": "to", "type": "quantitative"}, "x2": None},
            },
        ],
        "encoding": {
            "y": {
                "field": "step",
                "type": "nominal",
                "sort": {"field": "order"},
                "title": None,
                "axis": {
                    "labelLimit": 260,
                    "labelBound": False,
                    "labelFlush": False,
                    "domain": False,
                    "ticks": False,
                    "grid": False,
                },
            },
            "x": {
                "field": "from",
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [0, longest * ROOM_FOR_TEXT]},
                "axis": {"grid": True, "tickCount": 8, "labelExpr": "datum.label + ' s'"},
            },
            "x2": {"field": "to"},
            "color": {
                "field": "status",
                "type": "nominal",
                "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())},
                "legend": None,
            },
            "tooltip": [
                {"field": "step", "title": "step"},
                {"field": "status", "title": "status"},
                {"field": "took", "title": "took"},
                {"field": "attempt", "title": "attempt"},
                {"field": "about", "title": "about"},
            ],
        },
    }


def duration(seconds: float) -> str:
    """`40 ms`, `2.3 s`, `12 s`, `3 min 20 s`, `2 h 5 min`"""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1_000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"
