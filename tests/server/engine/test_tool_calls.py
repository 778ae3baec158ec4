"""Tools in a run, where the kind of tool makes a difference: the shell, and HTTP endpoints with a schema."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from playcall.models import JsonObject

from .conftest import House, close_house, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    more: dict[str, Any] = {"enable_shell": True, "allow_private_addresses": True}
    house = await open_house(tmp_path_factory.mktemp("house"), **more)
    yield house
    await close_house(house)


def step(operation: str, parameters: JsonObject, **fields: Any) -> JsonObject:
    spec = {"id": operation.replace(".", "_"), "type": "standard", "agent": "a", "operation": operation}
    return {**spec, "parameters": parameters, **fields}


async def shell(house: House) -> None:
    """As the launch registers it for everybody."""
    await house.tool("shell", kind="builtin")
    await house.agent("a", ["shell", "files.read"])


async def test_a_command_works_in_the_runs_workspace_and_its_lines_are_the_runs_log(house: House) -> None:
    await shell(house)
    command = "echo one; echo two >&2; echo 3 > made; echo $PLAYCALL_IDEMPOTENCY_KEY"
    steps = [step("shell", {"command": command}), step("files.read", {"path": "made"})]
    run_id = await house.start({"agents": ["a"], "steps": steps})
    run = await house.ended(run_id)
    assert (run.status, run.output["text"]) == ("completed", "3\n"), run.error
    lines = [json.loads(e.data) for e in await house.events(f"run:{run_id}") if e.type == "run.log"]
    assert {(line["level"], line["message"]) for line in lines} >= {("info", "one"), ("warning", "two")}
    assert (await house.steps(run_id))["shell"].output["stdout"].splitlines()[1].startswith(f"{run_id}:shell:")


async def test_a_command_is_ended_with_its_steps_time(house: House) -> None:
    await shell(house)
    steps = [step("shell", {"command": "sleep 300 & echo begun; sleep 300"}, timeout_seconds=0.5)]
    run = await house.ended(await house.start({"agents": ["a"], "steps": steps}))
    assert run.error is not None
    assert run.error["code"] == "timeout"


async def test_a_call_that_does_not_fit_the_tools_schema_is_not_made(house: House) -> None:
    called: list[Any] = []

    async def act(request: web.Request) -> web.StreamResponse:
        called.append(await request.json())
        return web.json_response({"ok": True})

    application = web.Application()
    application.router.add_post("/act", act)
    server = TestServer(application)
    await server.start_server()
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}
    try:
        url = str(server.make_url("/act"))
        await house.tool("act", kind="http", url=url, method="POST", parameters=schema, defaults={"m": 1})
        await house.agent("a", ["act"])
        good = await house.ended(await house.start({"agents": ["a"], "steps": [step("act", {"n": 2})]}))
        bad = await house.ended(await house.start({"agents": ["a"], "steps": [step("act", {"n": "s3cret"})]}))
    finally:
        await server.close()
    assert good.output == {"ok": True}
    assert bad.error is not None
    assert bad.error["code"] == "parameters_invalid"
    assert "n: " in bad.error["message"]
    assert "s3cret" not in bad.error["message"]
    assert called == [{"m": 1, "n": 2}]
