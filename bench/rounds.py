"""Contestants take turns, round by round, in an order that changes: what disturbs the machine disturbs them all alike."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["AsyncTurn", "Scale", "Tell", "Turn", "share", "take_turns", "take_turns_async"]

Turn: TypeAlias = Callable[[int], None]
"""Does the thing so often."""
AsyncTurn: TypeAlias = Callable[[int], Awaitable[None]]
Tell: TypeAlias = Callable[[float], None]
"""Hears what part of a measurement is done, from 0 to 1."""

SEED: Final = 5
WARM_UP_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Scale:
    """How long to measure."""

    rounds: int = 15
    turn_seconds: float = 0.4
    """What one contestant's turn of a round takes, about."""
    quick: bool = False

    @classmethod
    def of(cls, *, quick: bool) -> Scale:
        return cls(rounds=3, turn_seconds=0.1, quick=True) if quick else cls()


def share(tell: Tell, number: int, of: int) -> Tell:
    """Tells of one part of a measurement, `number` from 0, as of the whole."""
    return lambda part: tell((number + part) / of)


def take_turns(turns: Mapping[str, Turn], scale: Scale, tell: Tell) -> dict[str, list[float]]:
    """Microseconds a time, for each contestant and round. `tell` hears what part is done."""
    times = {name: _times(turn, scale) for name, turn in turns.items()}
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for number, order in enumerate(_orders(turns, scale.rounds), 1):
        for name in order:
            gc.collect()
            began = time.perf_counter()
            turns[name](times[name])
            taken[name].append((time.perf_counter() - began) / times[name] * 1e6)
        tell(number / scale.rounds)
    return taken


async def take_turns_async(turns: Mapping[str, AsyncTurn], scale: Scale, tell: Tell) -> dict[str, list[float]]:
    """As `take_turns`, on the running loop."""
    times = {name: await _times_async(turn, scale) for name, turn in turns.items()}
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for number, order in enumerate(_orders(turns, scale.rounds), 1):
        for name in order:
            gc.collect()
            began = time.perf_counter()
            await turns[name](times[name])
            taken[name].append((time.perf_counter() - began) / times[name] * 1e6)
        tell(number / scale.rounds)
        await asyncio.sleep(0)
    return taken


def _orders(names: Iterable[str], rounds: int) -> Iterable[list[str]]:
    chance = random.Random(SEED)
    order = list(names)
    for _ in range(rounds):
        chance.shuffle(order)
        yield list(order)


def _times(turn: Turn, scale: Scale) -> int:
    """How often fills a turn. What it takes to find out warms caches and connections."""
    times = 1
    while True:
        began = time.perf_counter()
        turn(times)
        took = time.perf_counter() - began
        if took >= min(WARM_UP_SECONDS, scale.turn_seconds):
            return max(1, round(times * scale.turn_seconds / took))
        times = max(times + 1, min(times * 4, round(times * scale.turn_seconds / max(took, 1e-6))))


async def _times_async(turn: AsyncTurn, scale: Scale) -> int:
    times = 1
    while True:
        began = time.perf_counter()
        await turn(times)
        took = time.perf_counter() - began
        if took >= min(WARM_UP_SECONDS, scale.turn_seconds):
            return max(1, round(times * scale.turn_seconds / took))
        times = max(times + 1, min(times * 4, round(times * scale.turn_seconds / max(took, 1e-6))))
