"""How quickly and how much the backend answers, over the last minutes, as Vega-Lite charts with their data in them.

All charts are over the same minutes, so that what stands above each other happened together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, Final

from playcall.dashboard.status_samples import Sample
from playcall.timeline import Attempt

__all__ = ["Dot", "events_chart", "latency_chart", "minutes_of", "throughput_chart", "went_well"]

MINUTES: Final = 10
BUCKET_SECONDS: Final = 10
HEADROOM: Final = 1.08
"""So that the highest dot is not cut by the edge."""
SECONDS_BELOW: Final = 3
"""Fewer minutes than these are counted in seconds."""
GOOD: Final = "#2a9d6f"
BAD: Final = "#c53030"
BLUE: Final = "#2563eb"
ORANGE: Final = "#d97706"
HEIGHT_PIXELS: Final = 150

Spec = dict[str, Any]
"""Vega-Lite's own JSON."""


@dataclass(frozen=True, slots=True)
class Dot:
    """An attempt of a call as it is drawn; `at` is when it ended."""

    at: datetime
    seconds: float
    well: bool
    what: str


def went_well(attempt: Attempt) -> bool:
    """It was answered, and not by a failure of the backend or by a wish for patience; a 404 is an answer."""
    return attempt.status is not None and attempt.status < 500 and attempt.status != 429


def minutes_of(first: datetime | None, now: datetime) -> int:
    """How many are shown: no more than there is something of."""
    return 1 if first is None else max(1, min(MINUTES, math.ceil((now - first).total_seconds() / 60)))


def latency_chart(dots: Sequence[Dot], now: datetime, minutes: int) -> Spec:
    """One dot an attempt, and the median of each ten seconds as a line."""
    shown = _recent(dots, now, minutes)
    values = [
        {
            "x": _minutes(dot.at, now),
            "y": round(dot.seconds * 1_000, 2),
            "outcome": _outcome(dot.well),
            "call": dot.what,
        }
        for dot in shown
    ]
    line = [
        {
            "x": _minutes(start + timedelta(seconds=BUCKET_SECONDS / 2), now),
            "y": round(median(dot.seconds for dot in held) * 1_000, 2),
        }
        for start, held in _buckets(shown)
    ]
    tooltip = [
        {"field": "call", "type": "nominal"},
        {"field": "y", "type": "quantitative", "title": "ms"},
        {"field": "outcome", "type": "nominal"},
    ]
    points = {
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 26, "opacity": 0.55},
        "encoding": {"color": _outcomes(), "tooltip": tooltip},
    }
    medians = {"data": {"values": line}, "mark": {"type": "line", "color": BLUE, "strokeWidth": 1.5}, "encoding": {}}
    return _framed(
        medians, points, most=max((dot.seconds * 1_000 for dot in shown), default=10.0), unit="ms", minutes=minutes
    )


def throughput_chart(dots: Sequence[Dot], now: datetime, minutes: int) -> Spec:
    """Attempts a second, in bars of ten seconds."""
    values: list[Spec] = []
    most = 1.0
    for start, held in _buckets(_recent(dots, now, minutes)):
        most = max(most, len(held) / BUCKET_SECONDS)
        x, below = _minutes(start, now), 0.0
        for well in (True, False):
            rate = sum(dot.well is well for dot in held) / BUCKET_SECONDS
            if rate:
                end = min(0.0, x + 0.9 * BUCKET_SECONDS / 60)
                values.append({"x": x, "x2": end, "y": below, "y2": below + rate, "outcome": _outcome(well)})
                below += rate
    bars = {
        "data": {"values": values},
        "mark": {"type": "rect"},
        "encoding": {"x2": {"field": "x2"}, "y2": {"field": "y2"}, "color": _outcomes()},
    }
    return _framed(bars, most=most, unit="/s", minutes=minutes)


def events_chart(samples: Sequence[Sample], now: datetime, minutes: int) -> Spec:
    """Events received a second, and calls under way."""
    kinds = ("events a second", "calls under way")
    values: list[Spec] = []
    since = now - timedelta(minutes=minutes)
    for one, other in pairwise(each for each in samples if each.at >= since):
        seconds = max(0.001, (other.at - one.at).total_seconds())
        rate = round(max(0, other.received - one.received) / seconds, 2)
        for kind, y in zip(kinds, (rate, other.in_flight + other.waiting), strict=True):
            values.append({"x": _minutes(other.at, now), "y": y, "what": kind})
    colour = {"field": "what", "type": "nominal", "scale": {"domain": kinds, "range": [BLUE, ORANGE]}}
    line = {
        "data": {"values": values},
        "mark": {"type": "line", "strokeWidth": 1.5, "interpolate": "step-after"},
        "encoding": {"color": {**colour, "legend": _legend()}},
    }
    return _framed(line, most=max((float(each["y"]) for each in values), default=1.0), unit="", minutes=minutes)


# --- parts ------------------------------------------------------------------------------------------------------------


def _framed(*layers: Spec, most: float, unit: str, minutes: int) -> Spec:
    quiet = {"title": None, "domain": False, "ticks": False, "labelColor": "#6b7280", "labelFontSize": 11}
    label = "datum.value * 60 + ' s'" if minutes < SECONDS_BELOW else "datum.value + ' min'"
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": [-minutes, 0], "nice": False},
        "axis": {
            **quiet,
            "grid": False,
            "values": [
                each / 2 for each in range(-2 * minutes, 1, 1 if minutes < SECONDS_BELOW else 2 if minutes < 7 else 4)
            ],
            "labelExpr": f"datum.value == 0 ? 'now' : {label}",
        },
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [0, max(HEADROOM * most, 1.0)], "nice": True},
        "axis": {
            **quiet,
            "gridColor": "#e5e7eb",
            "tickCount": 4,
            "labelExpr": f"datum.label + ' {unit}'",
            "minExtent": 54,
        },
    }
    return {
        "height": HEIGHT_PIXELS,
        "layer": [
            {**layer, "mark": {**layer["mark"], "clip": True}, "encoding": {"x": x, "y": y, **layer["encoding"]}}
            for layer in layers
        ],
        "config": {"view": {"stroke": None}},
    }


def _outcomes() -> Spec:
    return {
        "field": "outcome",
        "type": "nominal",
        "scale": {"domain": [_outcome(True), _outcome(False)], "range": [GOOD, BAD]},
        "legend": _legend(),
    }


def _legend() -> Spec:
    return {
        "title": None,
        "orient": "top",
        "direction": "horizontal",
        "offset": 2,
        "labelColor": "#6b7280",
        "labelFontSize": 11,
    }


def _outcome(well: bool) -> str:
    return "answered" if well else "failed"


def _recent(dots: Sequence[Dot], now: datetime, minutes: int) -> list[Dot]:
    since = now - timedelta(minutes=minutes)
    return [dot for dot in dots if dot.at >= since]


def _buckets(dots: Sequence[Dot]) -> list[tuple[datetime, list[Dot]]]:
    """By the ten seconds in which they ended; without those in which none did."""
    held: dict[datetime, list[Dot]] = {}
    for dot in dots:
        start = dot.at.replace(second=dot.at.second // BUCKET_SECONDS * BUCKET_SECONDS, microsecond=0)
        held.setdefault(start, []).append(dot)
    return sorted(held.items())


def _minutes(moment: datetime, now: datetime) -> float:
    """From now, so negative."""
    return round((moment - now).total_seconds() / 60, 4)
