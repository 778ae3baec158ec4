"""A prompt that a restart interrupts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from ...openai_server import KEY, OpenAIServer, calls, says, stalls
from .conftest import House, close_house, move_in, open_house


async def test_after_a_restart_a_prompt_is_asked_again_and_its_tools_get_the_same_keys(tmp_path: Path) -> None:
    keys: list[str] = []

    async def act(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers["Idempotency-Key"])
        return web.json_response({"done": True})

    application = web.Application()
    application.router.add_post("/act", act)
    tool = TestServer(application)
    await tool.start_server()
    acting = calls(("act", {"n": 1}), ("act", {"n": 2}))
    async with OpenAIServer(acting, stalls("hm"), acting, says("done")) as model:
        more: dict[str, Any] = {"model_base_url": model.url, "model_api_key": KEY, "allow_private_addresses": True}
        first = await move_in(await open_house(tmp_path, **more))
        try:
            await first.tool("act", kind="http", url=str(tool.make_url("/act")), method="POST")
            await first.agent("a", ["act"], model="small")
            run_id = await first.start(
                {"agents": ["a"], "steps": [{"id": "s", "type": "standard", "agent": "a", "operation": "Do it"}]}
            )
            await first.until_event(f"run:{run_id}", "task.output.delta")
        finally:
            await close_house(first)
        again = await open_house(tmp_path, **more)
        try:
            second = House(again.database, again.engine, again.settings, first.owner)
            run = await second.ended(run_id)
            events = await second.events(f"run:{run_id}")
        finally:
            await close_house(again)
            await tool.close()
    assert (run.status, run.output["text"]) == ("completed", "done"), run.error
    pieces = [json.loads(event.data) for event in events if event.type == "task.output.delta"]
    assert [(p["round"], p["offset"], p["text"]) for p in pieces] == [(2, 0, "hm"), (2, 0, "done")]
    assert keys[:2] == keys[2:]
    assert len(set(keys)) == 2
    assert all(key.startswith(f"{run_id}:s:") for key in keys)
