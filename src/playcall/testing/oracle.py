"""The delivery oracle: whether what a client received is what the log holds (docs/realtime-protocol.md, «Proof»).

    oracle = DeliveryOracle()
    for event in client.runs.watch(run.id, start="start"):
        oracle.saw(event)
    verdict = oracle.judge(read_log(backend.url, run_topic(run.id), auth=ApiKey(backend.api_key)))
    assert verdict.ok, verdict.explain()

`judge()` is a pure function of lists. `read_log()` fetches the log over HTTP, with a client of its own, so that nothing
of what it says rests on the client that is judged.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..blocking_iterator import BlockingIterator
from ..config import API_PREFIX
from ..http.auth import Auth
from ..loop_thread import LoopThread
from ..models.event import AnyEvent
from ..models.ids import EventId
from ..realtime.items import Gap
from ..services.api_client import BaseAPIClient, BlockingAPIClient
from ..services.history import read_history
from ..services.run_service import RunSnapshot

__all__ = ["DeliveryOracle", "Seen", "Verdict", "judge", "read_log", "read_log_async"]

Seen: TypeAlias = AnyEvent | Gap | RunSnapshot
"""What a feed or `runs.watch()` gives."""

PAGE_EVENTS = 1_000
SHOWN = 5
"""Event ids that an explanation names of each kind."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a delivery, by event ids. Counts are of events; a gap is none.

    Attributes:
        in_log: Events of the log that the client should have, gaps it was told of left out.
        received: Events it received, repetitions included.
        lost: Should have come, and did not.
        repeated: Came again; an id stands here once for each time too often.
        out_of_order: Came after an event that follows it in the log.
        foreign: Came, and are not in the log, or lie before the place where the client began.
        altered: Came with another place, type or payload than the log has.
    """

    in_log: int
    received: int
    lost: tuple[EventId, ...] = ()
    repeated: tuple[EventId, ...] = ()
    out_of_order: tuple[EventId, ...] = ()
    foreign: tuple[EventId, ...] = ()
    altered: tuple[EventId, ...] = ()

    @property
    def ok(self) -> bool:
        """Every event once, in order, as it is in the log; or an explicit gap."""
        return not (self.lost or self.repeated or self.out_of_order or self.foreign or self.altered)

    def explain(self) -> str:
        """The verdict in words, with the first ids of each fault."""
        kinds = {
            "lost": self.lost,
            "repeated": self.repeated,
            "out of order": self.out_of_order,
            "not in the log": self.foreign,
            "altered": self.altered,
        }
        faults = [
            f"{len(ids)} {kind}: {', '.join(ids[:SHOWN])}{' …' if len(ids) > SHOWN else ''}"
            for kind, ids in kinds.items()
            if ids
        ]
        return f"{self.received} received of {self.in_log} in the log; " + (
            "; ".join(faults) or "each once and in order"
        )


def judge(log: Sequence[AnyEvent], seen: Sequence[Seen], *, after: int = 0) -> Verdict:
    """Holds what a client saw against the log of the same topic.

    Args:
        log: The topic's events, oldest first. With a filter on types, only those that match it.
        seen: What the client's consumer was given, in that order. A `RunSnapshot` moves `after` to its cursor.
        after: The seq the client began after; 0 for the start. What lies before the log's first event has expired.
    """
    place = {event.id: index for index, event in enumerate(log)}
    covered: set[EventId] = set()
    arrivals: list[AnyEvent] = []
    for item in seen:
        if isinstance(item, RunSnapshot):
            after = item.cursor.seq
        elif isinstance(item, Gap):
            # Of an earlier incarnation only `resume` says something about this log.
            lost_after = item.lost_after.seq if item.lost_after.epoch == item.resume.epoch else 0
            covered.update(event.id for event in log if lost_after < event.seq <= item.resume.seq)
        else:
            arrivals.append(item)

    got: set[EventId] = set()
    repeated: list[EventId] = []
    out_of_order: list[EventId] = []
    foreign: list[EventId] = []
    altered: list[EventId] = []
    furthest = -1
    for event in arrivals:
        index = place.get(event.id)
        if index is None or log[index].seq <= after:
            foreign.append(event.id)
            continue
        if log[index] != event:
            altered.append(event.id)
        if event.id in got:
            repeated.append(event.id)
            continue
        got.add(event.id)
        if index < furthest:
            out_of_order.append(event.id)
        furthest = max(furthest, index)
    expected = [event.id for event in log if event.seq > after and (event.id not in covered or event.id in got)]
    return Verdict(
        in_log=len(expected),
        received=len(arrivals),
        lost=tuple(each for each in expected if each not in got),
        repeated=tuple(repeated),
        out_of_order=tuple(out_of_order),
        foreign=tuple(foreign),
        altered=tuple(altered),
    )


class DeliveryOracle:
    """Collects what one consumer sees. Safe to feed from any thread, a handler's for one."""

    def __init__(self, *, after: int = 0) -> None:
        """`after`: the seq that the consumer began after; 0 for the start."""
        self._after = after
        self._lock = threading.Lock()
        self._seen: list[Seen] = []

    def saw(self, item: Seen) -> None:
        with self._lock:
            self._seen.append(item)

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Everything so far, in order."""
        with self._lock:
            return tuple(self._seen)

    def judge(self, log: Sequence[AnyEvent]) -> Verdict:
        """The verdict on what was seen so far; see `judge()`."""
        return judge(log, self.seen, after=self._after)


# --- the log itself ---------------------------------------------------------------------------------------------------


def read_log(url: str, topic: str, *, auth: Auth) -> list[AnyEvent]:
    """Everything that the backend at `url` keeps of a topic now, oldest first.

    Raises:
        TopicForbiddenError: there is no such topic, or it is not for this caller.
        EventGapError: the oldest events expired while they were read.
        RequestError: the backend could not be asked.
    """
    with BlockingAPIClient(url + API_PREFIX, auth=auth) as api:
        return list(BlockingIterator(LoopThread.shared(), read_history(api.awaiting, topic, page_size=PAGE_EVENTS)))


async def read_log_async(url: str, topic: str, *, auth: Auth) -> list[AnyEvent]:
    """As `read_log`, awaited."""
    async with BaseAPIClient(url + API_PREFIX, auth=auth) as api:
        return [event async for event in read_history(api, topic, page_size=PAGE_EVENTS)]
