"""Progress and lines reach the log in order, in batches, and nothing of them is lost to a fault."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from playcall.models import LogLevel
from playcall.server.clock import utc_now
from playcall.server.engine.failure import Superseded
from playcall.server.engine.reporter import Reporter
from playcall.server.store.database import Transaction
from playcall.server.store.tables import TaskRow

from .conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


def task(house: House, id: str, run_id: str | None) -> TaskRow:
    now = utc_now()
    return TaskRow(id=id, owner_id=house.owner, run_id=run_id, step_id="s", created_at=now, updated_at=now)


async def open_fence(tx: Transaction) -> None:
    """Everybody may write."""


async def test_of_progress_the_latest_and_of_lines_all_are_written(house: House) -> None:
    reporter, row = Reporter(house.database, open_fence), task(house, "t1", "r1")
    for done in range(5):
        reporter.progress(row, done, 4, "")
        reporter.line(row, LogLevel.INFO, f"line {done}")
    reporter.progress(row, float("nan"), None, "no number")
    await reporter.flush()
    await reporter.flush()
    events = await house.events("run:r1")
    assert [e.type for e in events] == ["run.log"] * 5 + ["task.progress"]
    assert json.loads(events[-1].data)["done"] == 4
    reporter.end(row)
    reporter.progress(row, 5, 5, "too late")
    await reporter.flush()
    assert len(await house.events("run:r1")) == 6


async def test_lines_that_come_too_fast_are_counted(house: House) -> None:
    reporter, row = Reporter(house.database, open_fence), task(house, "t2", "r2")
    for number in range(510):
        reporter.line(row, LogLevel.INFO, str(number))
    await reporter.flush()
    events = await house.events("run:r2")
    assert len(events) == 501
    assert json.loads(events[-1].data)["message"] == "10 lines left out: they came too fast"


async def test_a_batch_that_could_not_be_written_is_written_later(house: House) -> None:
    faults: list[Exception] = [OperationalError("insert", {}, Exception("disk is full")), Superseded()]

    async def fence(tx: Transaction) -> None:
        if faults:
            raise faults.pop(0)

    reporter, row = Reporter(house.database, fence), task(house, "t3", "r3")
    async with reporter.running():
        reporter.line(row, LogLevel.INFO, "kept")
        reporter.progress(row, 1, 2, "old")
        while len(faults) == 2:
            await reporter_pause()
        reporter.line(row, LogLevel.INFO, "later")
        reporter.progress(row, 2, 2, "new")
        while faults:
            await reporter_pause()
    await reporter.flush()
    events = [json.loads(e.data) for e in await house.events("run:r3")]
    assert [e["message"] for e in events] == ["kept", "later", "new"]


async def reporter_pause() -> None:
    await asyncio.sleep(0.01)


async def test_a_long_line_is_cut_and_a_task_without_a_run_logs_to_the_server(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = Reporter(house.database, open_fence)
    reporter.line(task(house, "t4", "r4"), LogLevel.ERROR, "x" * 100_000)
    await reporter.flush()
    data: Any = json.loads((await house.events("run:r4"))[0].data)
    assert len(data["message"]) == 8_001
    with caplog.at_level(logging.WARNING, "playcall.server.engine"):
        reporter.line(task(house, "t5", None), LogLevel.WARNING, "alone")
    assert caplog.records[-1].__dict__["line"] == "alone"


async def test_what_a_model_says_is_put_together_a_round_at_a_time_and_long_texts_are_several_events(
    house: House,
) -> None:
    reporter, row, other = Reporter(house.database, open_fence), task(house, "t6", "r6"), task(house, "t7", "r6")
    for offset, text in ((0, "a"), (1, "bc")):
        reporter.said(row, 1, offset, text)
        reporter.said(other, 1, offset, text.upper())
    reporter.said(row, 2, 0, "x" * 8_000 + "y")
    reporter.end(row)
    reporter.said(row, 2, 8_001, "too late")
    await reporter.flush()
    said = [json.loads(e.data) for e in await house.events("run:r6")]
    assert [(s["task_id"], s["round"], s["offset"], s["text"][-3:]) for s in said] == [
        ("t6", 1, 0, "abc"),
        ("t7", 1, 0, "ABC"),
        ("t6", 2, 0, "xxx"),
        ("t6", 2, 8_000, "y"),
    ]


async def test_what_could_not_be_written_of_a_models_text_is_written_later_and_once(house: House) -> None:
    faults: list[Exception] = [OperationalError("insert", {}, Exception("disk is full"))]

    async def fence(tx: Transaction) -> None:
        if faults:
            raise faults.pop(0)

    reporter, row = Reporter(house.database, fence), task(house, "t8", "r8")
    reporter.said(row, 1, 0, "one ")
    with pytest.raises(OperationalError):
        await reporter.flush()
    reporter.said(row, 1, 4, "two")
    await reporter.flush()
    assert "".join(json.loads(e.data)["text"] for e in await house.events("run:r8")) == "one two"
