"""Slots are shared fairly, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from playcall.server.engine.slots import Slots


class Holder:
    """Takes a slot and holds it until it is let go."""

    def __init__(self, slots: Slots, owner: str) -> None:
        self.holds = False
        self._let_go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(slots, owner))

    async def _hold(self, slots: Slots, owner: str) -> None:
        async with slots.held_by(owner):
            self.holds = True
            await self._let_go.wait()

    async def end(self) -> None:
        self._let_go.set()
        await self.task


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_owner_never_has_all_slots_and_the_next_gets_one_at_once() -> None:
    slots = Slots(16)
    greedy = [Holder(slots, "a") for _ in range(100)]
    await settled()
    assert sum(h.holds for h in greedy) == 12
    others = [Holder(slots, owner) for owner in "bcd"]
    await settled()
    assert all(h.holds for h in others)
    for holder in greedy[:12]:
        await holder.end()
    await settled()
    assert sum(h.holds for h in greedy[12:]) >= 8, "what is free again is used"
    for holder in [*greedy[12:], *others]:
        await holder.end()


async def test_what_is_released_goes_to_whoever_holds_least() -> None:
    slots = Slots(2)
    first, second = Holder(slots, "a"), Holder(slots, "b")
    await settled()
    more, late = Holder(slots, "a"), Holder(slots, "c")
    await settled()
    assert not more.holds
    assert not late.holds
    await second.end()
    await settled()
    assert (more.holds, late.holds) == (False, True)
    await first.end()
    await settled()
    assert more.holds
    await more.end()
    await late.end()


@pytest.mark.parametrize("granted", [False, True])
async def test_whoever_is_cancelled_while_waiting_leaves_no_slot_behind(granted: bool) -> None:
    slots = Slots(1)
    holder, waiter = Holder(slots, "a"), Holder(slots, "b")
    await settled()
    if granted:
        holder.task.cancel()  # its slot is handed on in the moment in which the other is cancelled too
        waiter.task.cancel()
        await asyncio.gather(holder.task, waiter.task, return_exceptions=True)
    else:
        waiter.task.cancel()
        await asyncio.gather(waiter.task, return_exceptions=True)
        await holder.end()
    last = Holder(slots, "c")
    await settled()
    assert last.holds
    await last.end()
