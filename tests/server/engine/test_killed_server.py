"""`playcall serve` is killed in the middle of a run; started again on the same data, it goes on by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from playcall.testing import LiveBackend

STEPS = 5


class FarEnd:
    """The outside world: it counts the calls of each key, and answers when it is let."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.held = asyncio.Event()
        self.hold_at = 3

    async def act(self, request: web.Request) -> web.StreamResponse:
        self.calls[request.headers["Idempotency-Key"]] += 1
        assert request.headers["X-Secret"] == "s3cret"
        if len(self.calls) == self.hold_at and not self.held.is_set():
            self.held.set()
            await asyncio.sleep(60)  # until the caller is killed
        return web.json_response({"n": (await request.json())["n"]})


async def request(session: aiohttp.ClientSession, url: str, key: str, method: str, path: str, **more: Any) -> Any:
    async with session.request(method, f"{url}/api/v1{path}", headers={"X-API-Key": key}, **more) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()


async def test_a_killed_server_goes_on_from_its_last_finished_step_and_repeats_only_the_interrupted_one() -> None:
    far_end = FarEnd()
    application = web.Application()
    application.router.add_post("/act", far_end.act)
    outside = TestServer(application)
    await outside.start_server(shutdown_timeout=0.1)
    backend = LiveBackend(options=["--allow-private-addresses"])
    await asyncio.to_thread(backend.start)
    try:
        async with aiohttp.ClientSession() as session:

            async def ask(method: str, path: str, **more: Any) -> Any:
                return await request(session, backend.url, backend.api_key, method, path, **more)

            url = str(outside.make_url("/act"))
            tool = {"name": "act", "kind": "http", "url": url, "secret_headers": {"X-Secret": "s3cret"}}
            assert "s3cret" not in str(await ask("POST", "/tools", json=tool))
            await ask("POST", "/agents", json={"name": "a", "tools": ["act"]})
            steps = [
                {"id": f"s{n}", "type": "standard", "agent": "a", "operation": "act", "parameters": {"n": n}}
                for n in range(STEPS)
            ]
            playbook = await ask("POST", "/playbooks", json={"name": "p", "agents": ["a"], "steps": steps})
            run_id = (await ask("POST", f"/playbooks/{playbook['id']}/runs"))["id"]
            await asyncio.wait_for(far_end.held.wait(), 30)
            await asyncio.to_thread(backend.kill)
            await asyncio.to_thread(backend.restart)

            seen: list[dict[str, Any]] = []
            start = "start"
            async with asyncio.timeout(30):
                while not any(event.get("terminal") for event in seen):
                    params = {"topic": f"run:{run_id}", "from": start, "wait_seconds": "10"}
                    page = await ask("GET", "/events", params=params)
                    frames = [frame for frame in page["frames"] if frame["op"] == "events"]
                    seen += [event for frame in frames for event in frame["events"]]
                    start = f"{page['epoch']}:{frames[-1]['to']}" if frames else start
            run = await ask("GET", f"/runs/{run_id}")
        assert run["status"] == "completed"
        assert run["output"] == {"n": STEPS - 1}
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
        assert Counter(e["data"]["step"]["id"] for e in seen if e["type"] == "run.step.finished") == Counter(
            f"s{n}" for n in range(STEPS)
        )
        assert sorted(far_end.calls.values()) == [1] * (STEPS - 1) + [2], "only the interrupted call was made again"
        assert far_end.calls[f"{run_id}:s2:0"] == 2, "and with the same key"
        assert "s3cret" not in backend.log
    finally:
        await asyncio.to_thread(backend.close)
        await outside.close()
