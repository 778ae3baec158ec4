"""The oracle must see every way of delivering wrongly: here each is made on purpose."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from playcall.models import Cursor, EventId
from playcall.models.event import RunData, UnknownEvent
from playcall.models.run import Run
from playcall.realtime.items import Gap
from playcall.services.run_service import RunSnapshot
from playcall.testing.oracle import DeliveryOracle, Seen, judge

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(seq: int, *, type: str = "x.happened", id: str | None = None) -> UnknownEvent:
    return UnknownEvent(seq=seq, id=EventId(id or f"e{seq}"), time=NOW, type=type, data={})


def events(*seqs: int) -> list[UnknownEvent]:
    return [event(seq) for seq in seqs]


def gap(lost_after: int, resume: int, *, epochs: tuple[str, str] = ("a", "a")) -> Gap:
    return Gap("run:1", "expired", Cursor(epochs[0], lost_after), Cursor(epochs[1], resume))


LOG = events(1, 2, 3, 4)


def test_each_once_and_in_order_is_right() -> None:
    verdict = judge(LOG, LOG)
    assert verdict.ok
    assert (verdict.in_log, verdict.received) == (4, 4)
    assert verdict.explain() == "4 received of 4 in the log; each once and in order"


@pytest.mark.parametrize(
    ("seen", "fault", "ids"),
    [
        (events(1, 2, 4), "lost", ["e3"]),
        (events(1, 2, 3), "lost", ["e4"]),
        ([], "lost", ["e1", "e2", "e3", "e4"]),
        (events(1, 2, 2, 3, 3, 3, 4), "repeated", ["e2", "e3", "e3"]),
        (events(1, 3, 2, 4), "out_of_order", ["e2"]),
        (events(4, 1, 2, 3), "out_of_order", ["e1", "e2", "e3"]),
        ([*LOG, event(5)], "foreign", ["e5"]),
        ([*LOG[:3], event(4, type="y.happened")], "altered", ["e4"]),
        ([*LOG[:3], event(5, id="e4")], "altered", ["e4"]),
    ],
)
def test_each_fault_is_named_and_alone(seen: list[UnknownEvent], fault: str, ids: list[str]) -> None:
    verdict = judge(LOG, seen)
    assert not verdict.ok
    found = {name: list(getattr(verdict, name)) for name in ("lost", "repeated", "out_of_order", "foreign", "altered")}
    assert found.pop(fault) == ids
    assert not any(found.values())
    assert fault.replace("_", " ").replace("foreign", "not in the log") in verdict.explain()


def test_what_a_gap_tells_of_is_not_lost() -> None:
    seen: list[Seen] = [event(1), gap(1, 3), event(4)]
    verdict = judge(LOG, seen)
    assert verdict.ok
    assert verdict.in_log == 2


def test_a_gap_excuses_nothing_beyond_itself() -> None:
    seen: list[Seen] = [event(1), gap(1, 2), event(4)]
    assert judge(LOG, seen).lost == ("e3",)


def test_a_gap_from_another_incarnation_covers_all_up_to_where_it_resumes() -> None:
    seen: list[Seen] = [gap(900, 2, epochs=("old", "new")), *events(3, 4)]
    assert judge(LOG, seen).ok


def test_a_consumer_that_began_later_misses_nothing_before_that_and_may_not_get_it() -> None:
    assert judge(LOG, events(3, 4), after=2).ok
    assert judge(LOG, events(2, 3, 4), after=2).foreign == ("e2",)


def test_a_snapshot_says_where_its_consumer_began() -> None:
    run = Run.model_construct(id="r")  # type: ignore[call-arg]
    oracle = DeliveryOracle()
    oracle.saw(RunSnapshot(RunData(run=run), Cursor("a", 2)))
    for each in events(3, 4):
        oracle.saw(each)
    assert oracle.judge(LOG).ok
    assert len(oracle.seen) == 3


def test_an_explanation_stays_short() -> None:
    assert judge(events(*range(1, 10)), []).explain().endswith("9 lost: e1, e2, e3, e4, e5 …")


@pytest.mark.parametrize("seed", range(20))
def test_a_random_fault_is_always_seen(seed: int) -> None:
    chance = random.Random(seed)
    log = events(*range(1, 51))
    seen = list(log)
    spot = chance.randrange(50)
    what = chance.choice(["drop", "repeat", "swap"])
    if what == "drop":
        del seen[spot]
    elif what == "repeat":
        seen.insert(chance.randrange(spot + 1, 51), seen[spot])
    else:
        other = (spot + chance.randrange(1, 50)) % 50
        seen[spot], seen[other] = seen[other], seen[spot]
    assert not judge(log, seen).ok
