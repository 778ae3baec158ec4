"""Reading the log page by page, over a mock: what is asked for, and what an answer that cannot be gone on with does."""

from __future__ import annotations

from typing import Any

import pytest

from playcall import BaseAPIClient
from playcall.errors import (
    EventGapError,
    InvalidArgumentError,
    PermissionDeniedError,
    TopicForbiddenError,
    UnreadableAnswerError,
)
from playcall.models import Cursor
from playcall.models.ids import EventId
from playcall.services.history import read_history
from playcall.testing import MockAnswer, MockTransport


def events(prev: int, *seqs: int, to: int | None = None, **more: Any) -> dict[str, Any]:
    given = [
        {"seq": seq, "id": f"e{seq}", "time": "2026-01-01T00:00:00Z", "type": "x.happened", "data": {}} for seq in seqs
    ]
    return {"op": "events", "sid": "t", "prev": prev, "to": seqs[-1] if to is None else to, "events": given, **more}


def page(after: int, head: int, *frames: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": "a", "seq": after, "head": head, "frames": list(frames)}


async def read(*pages: dict[str, Any], **options: Any) -> tuple[list[int], list[dict[str, str]]]:
    """The seqs that were read from these pages, and the questions that were asked."""
    answers = list(pages)
    transport = MockTransport(lambda request: MockAnswer(json=answers.pop(0)))
    async with BaseAPIClient("http://backend.test/api/v1", transport=transport) as api:
        seqs = [event.seq async for event in read_history(api, "tasks", **options)]
    assert answers == []
    return seqs, [dict(request.query) for request in transport.requests]


async def test_each_page_is_asked_for_from_where_the_last_one_ended_with_the_id_of_its_event() -> None:
    seqs, asked = await read(page(0, 4, events(0, 1, 2)), page(2, 4, events(2, 3, 4)), page_size=2)
    assert seqs == [1, 2, 3, 4]
    assert asked == [
        {"topic": "tasks", "from": "start", "limit": "2"},
        {"topic": "tasks", "from": "a:2", "from_id": "e2", "limit": "2"},
    ]


async def test_what_a_filter_leaves_out_moves_the_cursor_and_has_its_id_from_the_frame() -> None:
    seqs, asked = await read(page(0, 9, events(0, 1, to=6, at_id="e6")), page(6, 9, events(6, 8, to=9)), types=["x.*"])
    assert seqs == [1, 8]
    assert asked[1] == {"topic": "tasks", "from": "a:6", "from_id": "e6", "limit": "256", "types": "x.*"}


async def test_it_ends_where_the_log_ended_when_it_began_however_much_is_added_meanwhile() -> None:
    seqs, _ = await read(page(0, 3, events(0, 1, 2)), page(2, 900, events(2, 3, 4, 5)))
    assert seqs == [1, 2, 3]


async def test_a_cursor_and_its_id_begin_and_another_ends_it() -> None:
    start = Cursor("a", 1, EventId("e1"))
    seqs, asked = await read(page(1, 9, events(1, 2, 3, 4)), start=start, end=Cursor("a", 3))
    assert seqs == [2, 3]
    assert asked[0]["from_id"] == "e1"


async def test_an_empty_log_has_no_events() -> None:
    assert (await read(page(0, 0)))[0] == []


LATER = {"op": "later", "sid": "t"}
FINISHED = {"op": "ended", "sid": "t", "reason": "finished"}
FORBIDDEN = {"op": "ended", "sid": "t", "reason": "forbidden"}


@pytest.mark.parametrize(
    ("then", "said"),
    [
        pytest.param([page(2, 9)], "leads no further than a:2", id="nothing"),
        pytest.param([page(2, 9, LATER)], "leads no further than a:2", id="only a frame of a later version"),
        pytest.param([page(2, 9, FINISHED)], "leads no further than a:2", id="an end before the log's"),
        pytest.param([page(2, 9, events(0, 1, 2))], "leads no further than a:2", id="what was given already"),
        pytest.param([page(2, 9, events(4, 5, 6))], "events after 4", id="a hole in the chain"),
        pytest.param([page(4, 9, events(4, 5, 6))], "events after 4", id="another place than was asked for"),
        pytest.param([page(2, 9, events(2, 3), events(4, 5))], "events after 4", id="a hole between two frames"),
        pytest.param([page(2, 9, events(2, 3, 5))], "not all", id="a hole in a frame"),
        pytest.param([page(2, 9, events(2, 4, 3))], "not all", id="disorder"),
        pytest.param([page(2, 9, events(2, 3, 4, to=3))], "not all", id="more than was announced"),
        pytest.param([page(2, 9, events(2, to=9))], "not all", id="none, although nothing is filtered out"),
        pytest.param([{**page(2, 9, events(2, 3, 4)), "epoch": "b"}], "of epoch b", id="another epoch"),
        pytest.param([{**page(2, 2), "epoch": "b"}], "of epoch b", id="another epoch, empty"),
    ],
)
async def test_a_log_that_breaks_off_is_an_error_and_not_a_short_log(then: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UnreadableAnswerError, match=said) as caught:
        await read(page(0, 9, events(0, 1, 2)), *then)
    assert not caught.value.may_have_happened


async def test_a_frame_of_a_new_kind_is_passed_over() -> None:
    assert (await read(page(0, 2, {"op": "hologram"}, events(0, 1, 2))))[0] == [1, 2]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        pytest.param(
            page(0, 2, {"op": "events", "sid": "t", "prev": 0, "to": 2}), "'events' lacks a field", id="events"
        ),
        pytest.param(page(0, 2, {"op": "gap", "sid": "t"}), "'gap' lacks a field", id="a gap"),
        pytest.param(page(0, 2, {"sid": "t"}), "not an object with an `op`", id="no frame"),
        pytest.param({**page(0, 2), "head": "far"}, "head", id="the page itself"),
        pytest.param([], "no page of events", id="something else"),
    ],
)
async def test_a_page_that_cannot_be_read_is_an_error_that_says_so(page: Any, said: str) -> None:
    """Its events would be lost, and the next question would begin behind them."""
    with pytest.raises(UnreadableAnswerError, match=said):
        await read(page)


async def test_with_a_filter_events_may_be_apart_but_not_in_disorder() -> None:
    assert (await read(page(0, 9, events(0, 2, 5, to=9)), types=["x.*"]))[0] == [2, 5]
    with pytest.raises(UnreadableAnswerError, match="not all"):
        await read(page(0, 9, events(0, 5, 2, to=9)), types=["x.*"])


async def test_another_epoch_than_that_of_the_start_without_a_gap_is_an_error() -> None:
    with pytest.raises(UnreadableAnswerError, match="of epoch a"):
        await read(page(0, 0), start=Cursor("b", 3))


@pytest.mark.parametrize(
    "pages",
    [
        [page(0, 9, FORBIDDEN)],
        [page(0, 0, FORBIDDEN)],
        [page(0, 9, events(0, 1, 2)), page(2, 0, FORBIDDEN)],
    ],
    ids=["at once", "at once, with no head", "in the middle"],
)
async def test_a_topic_that_is_forbidden_meanwhile_has_not_ended(pages: list[dict[str, Any]]) -> None:
    with pytest.raises(TopicForbiddenError) as caught:
        await read(*pages)
    assert caught.value.topic == "tasks"


async def test_what_a_later_version_adds_is_passed_over() -> None:
    pages = [page(0, 4, LATER, events(0, 1, 2), LATER), page(2, 4, events(2, 3, 4), LATER)]
    assert (await read(*pages))[0] == [1, 2, 3, 4]
    assert (await read(page(4, 4, LATER), start=Cursor("a", 4)))[0] == []


async def test_what_is_given_again_is_an_event_once() -> None:
    pages = [page(0, 4, events(0, 1, 2), events(0, 1, 2, 3)), page(3, 4, events(2, 3, 4))]
    assert (await read(*pages))[0] == [1, 2, 3, 4]


async def test_an_ended_topic_is_at_its_end() -> None:
    assert (await read(page(0, 2, events(0, 1, 2), FINISHED)))[0] == [1, 2]


async def test_a_gap_while_the_log_is_read_is_an_error_and_not_a_short_log() -> None:
    gap = {"op": "gap", "sid": "t", "reason": "expired", "lost_after": {"epoch": "a", "seq": 2}}
    with pytest.raises(EventGapError) as caught:
        await read(page(0, 9, events(0, 1, 2), {**gap, "resume": {"epoch": "a", "seq": 7}}))
    assert caught.value.resume == Cursor("a", 7)
    assert caught.value.lost_after == Cursor("a", 2)


async def test_an_end_of_another_epoch_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="epoch b"):
        await read(page(0, 2, events(0, 1)), end=Cursor("b", 1))


@pytest.mark.parametrize(("code", "kind"), [("forbidden", TopicForbiddenError), ("read_only", PermissionDeniedError)])
async def test_only_a_forbidden_topic_is_said_to_be_one(code: str, kind: type[Exception]) -> None:
    transport = MockTransport(lambda request: MockAnswer(403, json={"code": code, "detail": "no"}))
    async with BaseAPIClient("http://backend.test/api/v1", transport=transport) as api:
        with pytest.raises(kind):
            [event async for event in read_history(api, "tasks")]
