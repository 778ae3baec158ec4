"""How quickly and how much the backend answers, over the last minutes, as Vega-Lite charts with their data in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from playcall.dashboard.status_samples import Sample
from playcall.timeline import Attempt

__all__ = ["MINUTES", "Dot", "events_chart", "latency_chart", "throughput_chart", "went_well"]

MINUTES: Final = 10
BUCKET_SECONDS: Final = 10
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


def latency_chart(dots: Sequence[Dot], now: datetime) -> Spec:
    """One dot an attempt, and the median of each ten seconds as a line."""
    shown = _recent(dots, now)
    values = [
        {"t": _ms(dot.at), "ms": round(dot.seconds * 1_000, 2), "outcome": _outcome(dot.well), "what": dot.what}
        for dot in shown
    ]
    line = [
        {"t": _ms(start) + BUCKET_SECONDS * 500, "median": round(_median([dot.seconds for dot in held]) * 1_000, 2)}
        for start, held in _buckets(shown)
    ]
    return _framed(
        {"data": {"values": values}, "mark": {"type": "point", "filled": True, "size": 26, "opacity": 0.55},
         "encoding": {"y": _y("ms", "ms"), "color": _outcomes(), "tooltip": [
             {"field": "what", "title": "call"}, {"field": "ms", "type": "quantitative"}, {"field": "outcome"}]}},
        {"data": {"values": line}, "mark": {"type": "line", "color": BLUE, "strokeWidth": 1.5, "interpolate": "monotone"},
         "encoding": {"y": _y("median", "ms")}},
        now=now,
    )  # fmt: skip


def throughput_chart(dots: Sequence[Dot], now: datetime) -> Spec:
    """Attempts a second, in bars of ten seconds."""
    values = [
        {
            "t": _ms(start),
            "end": _ms(start) + BUCKET_SECONDS * 1_000 - 800,
            "rate": round(sum(dot.well is well for dot in held) / BUCKET_SECONDS, 3),
            "outcome": _outcome(well),
        }
        for start, held in _buckets(_recent(dots, now))
        for well in (True, False)
        if any(dot.well is well for dot in held)
    ]
    bars = {
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {"x2": {"field": "end"}, "y": {**_y("rate", "a second"), "stack": True}, "color": _outcomes()},
    }
    return _framed(bars, now=now)


def events_chart(samples: Sequence[Sample], now: datetime) -> Spec:
    """Events received a second, and calls in flight."""
    values: list[Mapping[str, object]] = []
    for one, other in pairwise(samples):
        seconds = max(0.001, (other.at - one.at).total_seconds())
        rate = max(0, other.received - one.received) / seconds
        values.append({"t": _ms(other.at), "n": round(rate, 2), "what": "events a second"})
        values.append({"t": _ms(other.at), "n": other.in_flight + other.waiting, "what": "calls under way"})
    line = {
        "data": {"values": values},
        "mark": {"type": "line", "strokeWidth": 1.5, "interpolate": "step-after"},
        "encoding": {
            "y": _y("n", ""),
            "color": {
                "field": "what",
                "scale": {"domain": ["events a second", "calls under way"], "range": [BLUE, ORANGE]},
                "legend": _legend(),
            },
        },
    }
    return _framed(line, now=now)


# --- parts ------------------------------------------------------------------------------------------------------------


def _framed(*layers: Spec, now: datetime) -> Spec:
    """All over the same minutes, so that what stands above each other happened together."""
    span = [_ms(now - timedelta(minutes=MINUTES)), _ms(now)]
    axis = {"title": None, "grid": False, "format": "%H:%M", "tickCount": 10, "labelColor": "#6b7280", "ticks": False}
    x = {"field": "t", "type": "temporal", "scale": {"domain": span}, "axis": axis}
    return {
        "height": HEIGHT_PIXELS,
        "width": "container",
        "layer": [{**layer, "encoding": {"x": x, **layer["encoding"]}} for layer in layers],
        "config": {"view": {"stroke": None}, "font": "sans-serif"},
    }


def _y(field: str, unit: str) -> Spec:
    label = f"datum.label + '{' ' + unit if unit else ''}'"
    axis = {"title": None, "gridColor": "#e5e7eb", "domain": False, "ticks": False, "labelColor": "#6b7280",
            "tickCount": 4, "labelExpr": label, "minExtent": 62}  # fmt: skip
    return {"field": field, "type": "quantitative", "axis": axis, "scale": {"domainMin": 0, "nice": True}}


def _outcomes() -> Spec:
    return {
        "field": "outcome",
        "scale": {"domain": [_outcome(True), _outcome(False)], "range": [GOOD, BAD]},
        "legend": _legend(),
    }


def _legend() -> Spec:
    return {"title": None, "orient": "top", "direction": "horizontal", "offset": 2, "labelColor": "#6b7280"}


def _outcome(well: bool) -> str:
    return "answered" if well else "failed"


def _recent(dots: Sequence[Dot], now: datetime) -> list[Dot]:
    since = now - timedelta(minutes=MINUTES)
    return [dot for dot in dots if dot.at >= since]


def _buckets(dots: Sequence[Dot]) -> list[tuple[datetime, list[Dot]]]:
    """By the ten seconds in which they ended; without those in which none did."""
    held: dict[datetime, list[Dot]] = {}
    for dot in dots:
        start = dot.at.replace(second=dot.at.second // BUCKET_SECONDS * BUCKET_SECONDS, microsecond=0)
        held.setdefault(start, []).append(dot)
    return sorted(held.items())


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)
