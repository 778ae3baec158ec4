"""A server that is told to keep runs no longer removes them with its own engine, down to the disk; one that is not keeps them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playcall.testing import LiveBackend

from .test_backup import STEPS, Caller, running


async def ended_run(caller: Caller) -> str:
    await caller.ok("POST", "/agents", json={"name": "a", "tools": ["files.write"]})
    playbook = await caller.ok("POST", "/playbooks", json={"name": "p", "agents": ["a"], "steps": [STEPS[-1]]})
    run = await caller.ok("POST", f"/playbooks/{playbook['id']}/runs", json={})
    assert (await caller.until(run["id"]))["status"] == "completed"
    return str(run["id"])


async def test_ended_runs_go_with_their_files_once_that_is_asked_for(tmp_path: Path, sqlite: None) -> None:
    async with running(LiveBackend(tmp_path)) as caller:
        run_id = await ended_run(caller)
        key = caller.backend.api_key
    async with running(LiveBackend(tmp_path, api_key=key)) as caller:
        await caller.ok("GET", f"/runs/{run_id}")
        assert (tmp_path / "workspaces" / run_id / "second.txt").exists()
    async with running(LiveBackend(tmp_path, api_key=key, options=["--run-retention-days=0.000001"])) as caller:
        async with asyncio.timeout(20):
            while (await caller.raw("GET", f"/runs/{run_id}"))[0] != 404:
                await asyncio.sleep(0.02)
            while (tmp_path / "workspaces" / run_id).exists():
                await asyncio.sleep(0.02)
            while (await caller.raw("GET", "/events", params={"topic": f"run:{run_id}"}))[0] != 403:
                await asyncio.sleep(0.02)
        page = await caller.ok("GET", "/events", params={"topic": "runs"})
        types = [event["type"] for frame in page["frames"] if frame["op"] == "events" for event in frame["events"]]
        assert types[-1] == "run.deleted"
