"""Handoffs, with real tools on real files."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.models import JsonObject
from tests.server.engine.conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="package")


def handoff(**more: Any) -> JsonObject:
    return {
        "id": "h",
        "type": "handoff",
        "agent": "counter",
        "operation": "text.stats",
        "parameters": {"path": "{{ inputs.path }}"},
        "handoff_conditions": [
            {"condition": "output.words == 0", "agent": "writer", "operation": "files.write",
             "parameters": {"path": "empty.txt", "content": "nothing"}},
            {"condition": "output.words < 3", "agent": "reader", "operation": "files.read"},
            {"condition": "output.words < 9", "agent": "writer", "operation": "files.write",
             "parameters": {"path": "few.txt", "content": "{{ output.words }} words"}},
        ],
        "completion_action": {
            "agent": "writer", "operation": "files.write",
            "parameters": {"path": "done.txt", "content": "{{ primary.words }} {{ output.size_bytes }}"},
        },
        **more,
    }  # fmt: skip


async def run_of(house: House, text: str, **more: Any) -> Any:
    await house.agent("counter", ["text.stats"])
    await house.agent("reader", ["files.read"])
    await house.agent("writer", ["files.write"])
    (house.files / "note.txt").write_text(text)
    spec = {
        "agents": ["counter", "reader", "writer"], "inputs": {"path": {"type": "string"}}, "steps": [handoff(**more)],
    }  # fmt: skip
    return await house.ended(await house.start(spec, {"path": str(house.files / "note.txt")}))


async def test_the_first_whose_condition_holds_takes_over_and_the_completion_sees_both_outputs(house: House) -> None:
    run = await run_of(house, "three little words")
    assert run.error is None
    output = run.output
    assert output["answered_by"] == {"agent": "writer", "operation": "files.write"}
    assert (output["output"]["artifact"], output["primary"]["words"]) == ("few.txt", 3)
    assert output["completion"]["artifact"] == "done.txt"
    workspace = house.settings.workspaces_dir / run.id
    assert (workspace / "few.txt").read_text() == "3 words"
    assert (workspace / "done.txt").read_text() == "3 7"
    assert [(t.effect, t.description) for t in await house.tasks(run.id)] == [
        ("primary", "primary"), ("handoff.2", "handed to writer"), ("completion", "completion"),
    ]  # fmt: skip


async def test_who_takes_over_without_parameters_gets_the_steps(house: House) -> None:
    run = await run_of(house, "two words", completion_action=None)
    assert run.error is None
    assert (run.output["answered_by"]["agent"], run.output["output"]["text"]) == ("reader", "two words")
    assert run.output["completion"] is None


async def test_the_primary_answers_when_no_condition_holds(house: House) -> None:
    run = await run_of(house, "w " * 20, completion_action=None)
    assert run.error is None
    assert run.output["answered_by"] == {"agent": "counter", "operation": "text.stats"}
    assert run.output["output"] == run.output["primary"]
    assert len(await house.tasks(run.id)) == 1


async def test_a_failing_primary_and_a_condition_that_cannot_be_decided_fail_the_step(house: House) -> None:
    run = await run_of(house, "x", parameters={"path": "none.txt"})
    assert run.error is not None
    assert run.error["code"] == "not_found"
    spec = {"agents": ["counter", "reader", "writer"], "steps": [handoff(
        parameters={"text": "x"},
        handoff_conditions=[{"condition": "output.nothing > 1", "agent": "reader", "operation": "files.read"}],
    )]}  # fmt: skip
    run = await house.ended(await house.start(spec))
    assert run.error is not None
    assert run.error["code"] == "condition_failed"
