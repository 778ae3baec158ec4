"""Bounds in time: as `asyncio.timeout` gives them, whatever is nested, moved, cancelled or left."""

# ruff: noqa: PT012 - what is inside an alarm is what it is about
from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
import weakref

import pytest

from playcall import alarms
from playcall.alarms import Alarm

FOR_EVER = 60.0


def soon(seconds: float = 0.02) -> float:
    return time.monotonic() + seconds


async def test_what_goes_on_past_its_moment_ends_with_a_timeout() -> None:
    alarm = Alarm(at := soon())
    with pytest.raises(TimeoutError), alarm:
        await asyncio.sleep(FOR_EVER)
    assert alarm.rang
    assert time.monotonic() >= at - alarms.EARLY_SECONDS


async def test_what_ends_in_time_is_not_disturbed_later() -> None:
    with Alarm(soon()) as alarm:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert not alarm.rang


async def test_a_moment_that_has_passed_ends_the_next_wait() -> None:
    with pytest.raises(TimeoutError), Alarm(soon(-1)):
        await asyncio.sleep(FOR_EVER)


async def test_without_a_moment_nothing_rings_until_one_is_set() -> None:
    with pytest.raises(TimeoutError), Alarm() as alarm:
        await asyncio.sleep(0.03)
        alarm.at = soon()
        await asyncio.sleep(FOR_EVER)


async def test_one_moved_to_a_later_moment_rings_only_then() -> None:
    with pytest.raises(TimeoutError), Alarm(soon(0.02)) as alarm:
        alarm.at = later = soon(0.08)
        await asyncio.sleep(FOR_EVER)
    assert time.monotonic() >= later - alarms.EARLY_SECONDS


async def test_one_moved_to_an_earlier_moment_rings_then() -> None:
    with pytest.raises(TimeoutError), Alarm(soon(10 * FOR_EVER)) as alarm:
        alarm.at = soon(0.01)
        await asyncio.sleep(FOR_EVER)


async def test_one_moved_to_an_earlier_moment_rings_once() -> None:
    with pytest.raises(TimeoutError), Alarm(soon(0.06)) as alarm:
        alarm.at = soon(0.01)
        await asyncio.sleep(FOR_EVER)
    await asyncio.sleep(0.1)  # its first moment comes, and nobody is there


async def test_the_inner_of_two_leaves_the_outer_standing() -> None:
    with pytest.raises(TimeoutError), Alarm(soon(0.08)) as outer:
        with pytest.raises(TimeoutError), Alarm(soon(0.01)):
            await asyncio.sleep(FOR_EVER)
        assert not outer.rang
        await asyncio.sleep(FOR_EVER)


async def test_the_outer_of_two_passes_through_the_inner_as_a_cancellation() -> None:
    seen: list[type[BaseException]] = []
    with pytest.raises(TimeoutError), Alarm(soon(0.01)):
        try:
            with Alarm(soon(FOR_EVER)):
                await asyncio.sleep(FOR_EVER)
        except BaseException as error:
            seen.append(type(error))
            raise
    assert seen == [asyncio.CancelledError]


async def test_it_goes_with_asyncios_own_on_either_side() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            with Alarm(soon(FOR_EVER)):
                await asyncio.sleep(FOR_EVER)
    with pytest.raises(TimeoutError), Alarm(soon(0.01)):
        async with asyncio.timeout(FOR_EVER):
            await asyncio.sleep(FOR_EVER)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_by_somebody_else_passes_as_it_is() -> None:
    async def bounded() -> None:
        with Alarm(soon(FOR_EVER)):
            await asyncio.sleep(FOR_EVER)

    task = asyncio.create_task(bounded())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_the_same_moment_is_not_taken_for_the_alarm() -> None:
    async def bounded() -> None:
        with Alarm(soon(0.01)) as alarm:
            try:
                await asyncio.sleep(FOR_EVER)
            finally:
                assert alarm.rang
                task.cancel()

    task = asyncio.create_task(bounded())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_those_that_were_left_do_not_fill_the_memory() -> None:
    for _ in range(10 * alarms.USELESS_KEPT):
        with Alarm(soon(FOR_EVER)):
            await asyncio.sleep(0)
    here = alarms._here.alarms
    assert here is not None
    assert len(here._heap) <= 2 * alarms.USELESS_KEPT + 2


async def test_one_timer_serves_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_later = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay, *rest: (timers.append(delay), call_later(delay, *rest))[1])

    async def bounded() -> None:
        with Alarm(soon(FOR_EVER)):
            await asyncio.wait([go_on])

    go_on = loop.create_future()
    tasks = [asyncio.create_task(bounded()) for _ in range(100)]
    await asyncio.sleep(0)
    go_on.set_result(None)
    await asyncio.gather(*tasks)
    assert len([delay for delay in timers if delay > 0]) <= 1


def test_loops_one_after_another_have_their_own_and_are_freed() -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def bounded() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        with Alarm(soon(FOR_EVER)):
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError), Alarm(soon(0.01)):
            await asyncio.sleep(FOR_EVER)

    for _ in range(3):
        asyncio.run(bounded())
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3


def test_threads_have_their_own() -> None:
    rang: list[bool] = []

    async def bounded() -> None:
        with pytest.raises(TimeoutError), Alarm(soon()) as alarm:
            await asyncio.sleep(FOR_EVER)
        rang.append(alarm.rang)

    threads = [threading.Thread(target=lambda: asyncio.run(bounded())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rang == [True] * 4


def test_outside_a_task_it_says_so() -> None:
    async def main() -> None:
        told: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                with Alarm(soon()):
                    pass
            except RuntimeError as error:
                told.set_result(error)

        asyncio.get_running_loop().call_soon(callback)
        assert "task" in str(await told)

    asyncio.run(main())


async def test_among_hundreds_that_are_moved_each_rings_or_not_as_it_should() -> None:
    chance = random.Random(1)

    async def one(number: int) -> None:
        is_late = number % 2 == 0
        alarm = Alarm(soon(chance.uniform(0.001, 0.1) if is_late else FOR_EVER))
        try:
            with alarm:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                    alarm.at = soon(chance.uniform(0.001, 0.1) if is_late else chance.uniform(30, FOR_EVER))
                await asyncio.sleep(FOR_EVER if is_late else 0.15)
        except TimeoutError:
            assert is_late
        else:
            assert not is_late

    async with asyncio.TaskGroup() as tasks:
        for number in range(400):
            tasks.create_task(one(number))
