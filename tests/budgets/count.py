"""`python -m tests.budgets.count` runs each fixed path and prints as JSON what a call costs.

A process of its own: coverage and debuggers trace as well, and a thread has one trace function.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from .budget import Cost
from .counting import Counting, Lap
from .paths import ASYNC, BLOCKING, OWN_ONLY, AsyncOnce

WARM_UP: Final = 60
"""Calls before the first that counts, for caches, connections and windows of the last so many."""
COUNTED: Final = 40
WINDOW: Final = 200
"""Calls within which what is cleaned up now and then, such as timers that were cancelled, is cleaned up."""
WINDOWS: Final = 5


def main() -> None:
    # Memory first: the loop's thread, once traced, stays so.
    leaked = {name: asyncio.run(_async_leak(name)) for name in ASYNC}
    leaked |= {name: asyncio.run(_blocking_leak(name)) for name in BLOCKING}
    gc.collect()
    gc.disable()  # its finalisers run when they will
    costs: dict[str, Cost] = {}
    for name in ASYNC:
        costs[name] = _cost(asyncio.run(_async_laps(name)), elsewhere=name not in OWN_ONLY)
    for name in BLOCKING:
        caller, loop = _blocking_laps(name)
        costs[f"{name}: the caller's thread"] = _cost(caller)
        costs[f"{name}: the loop's thread"] = _cost(loop)
    json.dump({"costs": {name: cost.as_json() for name, cost in costs.items()}, "leaked_blocks": leaked}, sys.stdout)


async def _async_laps(name: str) -> list[Lap]:
    counting = Counting()
    async with ASYNC[name]() as once:
        laps: list[Lap] = []
        for _ in range(WARM_UP):
            await once()
        counting.lap()
        for _ in range(COUNTED):
            await once()
            laps.append(counting.lap())
        counting.stop()
    return laps


def _blocking_laps(name: str) -> tuple[list[Lap], list[Lap]]:
    """The caller's and the loop's: a lap of that goes from one request that reaches the transport to the next."""
    counting = Counting()
    caller: list[Lap] = []
    loop: list[Lap] = []
    with BLOCKING[name](lambda: loop.append(counting.lap())) as once:
        for _ in range(WARM_UP):
            once()
        counting.lap()
        for _ in range(COUNTED):
            once()
            caller.append(counting.lap())
        counting.stop()
    return caller, loop[-COUNTED:]


def _cost(laps: Sequence[Lap], *, elsewhere: bool = False) -> Cost:
    """Of one lap, on the average: some things are done once in several calls."""
    files: Counter[str] = Counter()
    for lap in laps:
        files.update(lap.files)
    return Cost(
        {name: count for name, each in files.items() if (count := round(each / len(laps)))},
        calls=round(sum(lap.calls for lap in laps) / len(laps)),
        elsewhere=round(sum(lap.elsewhere for lap in laps) / len(laps)) if elsewhere else None,
    )


async def _async_leak(name: str) -> float:
    async with ASYNC[name]() as once:
        return await _leaked_blocks(once)


async def _blocking_leak(name: str) -> float:
    with BLOCKING[name](lambda: None) as blocking:

        async def once() -> None:
            blocking()

        return await _leaked_blocks(once)


async def _leaked_blocks(once: AsyncOnce) -> float:
    """Memory blocks that a call leaves behind for good: what grows grows from each window to the next."""
    fewest = [await _fewest_blocks(once) for _ in range(WINDOWS)]
    return min(after - before for before, after in pairwise(fewest)) / WINDOW


async def _fewest_blocks(once: AsyncOnce) -> int:
    fewest = sys.getallocatedblocks()
    for _ in range(WINDOW):
        await once()
        await asyncio.sleep(0)  # the loop's turn to clean up
        fewest = min(fewest, sys.getallocatedblocks())
    return fewest


if __name__ == "__main__":
    main()
