"""The state that goes with a topic: what is asked for, and the place that it stood at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from playcall import BaseAPIClient, Cursor
from playcall.errors import InvalidArgumentError, UnreadableAnswerError
from playcall.services.states import read_topic_state
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.models.examples import AGENT, PLAYBOOK, RUN, TASK, TOOL

COLLECTIONS = {"runs": RUN, "tasks": TASK, "agents": AGENT, "playbooks": PLAYBOOK, "tools": TOOL}
ONE = {"run:r1": ("/runs/r1", RUN), "task:t1": ("/tasks/t1", TASK), "agent:a1": ("/agents/a1", AGENT)}


async def read(topic: str, *answers: MockAnswer) -> tuple[Any, Cursor, list[MockRequest]]:
    left = list(answers)
    transport = MockTransport(lambda request: left.pop(0))
    async with BaseAPIClient("http://b/api/v1", transport=transport) as api:
        state, cursor = await read_topic_state(api, topic)
    return state, cursor, transport.requests


def plain(model: Any) -> Any:
    return json.loads(model.model_dump_json())


@pytest.mark.parametrize("topic", sorted(COLLECTIONS))
async def test_a_collection_is_read_whole_and_stands_at_the_place_of_its_first_page(topic: str) -> None:
    item = COLLECTIONS[topic]
    pages = (
        MockAnswer(json={"items": [plain(item)], "next_cursor": "more"}, headers={"X-Event-Cursor": "e1:7"}),
        MockAnswer(json={"items": [plain(item)], "next_cursor": None}, headers={"X-Event-Cursor": "e1:9"}),
    )
    state, cursor, requests = await read(topic, *pages)
    assert state == (item, item)
    assert cursor == Cursor("e1", 7)
    assert [request.path for request in requests] == [f"/api/v1/{topic}"] * 2


@pytest.mark.parametrize("topic", sorted(ONE))
async def test_one_resource_stands_at_the_place_that_its_answer_carries(topic: str) -> None:
    path, item = ONE[topic]
    state, cursor, requests = await read(topic, MockAnswer(json=plain(item), headers={"X-Event-Cursor": "e1:7"}))
    assert (state, cursor) == (item, Cursor("e1", 7))
    assert requests[0].path == f"/api/v1{path}"


async def test_an_answer_without_a_place_is_no_state() -> None:
    with pytest.raises(UnreadableAnswerError, match="X-Event-Cursor"):
        await read("run:r1", MockAnswer(json=plain(RUN)))


@pytest.mark.parametrize("topic", ["orders", "order:1", "runs:1", "run"])
async def test_a_topic_of_which_nothing_is_known_has_no_state(topic: str) -> None:
    with pytest.raises(InvalidArgumentError, match="no state is known"):
        await read(topic)
