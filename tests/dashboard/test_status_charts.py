"""The charts of the status show what was, over the same minutes, and are bounded by what they are given."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from playcall.dashboard.status_charts import (
    Dot,
    events_chart,
    latency_chart,
    minutes_of,
    throughput_chart,
    went_well,
)
from playcall.dashboard.status_samples import Sample
from playcall.timeline import Attempt

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def dot(seconds_ago: float, took: float = 0.02, *, well: bool = True) -> Dot:
    return Dot(NOW - timedelta(seconds=seconds_ago), took, well, "GET /runs")


def values(spec: dict[str, Any], layer: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = spec["layer"][layer]["data"]["values"]
    return found


def attempt(status: int | None) -> Attempt:
    return Attempt(1, 0.0, 0.1, "", "", status=status)


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (304, True), (404, True), (409, True), (429, False), (500, False), (None, False)]
)
def test_a_no_is_an_answer_and_a_failure_is_none(status: int | None, well: bool) -> None:
    assert went_well(attempt(status)) is well


def test_each_attempt_is_a_dot_at_its_minute_and_medians_are_a_line() -> None:
    spec = latency_chart([dot(65, 0.01), dot(64, 0.03), dot(5, 0.2, well=False)], NOW, 2)
    assert [(each["x"], each["y"], each["outcome"]) for each in values(spec, 1)] == [
        (-1.0833, 10, "answered"),
        (-1.0667, 30, "answered"),
        (-0.0833, 200, "failed"),
    ]
    assert [each["y"] for each in values(spec, 0)] == [20, 200]


def test_bars_are_attempts_a_second_with_those_that_failed_on_top() -> None:
    dots = [dot(15), dot(14), dot(13, well=False), dot(12), dot(11), dot(2)]
    bars = values(throughput_chart(dots, NOW, 1), 0)
    assert [(each["y"], each["y2"], each["outcome"]) for each in bars] == [
        (0.0, 0.4, "answered"),
        (0.4, 0.5, "failed"),
        (0.0, 0.1, "answered"),
    ]
    assert all(-1 <= each["x"] < each["x2"] <= 0 for each in bars)


def test_events_a_second_are_what_came_between_two_looks() -> None:
    looks = [Sample(NOW - timedelta(seconds=4 - 2 * n), n, 0, received) for n, received in enumerate((10, 30, 30))]
    lines = values(events_chart(looks, NOW, 1), 0)
    assert [each["y"] for each in lines if each["what"] == "events a second"] == [10, 0]
    assert [each["y"] for each in lines if each["what"] == "calls under way"] == [1, 2]


def test_what_is_older_than_the_minutes_is_left_out() -> None:
    dots = [dot(700), dot(61), dot(10)]
    assert len(values(latency_chart(dots, NOW, 1), 1)) == 1
    assert len(values(latency_chart(dots, NOW, 10), 1)) == 2
    looks = [Sample(NOW - timedelta(seconds=seconds), 0, 0, 0) for seconds in range(120, 0, -1)]
    assert len(values(events_chart(looks, NOW, 1), 0)) == 2 * 59


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(None, 1), (0, 1), (60, 1), (61, 2), (301, 6), (599, 10), (100_000, 10)]
)
def test_no_more_minutes_are_shown_than_there_is_something_of(seconds: float | None, minutes: int) -> None:
    first = None if seconds is None else NOW - timedelta(seconds=seconds)
    assert minutes_of(first, NOW) == minutes


def test_with_nothing_to_show_they_are_empty_and_all_of_them_are_json() -> None:
    for spec in (latency_chart([], NOW, 1), throughput_chart([], NOW, 1), events_chart([], NOW, 1)):
        assert values(spec, 0) == []
        assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [-1, 0]
        json.dumps(spec, allow_nan=False)
    for minutes in range(1, 11):
        axis = latency_chart([], NOW, minutes)["layer"][0]["encoding"]["x"]["axis"]["values"]
        assert axis[0] == -minutes
        assert axis[-1] <= 0
        assert 3 <= len(axis) <= 8
