"""Runs, in process, with the real tools."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import House


def waits(seconds: float, **more: object) -> dict[str, object]:
    return {
        "id": "s",
        "type": "standard",
        "agent": "a",
        "operation": "wait",
        "parameters": {"seconds": seconds},
        **more,
    }


async def test_a_standard_step_reads_a_file_and_the_next_renders_its_output(house: House, tmp_path: Path) -> None:
    (tmp_path / "files" / "note.txt").write_text("one two\nthree")
    await house.agent("reader", ["text.stats"])
    await house.agent("writer", ["template.render"])
    run_id = await house.start(
        {
            "inputs": {"path": {"type": "string"}},
            "agents": ["reader", "writer"],
            "steps": [
                {"id": "count", "type": "standard", "agent": "reader", "operation": "text.stats",
                 "parameters": {"path": "{{ inputs.path }}"}},
                {"id": "report", "type": "standard", "agent": "writer", "operation": "template.render",
                 "parameters": {"template": "{% raw %}words: {{ count.words }}{% endraw %}",
                                "data": {"count": "{{ steps.count.output }}"}, "path": "report.md"}},
            ],
        },
        {"path": str(tmp_path / "files" / "note.txt")},
    )  # fmt: skip
    run = await house.ended(run_id)
    assert run.error is None
    assert run.status == "completed"
    assert run.output["artifact"] == "report.md"
    assert run.steps_finished == run.steps_total == 2
    assert (house.settings.workspaces_dir / run_id / "report.md").read_text() == "words: 3"
    events = await house.events(f"run:{run_id}")
    types = [event.type for event in events]
    assert types[:5] == ["run.created", "run.started", "run.step.started", "task.created", "task.started"]
    assert types[-1] == "run.completed"
    assert events[-1].terminal
    assert types.count("task.completed") == 2
    assert "run.artifact.created" in types
    assert [event.terminal for event in events].count(True) == 1
    assert [e.type for e in await house.events("runs") if run_id in e.data][-1] == "run.completed"
    # One event, one id, wherever it stands.
    task = (await house.tasks(run_id))[0]
    mine = {e.id for e in await house.events(f"task:{task.id}")}
    assert mine <= {e.id for e in events}
    assert json.loads(events[-1].data)["run"]["status"] == "completed"
