"""An attempt of a step, without a database."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from playcall.models.step import StandardStep
from playcall.server.engine.failure import StepFailed, Superseded
from playcall.server.engine.step_work import StepAttempt, _Room, _together
from playcall.server.engine.work import Work
from playcall.server.store.tables import RunRow


async def raising(error: BaseException) -> None:
    raise error


async def test_what_failed_is_told_before_what_was_stopped_because_of_it() -> None:
    """A crash may come between: then the stopped one is found as cancelled."""
    stopped, failed = StepFailed("cancelled", "stopped"), StepFailed("not_found", "the reason")
    with pytest.raises(StepFailed, match="the reason"):
        await _together([raising(stopped), raising(failed)], Work(1))
    with pytest.raises(Superseded):
        await _together([raising(stopped), raising(failed), raising(Superseded())], Work(1))


async def test_a_pause_that_was_made_before_a_crash_is_not_made_again() -> None:
    step = StandardStep(id="s", type="standard", agent="a", operation="o", timeout_seconds=10)
    nothing: Any = None
    attempt = StepAttempt(nothing, nothing, run=RunRow(id="r", segment=1), step=step, attempt=1, names={}, work=Work(1))
    attempt._found = {0: "tsk_1"}
    async with asyncio.timeout(5):
        await attempt.pause(600)
    attempt._found = {}
    with pytest.raises(StepFailed, match="10 s") as failure:
        await attempt.pause(600)
    assert failure.value.is_final


def test_a_failure_survives_being_pickled() -> None:
    failure = pickle.loads(pickle.dumps(StepFailed("x", "why", is_final=True, output=[1], go_to="s")))
    assert (failure.code, failure.message, failure.is_final, failure.output, failure.go_to) == (
        "x",
        "why",
        True,
        [1],
        "s",
    )


async def test_what_is_done_at_once_has_a_bound_together() -> None:
    room = _Room(10)
    await room.take("1234")
    with pytest.raises(StepFailed, match="10 bytes together") as failure:
        await room.take("1234")
    assert (failure.value.code, failure.value.is_final) == ("output_too_large", True)
