"""Watching and waiting for a run: the snapshot, then the events, over a source of events that is played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from playcall import BaseAPIClient, BlockingAPIClient, Cursor, RunSnapshot
from playcall.errors import RealtimeError
from playcall.models.event import AnyEvent
from playcall.models.run import Run
from playcall.realtime.items import Gap, Snapshot
from playcall.services.run_service import RunService
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, items, value
from tests.models.examples import EVENTS, RUN

RUNNING = json.loads(RUN.model_dump_json())
ENDED = {**RUNNING, "status": "completed", "ended_at": "2026-01-01T00:00:00Z"}


class Playing:
    """An open feed of what is played."""

    def __init__(self, items: AsyncIterator[Any]) -> None:
        self._items = items
        self.cursor: Cursor | None = None

    async def __aiter__(self) -> AsyncIterator[AnyEvent | Snapshot]:
        async for item in self._items:
            self.cursor = item.cursor if isinstance(item, Snapshot) else Cursor("e1", item.seq)
            yield item


class Played:
    """Gives these events; remembers from where they were asked for."""

    def __init__(self, events: list[Any], *, hang: bool = False) -> None:
        self.events = events
        self.hang = hang
        self.asked: list[tuple[str, object]] = []
        self.ended = False

    @asynccontextmanager
    async def events_of(
        self,
        topic: str,
        *,
        start: Cursor | Literal["start"],
        types: Sequence[str] | None = None,
        on_gap: Literal["raise", "snapshot"] = "raise",
    ) -> AsyncIterator[Playing]:
        self.asked.append((topic, start))
        self.on_gap = on_gap
        try:
            yield Playing(self._play())
        finally:
            self.ended = True

    async def _play(self) -> AsyncIterator[Any]:
        for event in self.events:
            yield event
        if self.hang:
            await asyncio.sleep(3600)


def service(blocking: bool, played: Played, *answers: Any) -> Any:
    left = list(answers)

    def handler(request: MockRequest) -> MockAnswer:
        return MockAnswer(json=left.pop(0) if len(left) > 1 else left[0], headers={"X-Event-Cursor": "e1:7"})

    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    return RunService(kind("http://b", transport=MockTransport(handler)), played)


@FACES
async def test_a_snapshot_comes_first_and_events_follow_from_its_place(blocking: bool) -> None:
    played = Played(EVENTS[:3])
    got = await items(service(blocking, played, RUNNING).watch("run_1"))
    assert isinstance(got[0], RunSnapshot)
    assert not got[0].terminal
    assert got[1:] == EVENTS[:3]
    assert played.asked == [("run:run_1", Cursor("e1", 7))]
    assert played.ended


@FACES
@pytest.mark.parametrize("start", ["start", Cursor("e1", 3)], ids=str)
async def test_from_the_start_or_a_cursor_there_are_events_only(blocking: bool, start: Any) -> None:
    played = Played(EVENTS[:2])
    assert await items(service(blocking, played, RUNNING).watch("run_1", start=start)) == EVENTS[:2]
    assert played.asked == [("run:run_1", start)]


@FACES
async def test_leaving_early_ends_the_subscription(blocking: bool) -> None:
    played = Played(EVENTS, hang=True)
    assert len(await items(service(blocking, played, RUNNING).watch("run_1"), limit=2)) == 2
    async with asyncio.timeout(3):
        while not played.ended:
            await asyncio.sleep(0.005)


@FACES
async def test_waiting_reads_the_run_again_when_its_events_have_ended(blocking: bool) -> None:
    played = Played(EVENTS[:1])
    run = await value(service(blocking, played, RUNNING, ENDED).wait("run_1", timeout_seconds=5))
    assert run.status == "completed"


@FACES
async def test_waiting_gives_up_in_time_and_ends_its_subscription(blocking: bool) -> None:
    played = Played([], hang=True)
    with pytest.raises(TimeoutError):
        await value(service(blocking, played, RUNNING).wait("run_1", timeout_seconds=0.05))
    assert played.ended


# --- after a gap ------------------------------------------------------------------------------------------------------


def snapshot(run: dict[str, Any], seq: int) -> Snapshot:
    gap = Gap("run:run_1", "expired", Cursor("e1", 7), Cursor("e1", 20))
    return Snapshot(gap, Run.model_validate(run), Cursor("e1", seq))


@FACES
async def test_after_a_gap_a_watcher_is_given_the_run_again_where_it_asks_for_that(blocking: bool) -> None:
    played = Played([snapshot(RUNNING, 30), *EVENTS[:1]])
    got = await items(service(blocking, played, RUNNING).watch("run_1", on_gap="snapshot"))
    assert [type(each) for each in got[:2]] == [RunSnapshot, RunSnapshot]
    assert got[1].cursor == Cursor("e1", 30)
    assert got[2:] == EVENTS[:1]
    assert played.on_gap == "snapshot"


@FACES
async def test_a_run_that_ended_in_the_gap_has_nothing_more_to_watch(blocking: bool) -> None:
    played = Played([snapshot(ENDED, 30)], hang=True)
    got = await items(service(blocking, played, RUNNING).watch("run_1", on_gap="snapshot"))
    assert [each.terminal for each in got] == [False, True]
    assert played.ended


@FACES
async def test_waiting_is_not_stopped_by_a_gap(blocking: bool) -> None:
    played = Played([snapshot(RUNNING, 30), snapshot(ENDED, 40)], hang=True)
    run = await value(service(blocking, played, RUNNING, ENDED).wait("run_1", timeout_seconds=5))
    assert run.status == "completed"
    assert played.on_gap == "snapshot"


# --- a run that stays current -----------------------------------------------------------------------------------------


async def lived(blocking: bool, played: Played, *answers: Any) -> tuple[list[Any], Any, Any]:
    """The values of a live run, the last included; its cursor; and its error."""
    live = service(blocking, played, *answers).live("run_1")
    if not blocking:
        async with live:
            values = [live.value, *[run async for run in live.changes()]]
            return values, live.cursor, live.error

    def on_a_thread() -> tuple[list[Any], Any, Any]:
        with live:
            values = [live.value, *live.changes()]
            return values, live.cursor, live.error

    return await asyncio.to_thread(on_a_thread)


def carrying(run: dict[str, Any], seq: int, version: int, type: str = "run.changed") -> Any:
    from pydantic import TypeAdapter

    event = {"seq": seq, "id": f"e{seq}", "time": "2026-01-01T00:00:00Z", "type": type}
    return TypeAdapter(AnyEvent).validate_python({**event, "data": {"run": {**run, "version": version}}})


@FACES
async def test_an_older_version_never_takes_the_place_of_a_newer_one(blocking: bool) -> None:
    first = {**RUNNING, "version": 5}
    played = Played([carrying(RUNNING, 8, 4), carrying(RUNNING, 9, 5), carrying(ENDED, 10, 6, "run.completed")])
    values, cursor, error = await lived(blocking, played, first)
    assert [each.version for each in values] in ([5, 6], [6]), "what comes before anybody looks is not a change"
    assert (cursor, error) == (Cursor("e1", 10), None)
    assert played.asked == [("run:run_1", Cursor("e1", 7))]


@FACES
async def test_an_end_of_a_kind_that_cannot_be_read_is_read_over_http(blocking: bool) -> None:
    ended = {**ENDED, "version": 9}
    values, _, error = await lived(blocking, Played([]), {**RUNNING, "version": 5}, ended)
    assert values[-1].status == "completed"
    assert error is None


@FACES
async def test_after_a_gap_it_is_the_run_of_the_snapshot(blocking: bool) -> None:
    played = Played([snapshot({**ENDED, "version": 12}, 30)], hang=True)
    values, cursor, _ = await lived(blocking, played, {**RUNNING, "version": 5})
    assert values[-1].version == 12
    assert cursor == Cursor("e1", 30)


@FACES
async def test_a_defect_ends_it_with_an_error_for_whoever_waits(blocking: bool) -> None:
    played = Played(["no event"])
    with pytest.raises(RealtimeError, match="not kept current any more"):
        await lived(blocking, played, RUNNING)
    assert played.ended
