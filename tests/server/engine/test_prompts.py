"""Prompts: what they are, and how an agent's model carries them out, with its tools, in a run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from playcall.models import JsonObject, TaskSpec
from playcall.server.engine.prompts import ModelEndpoint, function_names, is_prompt, output_of, user_text
from playcall.server.settings import Settings

from ...openai_server import KEY, OpenAIServer, calls, refuses, says, stalls
from .conftest import House, close_house, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer) -> AsyncIterator[House]:
    house = await open_house(tmp_path_factory.mktemp("house"), **asking(model))
    yield house
    await close_house(house)


@pytest.fixture(autouse=True)
def _afresh(model: OpenAIServer) -> None:
    model.begin()


def asking(model: OpenAIServer) -> dict[str, Any]:
    return {"model_base_url": model.url, "model_api_key": KEY, "models": ("small",), "allow_private_addresses": True}


def step(**fields: Any) -> JsonObject:
    spec: JsonObject = {"id": "s", "type": "standard", "agent": "a", "operation": "Sum it up"}
    return {"agents": ["a"], "steps": [{**spec, **fields}]}


def heard(events: list[Any]) -> list[JsonObject]:
    return [json.loads(event.data) for event in events if event.type == "task.output.delta"]


async def test_a_prompt_is_asked_with_its_rendered_parameters_and_heard_as_it_is_answered(
    house: House, model: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    agent = await house.agent("a", [], model="small", instructions="Be brief.")
    model.begin(says("It ", "is ", "good."))
    run_id = await house.start(
        {
            "inputs": {"n": {"type": "integer"}},
            **step(parameters={"count": "{{ inputs.n }}", "name": "Zoë"}),
        },
        {"n": 3},
    )
    run = await house.ended(run_id)
    assert (run.status, run.output["text"]) == ("completed", "It is good."), run.error
    assert model.complaints == []
    assert model.requests[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": 'Sum it up\n\nParameters (JSON):\n{\n  "count": 3,\n  "name": "Zoë"\n}'},
    ]
    (task,) = await house.tasks(run_id)
    for topic in (f"run:{run_id}", f"task:{task.id}", f"agent:{agent.id}"):
        pieces = heard(await house.events(topic))
        assert "".join(piece["text"] for piece in pieces) == "It is good.", topic
        assert {piece["round"] for piece in pieces} == {1}
        assert pieces[0]["offset"] == 0
    assert heard(await house.events("tasks")) == []
    types = [event.type for event in await house.events(f"task:{task.id}")]
    assert types[-1] == "task.completed"
    for hidden in ("Sum it up", "It is good", "Zoë", KEY):
        assert hidden not in caplog.text


async def test_a_condition_decides_by_an_answer_that_is_json(house: House, model: OpenAIServer) -> None:
    await house.agent("a", [], model="small")
    model.begin(says('{"score": ', "0.9}"), says("unreached"))
    spec = step(next_conditions=[{"condition": "has(output, 'json') and output.json.score > 0.8", "next": "end"}])
    spec["steps"].append({"id": "t", "type": "standard", "agent": "a", "operation": "Try again"})
    run = await house.ended(await house.start(spec))
    assert run.output["json"] == {"score": 0.9}
    assert len(model.requests) == 1


async def test_a_models_tools_are_the_agents_with_all_that_an_operation_has(house: House, model: OpenAIServer) -> None:
    (house.files / "in.txt").write_text("one two")
    await house.agent("a", ["text.stats", "files.write"], model="small")
    model.begin(
        calls(("text_stats", {"path": str(house.files / "in.txt")}), ("text_stats", {"path": "../../etc/passwd"})),
        calls(("files_write", {"path": "out.txt", "content": "2 words"})),
        says("Written."),
    )
    run_id = await house.start(step())
    run = await house.ended(run_id)
    assert (run.status, run.output["text"], run.output["usage"]["requests"]) == ("completed", "Written.", 3), run.error
    stats, refused = [m["content"] for m in model.requests[1]["messages"] if m["role"] == "tool"]
    assert json.loads(stats)["words"] == 2
    assert "path_refused" in refused
    created = [json.loads(e.data) for e in await house.events(f"run:{run_id}") if e.type == "run.artifact.created"]
    assert [each["artifact"]["name"] for each in created] == ["out.txt"]
    names = [tool["function"]["name"] for tool in model.requests[0]["tools"]]
    assert names == ["text_stats", "files_write"]


async def test_cancelling_the_run_hangs_up_on_the_model(house: House, model: OpenAIServer) -> None:
    await house.agent("a", [], model="small")
    model.begin(stalls("I am "))
    run_id = await house.start(step())
    await house.until_event(f"run:{run_id}", "task.output.delta")
    async with house.database.write() as tx:
        run = await tx.session.get(type(await house.run(run_id)), run_id)
        assert run is not None
        await house.engine.commands.cancel_run(tx, run)
    house.engine.stop_work(run_id)
    assert (await house.ended(run_id)).status == "cancelled"
    async with asyncio.timeout(10):
        await model.hung_up.wait()


async def test_a_steps_time_is_a_prompts_and_its_retry_asks_again(house: House, model: OpenAIServer) -> None:
    await house.agent("a", [], model="small")
    model.begin(stalls("I am "), refuses(429), says("here"))
    run_id = await house.start(step(timeout_seconds=0.5, retry={"attempts": 3, "delay_seconds": 0}))
    run = await house.ended(run_id)
    assert (run.status, run.output["text"]) == ("completed", "here"), run.error
    codes = [(task.error or {}).get("code") for task in await house.tasks(run_id)]
    assert codes == ["timeout", "model_rate_limited", None]


async def test_an_agent_whose_model_is_not_there_three_times_in_a_row_is_in_error_until_something_works(
    house: House, model: OpenAIServer
) -> None:
    agent = await house.agent("a", [], model="small")

    async def ask() -> str:
        async with house.database.write() as tx:
            task = await house.engine.commands.create_task(tx, agent, TaskSpec(agent="a", operation="Say it"))
        ended = await house.task_ended(task.id)
        return str((ended.error or {}).get("code", ended.status))

    async def states() -> list[str]:
        events = [e for e in await house.events("agents") if e.type == "agent.changed"]
        return [json.loads(event.data)["agent"]["state"] for event in events]

    model.begin(refuses(503), refuses(503), refuses(429), refuses(503), refuses(503), refuses(503), says("ok"))
    assert [await ask() for _ in range(5)] == [
        "model_unavailable", "model_unavailable", "model_rate_limited", "model_unavailable", "model_unavailable",
    ]  # fmt: skip
    assert "error" not in await states()
    assert await ask() == "model_unavailable"
    assert (await states())[-1] == "error"
    assert await ask() == "completed"
    assert (await states())[-2:] == ["error", "ready"]


async def test_a_model_that_is_offered_no_more_fails_the_step_and_says_what_there_is(house: House) -> None:
    await house.agent("a", [], model="large")
    run = await house.ended(await house.start(step()))
    assert run.error is not None
    assert run.error["code"] == "model_unavailable"
    assert "does not offer the model 'large'; it offers: small" in run.error["message"]


# --- what they are -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("Sum it up", True),
        ("review", True),
        ("e.g. this", True),
        ("text.stats", False),
        ("wait", False),
        ("text.statz", False),
        ("mine", False),
    ],
)
async def test_what_could_be_a_tools_name_is_no_prompt(operation: str, expected: bool) -> None:
    known = ("text.stats", "wait")
    assert is_prompt(operation, agent_model="m", agent_tools=["mine"], known=known) is expected
    assert not is_prompt(operation, agent_model=None, agent_tools=["mine"], known=known)


async def test_the_parameters_follow_the_prompt_only_where_there_are_any() -> None:
    assert user_text("Do it", {}) == "Do it"
    assert user_text("Do it", {"a": [1]}) == 'Do it\n\nParameters (JSON):\n{\n  "a": [\n    1\n  ]\n}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        (' \n{"a": 1}\n', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}\n```\n', {"a": 1}),
        ('Here: {"a": 1}', None),
        ("[1]", None),
        ('"a"', None),
        ('{"a": NaN}', None),
        ("[" * 100_000, None),
    ],
)
async def test_an_answer_has_json_only_where_all_of_it_is_an_object(text: str, value: JsonObject | None) -> None:
    output = output_of(text, model="m", input_tokens=1, output_tokens=2, requests=1)
    assert output.get("json") == value
    assert output["text"] == text


async def test_tools_are_called_by_names_that_every_endpoint_takes_and_that_differ() -> None:
    names = function_names(["a.b", "a_b", "a-b", "x" * 100, "x" * 99, "text.stats"])
    assert names["a.b"] == "a_b"
    assert names["a_b"] == "a_b_2"
    assert len(set(names.values())) == len(names)
    assert max(len(name) for name in names.values()) == 64


async def test_the_endpoint_says_why_not_and_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = ModelEndpoint.of(Settings(data_dir=tmp_path))
    assert "no model configured: start it with --model-base-url" in (none.refusal("m") or "")
    settings = Settings(data_dir=tmp_path, model_base_url="http://x/v1", model_api_key=KEY)
    endpoint = ModelEndpoint.of(settings)
    assert endpoint.refusal("whatever") is None
    assert KEY not in repr(endpoint) + repr(settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'playcall[server,llm]'" in (endpoint.refusal("m") or "")
