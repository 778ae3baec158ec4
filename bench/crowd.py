"""So many at once: the same call made by tasks, or by threads, until it was made as often as asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from .rounds import AsyncTurn, Turn

__all__ = ["AsyncOnce", "Once", "tasks", "threads"]

Once: TypeAlias = Callable[[], object]
AsyncOnce: TypeAlias = Callable[[], Awaitable[object]]


def tasks(number: int, once: AsyncOnce) -> AsyncTurn:
    """Each begins anew as soon as it has ended, so there are always `number` under way."""

    async def turn(times: int) -> None:
        left = times

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await once()

        if number == 1:
            await worker()  # as an application does it that makes one call after another
        else:
            await asyncio.gather(*(worker() for _ in range(number)))

    return turn


def threads(number: int, once: Once, pool: ThreadPoolExecutor) -> Turn:
    """As `tasks`; `pool` has as many threads."""

    def turn(times: int) -> None:
        if number == 1:
            for _ in range(times):
                once()
            return

        def worker(share: int) -> None:
            for _ in range(share):
                once()

        shares = [times // number + (each < times % number) for each in range(number)]
        for done in [pool.submit(worker, share) for share in shares]:
            done.result()

    return turn
