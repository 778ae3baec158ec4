"""Log lines are read from the end backwards, as far as is wanted and no further."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

from pydantic import TypeAdapter

from playcall import Playcall
from playcall.dashboard.event_log import MOST_SPANS, SPAN
from playcall.dashboard.following import Following
from playcall.dashboard.run_logs import LogPage, earlier_lines, hidden_below, newest_lines
from playcall.dashboard.run_model import run_model
from playcall.errors import EventGapError
from playcall.models import AnyEvent, Cursor, LogLevel

from .desk import Desk
from .waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


class Log:
    """A run's topic: `lines` by place; other places hold something else. What is before `kept_after` is lost."""

    def __init__(self, lines: dict[int, str], *, kept_after: int = 0) -> None:
        self.lines = lines
        self.kept_after = kept_after
        self.asked: list[tuple[int, int]] = []
        self.client = cast("Playcall", SimpleNamespace(events=self))

    def history(self, topic: str, start: Cursor, end: Cursor, *, types: list[str], page_size: int) -> list[AnyEvent]:
        assert (topic, types) == ("run:r", ["run.log"])
        self.asked.append((start.seq, end.seq))
        if start.seq < self.kept_after:
            raise EventGapError(
                "gone", topic=topic, reason="expired", lost_after=start, resume=Cursor("e", self.kept_after)
            )
        return [line(seq, level) for seq, level in sorted(self.lines.items()) if start.seq < seq <= end.seq]


def line(seq: int, level: str) -> AnyEvent:
    data = {"run_id": "r", "level": level, "message": f"m{seq}"}
    said = {"seq": seq, "id": "e", "time": NOW, "type": "run.log", "data": data}
    return EVENT.validate_python(said, extra="ignore")


def places(page: LogPage) -> list[int]:
    return [each.seq for each in page.lines]


def test_the_newest_lines_of_a_long_log_cost_one_reading() -> None:
    log = Log(dict.fromkeys(range(1, 50_001), "info"))
    page = newest_lines(log.client, "r", Cursor("e", 50_000))
    assert log.asked == [(50_000 - SPAN, 50_000)]
    assert places(page)[-1] == 50_000
    assert page.before == 50_000 - SPAN


def test_where_few_entries_are_lines_it_looks_further_back() -> None:
    log = Log(dict.fromkeys(range(100, 5_001, 100), "info"))
    page = earlier_lines(log.client, "r", "e", 5_000, want=25)
    assert places(page) == list(range(2_100, 5_001, 100))
    assert page.before == 2_000


def test_pages_follow_on_each_other_without_a_hole_down_to_the_first_line() -> None:
    log = Log(dict.fromkeys(range(3, 4_500, 7), "info"))
    read: list[int] = []
    before = 4_600
    while before:
        page = earlier_lines(log.client, "r", "e", before, want=10)
        read, before = places(page) + read, page.before
    assert read == sorted(log.lines)


def test_a_search_that_finds_nothing_ends_and_can_be_gone_on_with() -> None:
    log = Log({1: "error", **dict.fromkeys(range(2, 50_001), "debug")})
    page = earlier_lines(log.client, "r", "e", 50_000, hidden=hidden_below(LogLevel.ERROR), want=10)
    assert (places(page), page.before, len(log.asked)) == ([], 50_000 - MOST_SPANS * SPAN, MOST_SPANS)


def test_a_level_hides_those_below_and_never_one_that_is_not_known() -> None:
    log = Log({1: "debug", 2: "info", 3: "warning", 4: "error", 5: "audit"})
    page = earlier_lines(log.client, "r", "e", 5, hidden=hidden_below(LogLevel.WARNING))
    assert places(page) == [3, 4, 5]
    assert hidden_below(LogLevel.DEBUG) == frozenset()


def test_where_the_beginning_is_not_kept_any_more_it_ends_with_what_is() -> None:
    log = Log(dict.fromkeys(range(1, 2_001), "info"), kept_after=1_500)
    page = earlier_lines(log.client, "r", "e", 2_000, want=5_000)
    assert (places(page)[0], page.before) == (1_501, 0)
    gone = Log({}, kept_after=3_000)
    assert earlier_lines(gone.client, "r", "e", 2_000) == LogPage((), 0)


def test_what_a_real_run_said_is_read_backwards_to_its_beginning(desk: Desk) -> None:
    made = desk.ended(desk.run("Talk", {"use": "show.lines", "lines": 1_500}))
    following = Following(desk.client)
    try:
        model = run_model(following, made.id)
        until(lambda: model.over)
        lines, before = list(model.lines()), model.lines_from
        assert before > 0
        while before:
            page = earlier_lines(desk.client, made.id, model.epoch, before)
            lines, before = [*page.lines, *lines], page.before
    finally:
        following.close()
    assert lines == list(desk.client.runs.logs(made.id, page_size=1_000))
