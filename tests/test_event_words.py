"""Every event has words for people, whatever it holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from playcall.event_words import file_size, words_of
from playcall.models import AnyEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STORED: dict[str, Any] = {"version": 2, "created_at": NOW, "updated_at": NOW}
RUN = {"id": "r", "playbook_id": "p", "playbook_name": "Report", "playbook_version": 1, "status": "running", "steps_total": 2_000, "steps_finished": 1_500, **STORED}  # fmt: skip
TASK = {"id": "t", "operation": "wait", "agent": "Clerk", "status": "failed", "error": {"code": "c", "message": "no"}, **STORED}  # fmt: skip
AGENT = {"id": "a", "name": "Clerk", "type": "worker", "state": "ready", **STORED}
TOOL = {"id": "l", "name": "wait", "kind": "builtin", **STORED}
PLAYBOOK = {"id": "p", "name": "Report", "agents": ["A"], "steps": [], **STORED}
STEP = {"id": "s", "type": "standard", "status": "completed"}
ENDED = {**STEP, "started_at": NOW, "ended_at": NOW + timedelta(seconds=1.5)}
ARTIFACT = {"name": "a.txt", "media_type": "m", "size_bytes": 1, "sha256": "x", "created_at": NOW}


def words(type: str, **data: Any) -> str:
    said = {"seq": 1, "id": "evt_1", "time": NOW, "type": type, "data": data}
    event: AnyEvent = TypeAdapter[AnyEvent](AnyEvent).validate_python(said, extra="ignore")
    return words_of(event)


@pytest.mark.parametrize(
    ("type", "data", "said"),
    [
        ("run.changed", {"run": RUN}, "Report: 1,500 of 2,000 steps finished"),
        ("run.started", {"run": RUN}, "Report: running"),
        (
            "run.failed",
            {"run": {**RUN, "status": "failed", "error": {"code": "c", "message": "no"}}},
            "Report: failed: no",
        ),
        ("run.step.started", {"run_id": "r", "step": STEP}, "s: standard"),
        ("run.step.finished", {"run_id": "r", "step": ENDED}, "s completed after 1.50 s"),
        ("run.log", {"run_id": "r", "level": "info", "message": "one two"}, "info: one two"),
        ("run.artifact.created", {"run_id": "r", "artifact": ARTIFACT}, "a.txt, 1 B"),
        ("run.deleted", {"run_id": "r"}, "r"),
        ("task.failed", {"task": TASK}, "Clerk: wait: no"),
        ("task.progress", {"task_id": "t", "done": 1, "total": 4, "message": "m"}, "1/4 m"),
        ("task.progress", {"task_id": "t", "done": 1}, "1"),
        ("task.output.delta", {"task_id": "t", "round": 0, "offset": 0, "text": "It rains"}, "It rains"),
        ("agent.changed", {"agent": AGENT}, "Clerk: ready"),
        ("tool.created", {"tool": TOOL}, "wait, builtin"),
        ("playbook.changed", {"playbook": PLAYBOOK}, "Report, version 2"),
        ("moon.risen", {"über": 1}, '{"über":1}'),
    ],
)
def test_what_an_event_is_about_is_said_in_a_few_words(type: str, data: dict[str, Any], said: str) -> None:
    assert words(type, **data) == said


def test_what_somebody_wrote_is_not_touched() -> None:
    table = "a    1\nbb   2"
    assert words("run.log", run_id="r", level="info", message=table) == f"info: {table}"


def test_the_operation_of_a_task_is_said_by_who_knows_it() -> None:
    said = {
        "seq": 1,
        "id": "evt_1",
        "time": NOW,
        "type": "task.progress",
        "data": {"task_id": "t", "done": 1, "total": 4},
    }
    event: AnyEvent = TypeAdapter[AnyEvent](AnyEvent).validate_python(said)
    assert words_of(event, operation="render") == "render 1/4"


def test_sizes_are_told_as_file_managers_do() -> None:
    assert [file_size(n) for n in (0, 999, 1_400, 200_000_000, 3 * 10**15)] == [
        "0 B",
        "999 B",
        "1.4 kB",
        "200.0 MB",
        "3000.0 TB",
    ]
