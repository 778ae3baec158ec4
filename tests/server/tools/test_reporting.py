"""What a tool reports is held against what events can say while the tool can still be told."""

from __future__ import annotations

import math
from typing import Any

import pytest

from playcall.models import LogLevel

from .conftest import Bench


def test_progress_is_in_numbers_whatever_kind_they_are_of(bench: Bench) -> None:
    bench.context.progress(3, None, "three")
    bench.context.progress(True, 4)
    assert [(type(done), done, total) for done, total, _ in bench.progress] == [(float, 3.0, None), (float, 1.0, 4.0)]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "much", None, 10**400, [1]])
def test_progress_that_no_event_can_say_is_the_tools_error(bench: Bench, wrong: Any) -> None:
    with pytest.raises(ValueError, match="done is a finite number, got"):
        bench.context.progress(wrong)
    if wrong is not None:
        with pytest.raises(ValueError, match="total is a finite number, got"):
            bench.context.progress(1, wrong)
    assert not bench.progress


def test_a_level_that_there_is_not_is_the_tools_error(bench: Bench) -> None:
    unknown: Any = "loud"
    with pytest.raises(ValueError, match="loud"):
        bench.context.log(unknown, "now")
    plain: Any = "warning"
    bench.context.log(plain, "now")
    assert bench.lines == [(LogLevel.WARNING, "now")]
