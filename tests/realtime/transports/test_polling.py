"""What a poll asks and what it passes on, against scripted answers."""

from __future__ import annotations

import asyncio

import pytest

from playcall.realtime.codec import UnreadableFrameError
from playcall.realtime.transports import polling
from tests.misbehaving_server import silence

from .scripted_answers import asked, events, page, scripted


async def test_each_question_goes_on_where_the_last_answer_ended() -> None:
    acts = [
        page(events(0, 2), events(2, 3)),
        page(events(3, 3), seq=3),
        page({**events(3, 5), "events": []}, seq=3),
        page({**events(5, 7), "events": [], "at_id": "ev7"}, seq=5),
        silence(),
    ]
    async with scripted(*acts) as (talk, _, script):
        await talk.subscribe("run:a&b", limit=10, types=["task.*", "x"])
        for _ in range(6):
            await talk.receive()
        await asked(script, 5)
    first, second, third, fourth, fifth = script.questions
    assert first == {"topic": ["run:a&b"], "from": ["start"], "limit": ["10"], "types": ["task.*", "x"]}
    assert second == {
        "topic": ["run:a&b"],
        "from": ["e1:3"],
        "from_id": ["ev3"],
        "limit": ["7"],
        "types": ["task.*", "x"],
        "wait_seconds": ["0.5"],
    }
    assert (third["from"], third["from_id"]) == (["e1:3"], ["ev3"])
    assert (fourth["from"], fourth.get("from_id")) == (["e1:5"], None)
    assert (fifth["from"], fifth["from_id"]) == (["e1:7"], ["ev7"])


async def test_the_id_at_the_cursor_goes_with_the_question_and_with_the_answer() -> None:
    async with scripted(page(seq=5, at_id="ev5"), silence()) as (talk, _, script):
        await talk.subscribe("tasks", {"epoch": "e1", "seq": 5, "id": "ev5"})
        answer = await talk.receive()
        assert (answer["seq"], answer["at_id"]) == (5, "ev5")
        await talk.send("ping", n=1)
        await talk.until("pong")
    assert (script.questions[0]["from"], script.questions[0]["from_id"]) == (["e1:5"], ["ev5"])


async def test_frames_that_do_not_follow_are_passed_on_for_the_session_to_judge() -> None:
    async with scripted(page(events(4, 6), seq=4), silence()) as (talk, _, _):
        await talk.subscribe("tasks", {"epoch": "e1", "seq": 2})
        assert (await talk.receive())["seq"] == 4
        frame = await talk.receive()
        assert (frame["sid"], frame["prev"], frame["to"]) == ("s1", 4, 6)


async def test_an_epoch_that_changes_without_a_gap_is_never_passed_on_as_if_it_followed() -> None:
    async with scripted(page(events(0, 1)), page(events(1, 2), epoch="e2", seq=1)) as (talk, _, _):
        await talk.subscribe("tasks")
        await talk.receive()
        assert [event["seq"] for event in await talk.events(1)] == [1]
        with pytest.raises(UnreadableFrameError, match="another epoch"):
            await talk.receive()


async def test_a_gap_in_a_later_answer_ends_the_polling() -> None:
    gap = {
        "op": "gap",
        "sid": "x",
        "reason": "epoch",
        "lost_after": {"epoch": "e1", "seq": 1},
        "resume": {"epoch": "e2", "seq": 0},
    }
    async with scripted(page(events(0, 1)), page(gap, epoch="e2", seq=1)) as (talk, _, script):
        await talk.subscribe("tasks")
        found, before = await talk.until("gap")
        assert (found["sid"], [each["op"] for each in before]) == ("s1", ["subscribed", "events"])
        await talk.send("ping", n=1)
        await talk.until("pong")
        assert len(script.questions) == 2


async def test_frames_of_a_later_version_are_passed_on() -> None:
    async with scripted(page({"op": "aurora", "sid": "x", "new": True}), silence()) as (talk, _, _):
        await talk.subscribe("tasks")
        await talk.receive()
        assert await talk.receive() == {"op": "aurora", "sid": "s1", "new": True}


async def test_numbers_and_texts_arrive_as_they_were_sent() -> None:
    data = {"big": 2**70, "small": 1e-300, "half": 0.1, "text": "ä\u2028\U0001f600\\u0000", "nested": [[[None, True]]]}
    frame = events(0, 1)
    frame["events"][0]["data"] = data
    async with scripted(page(frame), silence()) as (talk, _, _):
        await talk.subscribe("tasks")
        await talk.receive()
        (event,) = await talk.events(1)
        assert event["data"] == data


async def test_answers_that_come_at_once_and_bring_nothing_are_asked_for_at_a_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused: list[float] = []
    real = asyncio.sleep

    async def noting(seconds: float) -> None:
        paused.append(seconds)
        await real(0)

    async with scripted(page(), wait_seconds=25) as (talk, _, _):
        monkeypatch.setattr(polling.asyncio, "sleep", noting)
        await talk.subscribe("tasks")
        assert [(await talk.receive())["op"] for _ in range(4)] == ["subscribed", "ping", "ping", "ping"]
        monkeypatch.undo()
    assert len(paused) >= 2
    assert all(0 < seconds <= polling.PACE_SECONDS for seconds in paused)


async def test_the_next_answer_is_asked_for_when_the_last_was_taken() -> None:
    acts = [page(*(events(at, at + 1) for at in range(5)), head=5), silence()]
    async with scripted(*acts) as (talk, _, script):
        await talk.subscribe("tasks")
        await talk.receive()
        for n in range(2):
            await talk.send("ping", n=n)
        async with asyncio.timeout(5):
            while talk.link._inbox.qsize() < 7:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
        assert len(script.questions) == 1
        while (await talk.receive())["op"] != "pong":
            pass
        await talk.receive()
        await asked(script, 2)
