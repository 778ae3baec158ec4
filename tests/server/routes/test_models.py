"""Agents with a model over HTTP: what is stored, what is refused and why; and what HTTP tools take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from playcall.server.engine import Engine
from playcall.server.settings import Settings
from playcall.server.store.tables import AgentRow
from tests.server.conftest import Api, RunningServer

YAML = """\
name: p
agents: [a]
steps:
  - id: s
    type: standard
    agent: a
    operation: Sum it up
"""


@pytest.fixture(scope="module")
def asking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With a model endpoint that is configured, and not there."""
    folder: Path = tmp_path_factory.mktemp("models")
    settings = Settings(
        data_dir=folder, port=0, model_base_url="http://127.0.0.1:9/v1", model_api_key="s3cret", models=("small",)
    )
    with RunningServer(settings, engine=lambda database, s: Engine(database=database, settings=s)) as running:
        yield running


@pytest_asyncio.fixture
async def asking(asking_server: RunningServer) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(asking_server, session, await asking_server.new_user())


async def agent(api: Api, **fields: Any) -> Any:
    return await api.ok("POST", "/agents", json={"name": "a", "model": "small", **fields})


async def check(api: Api, text: str = YAML) -> list[Any]:
    headers = {"Content-Type": "application/yaml"}
    found = await api.ok("POST", "/playbooks/validate", data=text.encode(), headers=headers)
    return [(e["type"], e.get("line"), e.get("suggestion"), e["msg"]) for e in found["errors"]]


async def test_without_a_model_a_prompt_is_refused_with_its_line_and_what_to_do(api: Api) -> None:
    await agent(api)
    ((kind, line, _, message),) = await check(api)
    assert (kind, line) == ("model_unavailable", 7)
    assert message == (
        "'Sum it up' is a prompt for the model of 'a', and this server has no model configured: start it with "
        "--model-base-url, or use an operation that is one of the agent's tools"
    )
    answer = await api("POST", "/playbooks", data=YAML.encode(), headers={"Content-Type": "application/yaml"})
    assert (answer.status, answer.json["code"]) == (422, "playbook_invalid")


async def test_an_agent_that_has_neither_tool_nor_model_is_told_so(api: Api) -> None:
    await agent(api, model=None)
    ((kind, line, _, _),) = await check(api)
    assert (kind, line) == ("operation_unknown", 7)


async def test_with_a_model_a_prompt_is_taken_and_what_could_be_a_tool_is_not(asking: Api) -> None:
    await agent(asking, tools=["text.stats"])
    assert await check(asking) == []
    ((kind, line, suggestion, _),) = await check(asking, YAML.replace("Sum it up", "text.statz"))
    assert (kind, line, suggestion) == ("operation_unknown", 7, "text.stats")
    ((kind, *_),) = await check(asking, YAML.replace("Sum it up", "wait"))
    assert kind == "operation_unknown", "it is a tool, and not this agent's"


async def test_a_model_that_is_not_offered_is_refused_by_name(asking: Api) -> None:
    await agent(asking, model="large")
    ((kind, _, _, message),) = await check(asking)
    assert kind == "model_unavailable"
    assert message.endswith("this server does not offer the model 'large'; it offers: small")
    assert "s3cret" not in message


async def test_a_task_may_be_a_prompt_where_a_model_can_be_asked(asking: Api) -> None:
    made = await agent(asking)
    await asking.ok("POST", f"/agents/{made['id']}/stop")
    task = await asking.ok("POST", "/tasks", json={"agent": "a", "operation": "Say it", "parameters": {"n": 1}})
    assert (task["status"], task["operation"]) == ("queued", "Say it")
    changed = await asking.ok("PATCH", f"/tasks/{task['id']}", json={"parameters": {"n": 2}})
    assert changed["parameters"] == {"n": 2}
    queue = await asking.ok("GET", f"/agents/{made['id']}/tasks", params={"status": "queued"})
    assert [each["id"] for each in queue["items"]] == [task["id"]]
    await asking.ok("POST", f"/tasks/{task['id']}/cancel")
    await asking.ok("PATCH", f"/agents/{made['id']}", json={"model": "large"})
    refused = await asking("POST", "/tasks", json={"agent": "a", "operation": "Say it"})
    assert (refused.status, refused.json["errors"][0]["type"]) == (422, "model_unavailable")
    refused = await asking("POST", "/tasks", json={"agent": "a", "operation": "text.stats"})
    assert (refused.status, refused.json["errors"][0]["type"]) == (422, "operation_unknown")


async def test_an_http_tool_is_called_only_with_what_its_schema_takes(asking: Api) -> None:
    spec = {"name": "rate", "kind": "http", "url": "https://tools.example/", "parameters": {"type": "nope"}}
    refused = await asking("POST", "/tools", json=spec)
    assert (refused.status, refused.json["errors"][0]["loc"]) == (422, ["body", "parameters"])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = await asking.ok("POST", "/tools", json={**spec, "parameters": schema, "defaults": {"n": 1}})
    refused = await asking("POST", f"/tools/{tool['id']}/execute", json={"parameters": {"n": "s3cret"}})
    assert (refused.status, refused.json["errors"][0]["loc"]) == (422, ["body", "parameters", "n"])
    assert "s3cret" not in str(refused.json)
    refused = await asking("PATCH", f"/tools/{tool['id']}", json={"parameters": {"$ref": "https://example.org/"}})
    assert (refused.status, refused.json["errors"][0]["type"]) == (422, "schema")


async def test_an_agent_in_error_is_ready_when_it_is_started(asking: Api) -> None:
    made = await agent(asking)

    async def fail() -> None:
        async with asking.server.core.database.write() as tx:
            row = await tx.session.get(AgentRow, made["id"])
            assert row is not None
            row.state = "error"

    await asking.server.acall(fail())
    assert (await asking.ok("GET", f"/agents/{made['id']}"))["state"] == "error"
    assert (await asking.ok("POST", f"/agents/{made['id']}/start"))["state"] == "ready"
