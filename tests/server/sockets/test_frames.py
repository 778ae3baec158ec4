"""Filtering and framing, as data."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.realtime.event_reading import read_events
from playcall.server.log import StoredEvent
from playcall.server.sockets.encoding import TARGET_FRAME_BYTES, events_frames
from playcall.server.sockets.filtering import matches, type_filter


def stored(seq: int, type: str = "a", data: str = "{}", terminal: bool = False) -> StoredEvent:
    return StoredEvent(seq, f"evt_{seq}", datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), type, terminal, data)


@pytest.mark.parametrize(
    ("pattern", "type", "expected"),
    [
        ("task.*", "task.progress", True),
        ("task.*", "task", False),
        ("*", "", True),
        ("*.failed", "run.step.failed", True),
        ("run*finished", "run.step.finished", True),
        ("run.*.started", "run.started", False),
        ("a*a", "a", False),
        ("a*ab*b", "aab", False),
        ("", "a", False),
        ("run.started", "run.startedx", False),
    ],
)
def test_a_star_matches_any_run_of_characters(pattern: str, type: str, expected: bool) -> None:
    assert matches(pattern, type) is expected


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_matching_agrees_with_a_regular_expression(pattern: str, type: str) -> None:
    import re

    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, type) is (re.fullmatch(expression, type) is not None)


def test_patterns_are_bounded() -> None:
    for patterns in (["a"] * 101, ["a" * 201]):
        with pytest.raises(ValueError, match="types takes"):
            type_filter(patterns)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_frames_chain_and_hold_exactly_what_matches_while_credit_lasts(wanted: list[bool], credit: int) -> None:
    events = [stored(10 + n, "yes" if keep else "no") for n, keep in enumerate(wanted, 1)]
    frames = list(events_frames("s", 10, events, type_filter(["yes"]), credit=credit, head=99))
    at, got = 10, []
    for frame in frames:
        parsed = read_events(frame.text)
        assert parsed is not None
        assert (parsed.prev, parsed.to) == (at, frame.to)
        assert frame.to > at
        assert len(parsed.events) == frame.count
        assert parsed.head == 99
        last = parsed.events[-1].id if parsed.events and parsed.events[-1].seq == parsed.to else parsed.at_id
        assert last == f"evt_{parsed.to}", "the id of the entry at `to` is known, whether it is in the frame or not"
        got += [event.seq for event in parsed.events]
        at = frame.to
    matching = [event.seq for event in events if event.type == "yes"]
    assert got == matching[:credit]
    assert at == (matching[credit] - 1 if len(matching) > credit else 10 + len(events))


def test_a_frame_that_has_grown_large_is_closed() -> None:
    data = json.dumps({"x": "y" * 60_000})
    frames = list(
        events_frames("s", 0, [stored(n, data=data) for n in range(1, 13)], type_filter(None), credit=99, head=12)
    )
    assert len(frames) > 1
    assert all(len(frame.text) < TARGET_FRAME_BYTES + 70_000 for frame in frames)
    assert frames[-1].to == 12


def test_an_event_goes_out_as_it_is_kept() -> None:
    event = stored(7, "a.b", '{"x":1.50}', terminal=True)
    (frame,) = events_frames('s"1', 6, [event], type_filter(None), credit=1, head=9)
    assert frame.text == (
        '{"op":"events","sid":"s\\"1","prev":6,"to":7,"head":9,"events":[{"seq":7,"id":"evt_7",'
        '"time":"2026-01-02T03:04:05.000006Z","type":"a.b","terminal":true,"data":{"x":1.50}}]}'
    )


def test_a_frame_is_measured_in_bytes() -> None:
    """Of letters of three bytes each, a third as many fit."""
    events = [stored(seq, data=json.dumps({"x": "字" * 20_000}, ensure_ascii=False)) for seq in range(1, 31)]
    frames = list(events_frames("s", 0, events, type_filter(None), credit=100, head=30))
    assert frames[-1].to == 30
    for frame in frames:
        assert len(frame.text.encode()) <= TARGET_FRAME_BYTES + 65_536
