"""Patterns, and the collection topics that carry what they match."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from playcall.errors import InvalidArgumentError
from playcall.models.event import KnownEvent
from playcall.realtime.patterns import (
    COLLECTION_TYPES,
    HIGH_RATE_TYPES,
    check_topic,
    check_types,
    collection_for,
    matches,
)


@pytest.mark.parametrize(
    ("pattern", "type", "fits"),
    [
        ("*", "anything.at.all", True),
        ("task.*", "task.failed", True),
        ("run.*", "run.step.finished", True),
        ("run.*.finished", "run.step.finished", True),
        ("task.failed", "task.failed", True),
        ("task.*", "tasks.failed", False),
        ("task.f*d", "task.failed.twice", False),
        ("task.[fd]*", "task.failed", False),
        ("task?failed", "task.failed", False),
    ],
)
def test_a_star_is_any_run_of_characters_and_nothing_else_is_special(pattern: str, type: str, fits: bool) -> None:
    assert matches(pattern, type) is fits


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("task.*", "tasks"),
        ("task.failed", "tasks"),
        ("task.*ed", "tasks"),
        ("run.*", "runs"),
        ("playbook.created", "playbooks"),
        ("agent.*", "agents"),
        ("tool.deleted", "tools"),
        ("task.of_a_later_version", "tasks"),
    ],
)
def test_a_pattern_is_found_in_its_nouns_collection(pattern: str, topic: str) -> None:
    assert collection_for(pattern) == topic


@pytest.mark.parametrize(
    "pattern", ["task.progress", "run.log", "run.step.*", "run.artifact.created", "task.prog*", "*", "*.failed", "task"]
)
def test_a_pattern_that_no_single_collection_carries_needs_a_topic_and_says_so(pattern: str) -> None:
    with pytest.raises(InvalidArgumentError, match="topic="):
        collection_for(pattern)


def test_the_table_has_every_known_type_once() -> None:
    known = {get_args(get_type_hints(each)["type"])[0] for each in get_args(get_args(KnownEvent)[0])}
    listed = [each for types in COLLECTION_TYPES.values() for each in types] + list(HIGH_RATE_TYPES)
    assert len(listed) == len(set(listed))
    assert set(listed) == known


@pytest.mark.parametrize("types", ["task.*", [], [""], [" task.*"], [7]])
def test_types_that_make_no_sense_are_refused(types: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        check_types(types)


def test_types_are_patterns_or_none_for_all() -> None:
    assert check_types(None) is None
    assert check_types(iter(["a.*", "b"])) == ("a.*", "b")


def test_what_no_server_takes_is_refused_before_anything_is_registered() -> None:
    assert check_topic("run:" + "é" * 96) == "run:" + "é" * 96
    for topic in ("", " ", "run:" + "x" * 97, "run:\udcff"):
        with pytest.raises(InvalidArgumentError):
            check_topic(topic)
    assert check_types(["x" * 200] * 100) is not None
    for types in (["x" * 201], ["x"] * 101, ["task.\udcff"]):
        with pytest.raises(InvalidArgumentError):
            check_types(types)
