"""What a crowd of clients does when its server is gone, as data: the moments of all attempts to connect.

Nothing here takes time: each client is a `Session` with a clock of its own and seeded randomness, or the arithmetic of a
schedule that it is compared with.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate, chain, count, repeat
from random import Random
from typing import TypeAlias

from playcall.realtime.codec import decode
from playcall.realtime.effects import Connect
from playcall.realtime.items import Want
from playcall.realtime.schedule import CAP_SECONDS, FIRST_SECONDS, delay_seconds, spread_seconds
from playcall.realtime.session import Session

__all__ = [
    "Client",
    "exponential",
    "fixed",
    "playcall",
    "playcall_told_goodbye",
    "scheduled",
    "storm",
    "worst_window",
]

Client: TypeAlias = Callable[[float, Random], list[float]]
"""Of how long the server is away and of chance: the moments at which one client tries, in seconds after the loss.

The last of them is the one that succeeds.
"""

SETTLED_SECONDS = 60.0
"""Each client had been connected for so long."""
WELCOME = decode(
    json.dumps({"op": "welcome", "v": 1, "connection_id": "c", "heartbeat_seconds": 15, "max_frame_bytes": 1_048_576})
)
GOODBYE = decode(json.dumps({"op": "goodbye", "reason": "draining", "reconnect_after_ms": 0, "spread_ms": 8_000}))


def fixed(away_seconds: float, chance: Random) -> list[float]:
    """Every second: what one writes first."""
    return _until_back(repeat(1.0), away_seconds)


def exponential(away_seconds: float, chance: Random) -> list[float]:
    """Our own caps, with no randomness."""
    return _until_back(chain([0.0], (min(CAP_SECONDS, FIRST_SECONDS * 2.0**n) for n in count(1))), away_seconds)


def playcall(away_seconds: float, chance: Random) -> list[float]:
    """The server is killed: every connection breaks at the same moment."""
    session = _connected(chance)
    session.lost(SETTLED_SECONDS, "killed")
    return _reconnect(session, away_seconds)


def playcall_told_goodbye(away_seconds: float, chance: Random) -> list[float]:
    """The server ends in good order, which tells its clients to spread."""
    session = _connected(chance)
    session.received(SETTLED_SECONDS, GOODBYE)
    session.closed(SETTLED_SECONDS, 1012)
    return _reconnect(session, away_seconds)


def scheduled(away_seconds: float, random: Callable[[], float], *, spread_ms: int | None = None) -> list[float]:
    """What `playcall` does, by the schedule alone: quick enough for a million.

    Args:
        spread_ms: What the server said with goodbye; None if it was killed.
    """
    tried = [0.0 if spread_ms is None else spread_seconds(0, spread_ms, random)]
    while tried[-1] < away_seconds:
        tried.append(tried[-1] + delay_seconds(len(tried), random))
    return tried


@cache
def storm(client: Client, clients: int, away_seconds: float, *, seed: int) -> list[list[float]]:
    """The attempts of each."""
    return [client(away_seconds, Random(f"{seed} {number}")) for number in range(clients)]


def worst_window(moments: list[float], window_seconds: float = 0.1) -> int:
    """The largest number of moments within any window of that length."""
    ordered = sorted(moments)
    return max(
        (bisect_left(ordered, moment + window_seconds) - place for place, moment in enumerate(ordered)), default=0
    )


def _until_back(pauses: Iterable[float], away_seconds: float) -> list[float]:
    tried: list[float] = []
    for moment in accumulate(pauses):
        tried.append(moment)
        if moment >= away_seconds:
            break
    return tried


def _connected(chance: Random) -> Session:
    session = Session(random=chance.random)
    session.subscribe(0.0, Want("tasks"))
    session.opened(0.0)
    session.received(0.0, WELCOME)
    session.take_effects()
    return session


def _reconnect(session: Session, away_seconds: float) -> list[float]:
    tried: list[float] = []
    now = SETTLED_SECONDS
    while True:
        for effect in session.take_effects():
            if isinstance(effect, Connect):
                tried.append(now - SETTLED_SECONDS)
                if tried[-1] >= away_seconds:
                    return tried
                session.lost(now, "refused", reached=False)
                break
        else:
            now = session.next_timer
            session.tick(now)
