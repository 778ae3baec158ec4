"""The time of a step, with a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from playcall.server.engine.step_time import StepTime


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    return now


async def test_only_work_counts_and_what_is_done_at_the_same_time_counts_once(clock: list[float]) -> None:
    time = StepTime(10)
    clock[0] += 60  # it waits for its turn
    assert (time.left, time.is_up) == (10, False)
    with time.working():
        clock[0] += 2
        with time.working():
            clock[0] += 3
            assert time.left == 5, "while they work too"
        clock[0] += 1
    clock[0] += 60
    assert time.left == 4
    with time.working():
        clock[0] += 9
    assert (time.left, time.is_up) == (0, True)


async def test_without_a_limit_there_is_always_time(clock: list[float]) -> None:
    time = StepTime(None)
    with time.working():
        clock[0] += 1e9
    assert (time.left, time.is_up) == (None, False)
