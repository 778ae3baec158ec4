"""Contests, with real tools on real files; and how a judge names the winner."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.models import JsonObject
from playcall.server.engine.failure import StepFailed
from playcall.server.engine.steps.versus import winner_of
from tests.server.engine.conftest import House

AGENTS = ["short:text.stats", "long:text.stats", "long:files.read"]


@pytest.mark.parametrize(
    ("verdict", "winner"),
    [
        ({"winner": 1, "why": "longer"}, 1),
        ({"winner": "2"}, 2),
        ({"winner": "short"}, 0),
        ({"winner": "long:files.read"}, 2),
        ({"text": " 1\n"}, 1),
        ({"text": '{"winner": "short"}'}, 0),
        ({"text": "short"}, 0),
        ({"winner": 0, "text": "1"}, 0),
        (" long:text.stats ", 1),
        (2, 2),
    ],
)
def test_the_winner_is_a_place_or_an_entry_or_an_agent_that_stands_there_once(verdict: Any, winner: int) -> None:
    assert winner_of(verdict, AGENTS) == winner


@pytest.mark.parametrize(
    "verdict",
    [
        {"winner": 3}, {"winner": -1}, {"winner": True}, {"winner": 1.0}, {"winner": "long"}, {"winner": "nobody"},
        {"winner": None, "text": "1"}, {"best": 1}, {"text": "the first"}, "", None, [1], {"winner": "9" * 5_000}, "[" * 100_000,
    ],
)  # fmt: skip
def test_what_names_no_winner_fails_clearly(verdict: Any) -> None:
    with pytest.raises(StepFailed) as failure:
        winner_of(verdict, AGENTS)
    assert failure.value.code == "winner_unclear"
    assert "a number from 0 to 2, or one of short:text.stats, long:text.stats" in str(failure.value)
    assert len(str(failure.value)) < 500


def contest(template: str, **more: Any) -> JsonObject:
    return {
        "id": "v",
        "type": "versus",
        "agents": ["reader:files.read", "counter:text.stats"],
        "judge": "judge:template.render",
        "parameters": {"path": "{{ inputs.path }}"},
        "judge_parameters": {
            "template": template,
            "data": {"candidates": "{{ candidates }}", "criteria": "{{ criteria }}"},
        },
        "evaluation_criteria": ["has words"],
        **more,
    }


async def start(house: House, step: JsonObject) -> str:
    await house.agent("reader", ["files.read"])
    await house.agent("counter", ["text.stats"])
    await house.agent("judge", ["template.render"])
    (house.files / "note.txt").write_text("three little words")
    spec = {"agents": ["reader", "counter", "judge"], "inputs": {"path": {"type": "string"}}, "steps": [step]}
    return await house.start(spec, {"path": str(house.files / "note.txt")})


RAW = "{% raw %}{% for c in candidates %}{% if c.output.words is defined %}{{ WINNER }}{% endif %}{% endfor %}{% endraw %}"


@pytest.mark.asyncio(loop_scope="package")
async def test_all_do_the_same_at_once_and_the_judge_picks_one(house: House) -> None:
    run = await house.ended(await start(house, contest(RAW.replace("WINNER", "c.agent"))))
    assert run.error is None
    output = run.output
    assert (output["winner"], output["agent"], output["operation"]) == (1, "counter", "text.stats")
    assert output["output"]["words"] == 3
    assert output["verdict"]["text"] == "counter"
    tasks = sorted(await house.tasks(run.id), key=lambda task: task.place)
    assert [t.description for t in tasks] == ["candidate 1 of 2", "candidate 2 of 2", "judge"]
    assert [t.effect for t in tasks] == ["0", "1", "judge"]
    assert tasks[2].parameters["data"]["criteria"] == ["has words"]
    assert [c["agent"] for c in tasks[2].parameters["data"]["candidates"]] == ["reader", "counter"]


@pytest.mark.asyncio(loop_scope="package")
async def test_a_judge_that_names_nobody_and_a_candidate_that_fails_fail_the_step(house: House) -> None:
    run = await house.ended(await start(house, contest(RAW.replace("WINNER", "'both'"))))
    assert run.error is not None
    assert (run.error["code"], "both" in run.error["message"]) == ("winner_unclear", True)
    spec = {"agents": ["reader", "counter", "judge"], "steps": [contest("0", parameters={"path": "none.txt"})]}
    run = await house.ended(await house.start(spec))
    assert run.error is not None
    assert run.error["code"] == "not_found"
    assert "judge" not in [task.agent for task in await house.tasks(run.id)]


@pytest.mark.asyncio(loop_scope="package")
async def test_a_judge_without_parameters_gets_candidates_and_criteria(house: House) -> None:
    run = await house.ended(await start(house, contest("", judge_parameters={}, judge="counter:text.stats")))
    assert run.error is not None
    assert run.error["code"] == "parameters_invalid"
    (judge,) = [t for t in await house.tasks(run.id) if t.effect == "judge"]
    assert sorted(judge.parameters) == ["candidates", "criteria"]
