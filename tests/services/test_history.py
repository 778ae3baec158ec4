"""Reading the log page by page, over a mock: what is asked for, and what an answer that cannot be gone on with does."""

from __future__ import annotations

from typing import Any

import pytest

from playcall import BaseAPIClient
from playcall.errors import EventGapError, InvalidArgumentError, PermissionDeniedError, TopicForbiddenError
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


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([page(0, 0)], id="an empty log"),
        pytest.param([page(3, 9)], id="an answer that leads no further"),
        pytest.param([page(3, 9, {"op": "later", "sid": "t"})], id="only a frame of a later version"),
    ],
)
async def test_an_answer_that_leads_no_further_is_not_asked_for_ever(pages: list[dict[str, Any]]) -> None:
    assert (await read(*pages))[0] == []


async def test_an_ended_topic_is_at_its_end() -> None:
    ended = {"op": "ended", "sid": "t", "reason": "finished"}
    assert (await read(page(0, 2, events(0, 1, 2), ended)))[0] == [1, 2]


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
