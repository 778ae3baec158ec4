"""What is stored can be read by everybody's parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.server.log import NewEvent, TopicEntry
from playcall.server.log.events import MAX_DATA_LEVELS
from playcall.server.nesting import MAX_LEVELS, is_deeper
from playcall.server.problems import ApiError
from playcall.server.routes.routing import parse_json

from .conftest import Api


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if levels % 2 else [value]
    return value


@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_depth_is_that_of_the_deepest_value(value: Any) -> None:
    def depth(value: Any) -> int:
        if isinstance(value, dict):
            value = list(value.values())
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    assert is_deeper(value, depth(value)) is False
    assert depth(value) == 0 or is_deeper(value, depth(value) - 1)


def test_a_body_may_be_nested_so_deep() -> None:
    assert parse_json(json.dumps(nested(MAX_LEVELS)).encode()) == nested(MAX_LEVELS)
    with pytest.raises(ApiError, match="nested more than 64"):
        parse_json(json.dumps(nested(MAX_LEVELS + 1)).encode())
    wide = [[] for _ in range(200)]
    assert parse_json(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize("body", ["1e999", '{"a": [-1E+999]}', '{"a": ' + "9" * 400 + ".0}", "[1e0000000000309]"])
def test_a_number_that_no_double_holds_is_refused(body: str) -> None:
    """It would become infinite, which JSON cannot say again."""
    with pytest.raises(ApiError, match="too large for a double"):
        parse_json(body.encode())


def test_other_numbers_and_texts_that_look_like_them_are_taken() -> None:
    assert parse_json(b'[1e308, 1e-999, "1e999"]') == [1e308, 0.0, "1e999"]


def test_an_event_may_be_nested_so_deep() -> None:
    def event(levels: int) -> NewEvent:
        return NewEvent(owner_id="u", type="t", data={"x": nested(levels - 1)}, topics=(TopicEntry("runs"),))

    assert json.loads(event(MAX_DATA_LEVELS).data_json())
    for levels in (MAX_DATA_LEVELS + 1, 300):
        with pytest.raises(ValueError, match=r"nested|recursion"):
            event(levels).data_json()


async def test_what_is_nested_too_deep_is_refused_by_every_route(api: Api) -> None:
    for method, path in (("POST", "/agents"), ("POST", "/tools"), ("POST", "/playbooks"), ("POST", "/tasks")):
        answer = await api(method, path, json={"name": "x", "parameters": nested(100)})
        assert (answer.status, answer.json["code"]) == (400, "invalid_json"), path
