"""What is worked on can be stopped, and what has begun to be written is ended."""

from __future__ import annotations

import asyncio

import pytest

from playcall.server.engine.work import WorkList
from playcall.server.tools.unbroken import unbroken


async def test_a_transaction_that_has_begun_is_ended_however_often_its_caller_is_cancelled() -> None:
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write() -> None:
        begun.set()
        await go.wait()
        ended.set()

    caller = asyncio.create_task(unbroken(write()))
    await begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_stopping_cancels_the_body_and_says_why() -> None:
    works = WorkList()
    with works.entry("r", 1) as work:
        body = asyncio.create_task(work.do(asyncio.sleep(60)))
        await asyncio.sleep(0)
        works.stop("somebody else")
        works.stop("r")
        with pytest.raises(asyncio.CancelledError):
            await body
        assert work.stopped_by == "cancel"
        with pytest.raises(asyncio.CancelledError):
            await work.do(asyncio.sleep(60))
        work.stop("shutdown")
        work.stop("cancel")
        assert work.shuts_down, "a shutdown wins over a wish"


async def test_closing_stops_what_is_there_and_what_comes() -> None:
    works = WorkList()

    async def drive() -> str:
        with works.entry("r", 1) as work:
            try:
                await work.do(asyncio.sleep(60))
            except asyncio.CancelledError:
                return str(work.stopped_by)
            return "ended"

    first = asyncio.create_task(drive())
    await asyncio.sleep(0)
    await works.close()
    assert await first == "shutdown"
    assert await drive() == "shutdown"
    await works.idle()


async def test_a_loop_that_ends_takes_the_body_with_it() -> None:
    works = WorkList()
    ended = asyncio.Event()

    async def body() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with works.entry("r", 1) as work:
        doing = asyncio.create_task(work.do(body()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doing
        assert ended.is_set()
        assert work.shuts_down


async def test_the_newer_of_two_segments_is_the_one_that_is_stopped() -> None:
    works = WorkList()
    with works.entry("r", 1) as old, works.entry("r", 1) as new:
        works.stop("r")
        assert (old.stopped_by, new.stopped_by) == (None, "cancel")
