"""The timeline shows a window of the steps, with bars that never run backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from playcall.dashboard.gantt import LEAST_SECONDS, WINDOW, Window, duration, gantt, rows, window_of
from playcall.models import RunStep

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def step(id: str, status: str = "pending", begun: float | None = None, ended: float | None = None) -> RunStep:
    return RunStep.model_validate(
        {
            "id": id,
            "type": "standard",
            "status": status,
            "attempt": 1,
            "started_at": None if begun is None else at(begun),
            "ended_at": None if ended is None else at(ended),
        }
    )


STEPS = [step("a", "completed", 0, 2.5), step("b", "running", 2.5), step("c")]


def test_a_bar_begins_where_its_step_does_and_one_at_work_reaches_to_now() -> None:
    bars = [(row["step"], row["from"], row["to"], row["took"]) for row in rows(STEPS, at(4))]
    assert bars == [("a", 0.0, 2.5, "2.5 s"), ("b", 2.5, 4.0, "1.5 s"), ("c", None, None, "")]


def test_a_clock_that_is_behind_the_backends_makes_no_bar_run_backwards() -> None:
    bar = rows(STEPS, at(1))[1]
    assert (bar["from"], bar["to"]) == (2.5, 2.5 + LEAST_SECONDS)
    assert bar["took"] == "0 ms"


def test_a_step_that_was_left_out_says_so_without_a_bar_of_its_own() -> None:
    bar = rows([step("a", "skipped")], at(1))[0]
    assert (bar["from"], bar["to"], bar["took"]) == (0.0, 0.0, "skipped")


def test_steps_whose_names_begin_alike_have_each_a_bar_of_its_own() -> None:
    bars = rows([step("account_" * 12 + str(number)) for number in range(3)], at(1))
    by_step = gantt(bars)["encoding"]["y"]["field"]
    assert len({bar[by_step] for bar in bars}) == 3


def test_rows_keep_the_order_of_the_playbook_also_in_a_later_window() -> None:
    assert [row["order"] for row in rows(STEPS, at(4), first=100)] == [100, 101, 102]


def test_the_chart_leaves_room_for_the_text_after_the_longest_bar() -> None:
    chart = gantt(rows(STEPS, at(4)))
    assert chart["encoding"]["x"]["scale"]["domain"][1] > 4.0
    assert gantt(rows([step("a")], at(0)))["encoding"]["x"]["scale"]["domain"][1] > 0


def test_few_steps_are_all_in_the_window() -> None:
    assert window_of(STEPS, None) == Window(0, 3, 3)
    assert window_of([], None) == Window(0, 0, 0)


def test_the_window_follows_the_step_at_work() -> None:
    steps = [step(f"s{n}", "completed", n, n + 1) for n in range(500)]
    steps += [step("now", "running", 500)] + [step(f"t{n}") for n in range(1_499)]
    window = window_of(steps, None)
    assert window.end - window.start == WINDOW
    assert window.start < 500 < window.end


def test_the_window_of_an_ended_run_is_where_it_came_to() -> None:
    steps = [step(f"s{n}", "completed", n, n + 1) for n in range(100)] + [step(f"t{n}", "skipped") for n in range(100)]
    window = window_of(steps, None)
    assert window.start <= 99 < window.end


@pytest.mark.parametrize(("asked", "start"), [(-5, 0), (30, 30), (10_000, 175)])
def test_a_window_that_was_asked_for_stays_within_the_steps(asked: int, start: int) -> None:
    assert window_of([step(f"s{n}") for n in range(200)], asked) == Window(start, start + WINDOW, 200)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (-1, "0 ms"), (0.0421, "42 ms"), (0.9996, "1.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3_599.7, "1 h 0 min"), (7_500, "2 h 5 min")],
)  # fmt: skip
def test_a_duration_is_as_exact_as_people_want_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
