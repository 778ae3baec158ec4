"""What is looked for above a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from playcall.dashboard.finding import PlaybookWish, RunWish, TaskWish, ToolWish, agents_of, how_many, tags_of
from playcall.models import Playbook, Run, Task, Tool

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STORED: dict[str, Any] = {"version": 1, "created_at": NOW, "updated_at": NOW}
PLAYBOOK = Playbook.model_validate(
    {"id": "p", "name": "Board Report", "description": "for the ÄLDERS", "tags": ["b", "a"], "agents": ["Z", "Y"], "steps": [], **STORED}
)  # fmt: skip
RUN = Run.model_validate(
    {"id": "r", "playbook_id": "p", "playbook_name": "P", "playbook_version": 1, "status": "running", "steps_total": 1, "steps_finished": 0, **STORED}
)  # fmt: skip

TASK = Task.model_validate({"id": "t", "agent_id": "a", "run_id": "r", "operation": "o", "status": "failed", **STORED})
TOOL = Tool.model_validate({"id": "l", "name": "Text.Stats", "kind": "builtin", "description": "Counts", **STORED})


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (PlaybookWish(), True),
        (PlaybookWish(text=" board "), True),
        (PlaybookWish(text="älders"), True),
        (PlaybookWish(text="other"), False),
        (PlaybookWish(tag="a"), True),
        (PlaybookWish(tag="c"), False),
        (PlaybookWish(agent="Z"), True),
        (PlaybookWish(text="board", tag="a", agent="X"), False),
    ],
)
def test_a_playbook_is_found_by_text_tag_and_agent_together(wish: PlaybookWish, fits: bool) -> None:
    assert wish.fits(PLAYBOOK) is fits


@pytest.mark.parametrize(
    ("wish", "fits"),
    [(RunWish(), True), (RunWish("running", "p"), True), (RunWish("failed"), False), (RunWish(playbook_id="q"), False)],
)
def test_a_run_is_found_by_status_and_playbook(wish: RunWish, fits: bool) -> None:
    assert wish.fits(RUN) is fits


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (TaskWish(), True),
        (TaskWish("failed", "a", "r"), True),
        (TaskWish("running"), False),
        (TaskWish(agent_id="b"), False),
        (TaskWish(run_id="s"), False),
    ],
)
def test_a_task_is_found_by_status_agent_and_run_together(wish: TaskWish, fits: bool) -> None:
    assert wish.fits(TASK) is fits


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (ToolWish(), True),
        (ToolWish(" text."), True),
        (ToolWish("counts", "builtin"), True),
        (ToolWish("counts", "http"), False),
        (ToolWish("words"), False),
    ],
)
def test_a_tool_is_found_by_text_and_kind_together(wish: ToolWish, fits: bool) -> None:
    assert wish.fits(TOOL) is fits


def test_what_can_be_chosen_is_what_there_is() -> None:
    assert (tags_of([PLAYBOOK, PLAYBOOK]), agents_of([PLAYBOOK])) == (["a", "b"], ["Y", "Z"])


@pytest.mark.parametrize(
    ("found", "more", "said"),
    [
        (0, False, "0 runs"),
        (1, False, "1 run"),
        (200, False, "200 runs"),
        (1_234, False, "1,234 runs, the newest 200 are shown"),
        (0, True, "0 runs or more"),
        (1_000, True, "1,000 runs or more, the newest 200 are shown"),
    ],
)
def test_what_was_not_looked_at_or_is_not_shown_is_told(found: int, more: bool, said: str) -> None:
    assert how_many(found, "run", more=more, shown=200) == said
