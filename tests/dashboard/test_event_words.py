"""Every event has words for people: one line, bounded, whatever it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from playcall.dashboard.event_words import WORDS_CHARACTERS, words_of
from playcall.models import AnyEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STORED: dict[str, Any] = {"version": 2, "created_at": NOW, "updated_at": NOW}
RUN = {"id": "r", "playbook_id": "p", "playbook_name": "Report", "playbook_version": 1, "status": "running", "steps_total": 2_000, "steps_finished": 1_500, **STORED}  # fmt: skip
TASK = {"id": "t", "operation": "wait", "agent": "Clerk", "status": "failed", "error": {"code": "c", "message": "no"}, **STORED}  # fmt: skip
AGENT = {"id": "a", "name": "Clerk", "type": "worker", "state": "ready", **STORED}
TOOL = {"id": "l", "name": "wait", "kind": "builtin", **STORED}
PLAYBOOK = {"id": "p", "name": "Report", "agents": ["A"], "steps": [], **STORED}
STEP = {"id": "s", "type": "standard", "status": "completed"}
ARTIFACT = {"name": "a.txt", "media_type": "m", "size_bytes": 1, "sha256": "x", "created_at": NOW}


def words(type: str, **data: Any) -> str:
    said = {"seq": 1, "id": "evt_1", "time": NOW, "type": type, "data": data}
    event: AnyEvent = TypeAdapter[AnyEvent](AnyEvent).validate_python(said, extra="ignore")
    return words_of(event)


@pytest.mark.parametrize(
    ("type", "data", "said"),
    [
        ("run.changed", {"run": RUN}, "Report: running, 1,500 of 2,000 steps"),
        ("run.step.finished", {"run_id": "r", "step": STEP}, "s: completed"),
        ("run.log", {"run_id": "r", "level": "info", "message": "one\ntwo"}, "info: one two"),
        ("run.artifact.created", {"run_id": "r", "artifact": ARTIFACT}, "a.txt"),
        ("run.deleted", {"run_id": "r"}, "r"),
        ("task.failed", {"task": TASK}, "Clerk: wait, failed, no"),
        ("task.progress", {"task_id": "t", "done": 1, "total": 4, "message": "m"}, "1 of 4 m"),
        ("task.progress", {"task_id": "t", "done": 1}, "1"),
        ("task.output.delta", {"task_id": "t", "round": 0, "offset": 0, "text": "It rains"}, "It rains"),
        ("agent.changed", {"agent": AGENT}, "Clerk: ready"),
        ("tool.created", {"tool": TOOL}, "wait: builtin"),
        ("playbook.changed", {"playbook": PLAYBOOK}, "Report: version 2"),
        ("moon.risen", {"über": 1}, '{"über": 1}'),
    ],
)
def test_what_an_event_is_about_is_said_in_a_few_words(type: str, data: dict[str, Any], said: str) -> None:
    assert words(type, **data) == said


def test_a_long_one_is_cut() -> None:
    assert words("run.log", run_id="r", level="info", message="x" * 10_000).endswith("x…")
    assert len(words("run.log", run_id="r", level="info", message="x" * 10_000)) == WORDS_CHARACTERS
