"""Watching and waiting for a run: the snapshot, then the events, over a source of events that is played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from playcall import BaseAPIClient, BlockingAPIClient, Cursor, RunSnapshot
from playcall.models.event import AnyEvent
from playcall.services.run_service import RunService
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, items, value
from tests.models.examples import EVENTS, RUN

RUNNING = json.loads(RUN.model_dump_json())
ENDED = {**RUNNING, "status": "completed", "ended_at": "2026-01-01T00:00:00Z"}


class Played:
    """Gives these events; remembers from where they were asked for."""

    def __init__(self, events: list[Any], *, hang: bool = False) -> None:
        self.events = events
        self.hang = hang
        self.asked: list[tuple[str, object]] = []
        self.ended = False

    @asynccontextmanager
    async def events_of(
        self, topic: str, *, start: Cursor | Literal["start"]
    ) -> AsyncIterator[AsyncIterator[AnyEvent]]:
        self.asked.append((topic, start))
        try:
            yield self._play()
        finally:
            self.ended = True

    async def _play(self) -> AsyncIterator[AnyEvent]:
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
    run = await value(service(blocking, played, RUNNING, RUNNING, ENDED).wait("run_1", timeout_seconds=5))
    assert run.status == "completed"


@FACES
async def test_waiting_gives_up_in_time_and_ends_its_subscription(blocking: bool) -> None:
    played = Played([], hang=True)
    with pytest.raises(TimeoutError):
        await value(service(blocking, played, RUNNING).wait("run_1", timeout_seconds=0.05))
    assert played.ended
