"""The limiter: never more than its limit, nobody overtakes, no slot is ever lost."""

from __future__ import annotations

import asyncio
import random
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playcall.errors import ConfigurationError
from playcall.http.limits import InFlight, Limiter


async def entered(limiter: Limiter) -> InFlight:
    return await limiter.enter("GET", "/x")


async def settle() -> None:
    """Lets everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_slots_go_to_whoever_waits_longest() -> None:
    limiter = Limiter(1)
    first = await entered(limiter)
    order: list[int] = []

    async def wait(number: int) -> None:
        mine = await entered(limiter)
        order.append(number)
        await asyncio.sleep(0)
        limiter.leave(mine)

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await settle()
    assert (limiter.in_flight, limiter.waiting, order) == (1, 5, [])
    limiter.leave(first)
    late = asyncio.create_task(wait(99))
    await asyncio.gather(*tasks, late)
    assert order == [0, 1, 2, 3, 4, 99]
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


async def test_cancelled_while_waiting_leaves_the_queue() -> None:
    limiter = Limiter(1)
    first = await entered(limiter)
    waiting = asyncio.create_task(entered(limiter))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert limiter.waiting == 0
    limiter.leave(first)
    assert limiter.in_flight == 0


async def test_cancelled_at_the_moment_of_the_grant_passes_the_slot_on() -> None:
    limiter = Limiter(1)
    first = await entered(limiter)
    unlucky = asyncio.create_task(entered(limiter))
    lucky = asyncio.create_task(entered(limiter))
    await settle()
    limiter.leave(first)  # granted to the unlucky one …
    unlucky.cancel()  # … which never hears of it
    await asyncio.gather(unlucky, return_exceptions=True)
    lucky_request = await asyncio.wait_for(lucky, 1)
    assert limiter.in_flight == 1
    limiter.leave(lucky_request)
    assert limiter.in_flight == 0


def test_loops_and_threads_share_one_limit() -> None:
    limiter = Limiter(3)
    lock = threading.Lock()
    inside = 0
    most = 0
    done = 0

    async def one() -> None:
        nonlocal inside, most, done
        mine = await entered(limiter)
        with lock:
            inside += 1
            most = max(most, inside)
        await asyncio.sleep(0.0005)
        with lock:
            inside -= 1
            done += 1
        limiter.leave(mine)

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (done, inside, limiter.in_flight, limiter.waiting) == (200, 0, 0, 0)
    assert most == 3


@pytest.mark.parametrize("limit", [1, 2])
def test_threads_that_come_between_each_others_steps_lose_no_slot_and_leave_nobody_waiting(limit: int) -> None:
    """Taking and giving back are not under one lock: each order of their steps has to be good."""
    limiter = Limiter(limit)
    came: list[None] = []
    left: list[None] = []
    inside: list[int] = []

    async def one(chance: random.Random) -> None:
        mine = limiter.try_enter("GET", "/x") if chance.random() < 0.5 else None
        if mine is None:
            entering = asyncio.create_task(entered(limiter))
            if chance.random() < 0.2:
                await asyncio.sleep(0)
                entering.cancel()
            try:
                mine = await entering
            except asyncio.CancelledError:
                return
        came.append(None)
        inside.append(len(came) - len(left))  # in this order: whoever leaves in between is not counted
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        left.append(None)
        limiter.leave(mine)

    async def many(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(600):
            await asyncio.gather(*(one(chance) for _ in range(4)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=lambda seed=seed: asyncio.run(many(seed)), daemon=True) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "somebody waits for a slot that is free"
    finally:
        sys.setswitchinterval(before)
    assert max(inside) <= limiter.limit
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


def test_a_waiter_whose_loop_has_gone_does_not_keep_the_slot() -> None:
    limiter = Limiter(1)
    dead = asyncio.new_event_loop()
    first = dead.run_until_complete(entered(limiter))
    coroutine = limiter.enter("GET", "/x")
    waiting = dead.create_task(coroutine)
    dead.run_until_complete(asyncio.sleep(0))
    dead.close()  # without cancelling: the waiter is never told
    limiter.leave(first)
    assert limiter.in_flight == 0
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="closed"):
        coroutine.throw(RuntimeError("closed"))


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 4),
    acts=st.lists(st.sampled_from(["enter", "leave", "cancel", "run"]), max_size=60),
    data=st.data(),
)
def test_no_sequence_of_entering_leaving_and_cancelling_breaks_the_limit_or_loses_a_slot(
    limit: int, acts: list[str], data: st.DataObject
) -> None:
    async def play() -> None:
        limiter = Limiter(limit)
        holders: list[InFlight] = []
        tasks: list[asyncio.Task[None]] = []

        async def take() -> None:
            holders.append(await entered(limiter))

        for act in acts:
            if act == "enter":
                tasks.append(asyncio.create_task(take()))
            elif act == "leave" and holders:
                limiter.leave(holders.pop(data.draw(st.integers(0, len(holders) - 1))))
            elif act == "cancel" and (pending := [task for task in tasks if not task.done()]):
                pending[data.draw(st.integers(0, len(pending) - 1))].cancel()
            elif act == "run":
                await settle()
            assert len(holders) <= limit
            assert limiter.in_flight <= limit
        await settle()
        while holders:
            limiter.leave(holders.pop())
            await settle()
        assert all(task.done() for task in tasks)
        assert (limiter.in_flight, limiter.waiting) == (0, 0)

    asyncio.run(play())


async def test_a_description_names_the_longest_holders_and_counts_the_rest() -> None:
    limiter = Limiter(7)
    for number in range(7):
        await limiter.enter("GET", f"/n{number}")
    text = limiter.describe()
    assert "GET /n0 since 0.0 s" in text
    assert "/n5" not in text
    assert "and 2 more" in text


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_concurrency must be a whole number, 1 or more"):
        Limiter(0)
