"""Sharing out and putting together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playcall.models.step import InputDistribution, OutputAggregation
from playcall.server.engine.conditions import ConditionProblem
from playcall.server.engine.failure import StepFailed
from playcall.server.engine.steps.parallel import aggregate, distribute

# The package's engine has threads that use `random`, maybe while a value is drawn; nothing here does.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)


@settings(deadline=None)
@given(st.lists(st.integers()), st.integers(1, 9))
def test_split_cuts_into_consecutive_parts_of_nearly_one_length(items: list[int], count: int) -> None:
    parts = [p["f"] for p in distribute({"f": items, "g": 1}, InputDistribution(mode="split", field="f"), count)]
    assert [x for part in parts for x in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@settings(deadline=None)
@given(st.lists(st.integers()), st.integers(1, 9))
def test_round_robin_deals_out_everything(items: list[int], count: int) -> None:
    parts = [p["f"] for p in distribute({"f": items}, InputDistribution(mode="round_robin", field="f"), count)]
    assert sorted(x for part in parts for x in part) == sorted(items)
    assert all(part == items[place::count] for place, part in enumerate(parts))


def test_duplicate_gives_each_the_whole() -> None:
    assert distribute({"f": [1]}, InputDistribution(mode="duplicate"), 2) == [{"f": [1]}, {"f": [1]}]


def test_only_a_list_is_shared_out() -> None:
    with pytest.raises(StepFailed) as failure:
        distribute({"f": "text"}, InputDistribution(mode="split", field="f"), 2)
    assert failure.value.code == "field_not_a_list"


def test_merge_merges_objects_joins_lists_and_lets_the_later_win() -> None:
    outputs: list[Any] = [{"a": 1, "l": [1], "o": {"x": 1}}, {"a": 2, "l": [2], "o": {"y": 2}}]
    merged = aggregate(outputs, OutputAggregation(mode="merge"), {})
    assert merged == {"a": 2, "l": [1, 2], "o": {"x": 1, "y": 2}}
    assert outputs[0] == {"a": 1, "l": [1], "o": {"x": 1}}, "the operations' own outputs stay as they are"
    with pytest.raises(StepFailed) as failure:
        aggregate([1], OutputAggregation(mode="merge"), {})
    assert failure.value.code == "output_not_an_object"


def test_filter_keeps_those_for_which_the_condition_holds() -> None:
    keep = OutputAggregation(mode="filter", condition="output > inputs.least and index > 0")
    assert aggregate([5, 1, 7], keep, {"inputs": {"least": 2}}) == [7]
    with pytest.raises(ConditionProblem):
        aggregate([{}], keep, {"inputs": {}})
    assert aggregate([1, None], OutputAggregation(mode="append"), {}) == [1, None]
    with pytest.raises(ConditionProblem, match="works on too much"):
        aggregate(["x" * 1_000_000] * 500, OutputAggregation(mode="filter", condition="'y' in output"), {})
