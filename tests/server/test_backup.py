"""A copy that was made while runs went on, put back: nothing that it holds is missing, runs go on, and whoever has seen what came
after it is told that it is not there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import make_url

from playcall.server.running.data_folder import ID_FILE
from playcall.server.settings import DATABASE_FILE, WITNESS_FILE
from playcall.server.upkeep.backup import BackupError, back_up
from playcall.testing import LiveBackend
from tests.postgresql import PostgreSQL

TEXT = "written before the copy"
STEPS = [
    {"id": "first", "type": "standard", "agent": "a", "operation": "files.write",
     "parameters": {"path": "first.txt", "content": TEXT}, "next": "rest"},
    {"id": "rest", "type": "standard", "agent": "a", "operation": "wait",
     "parameters": {"seconds": "{{ inputs.seconds }}"}, "next": "second"},
    {"id": "second", "type": "standard", "agent": "a", "operation": "files.write",
     "parameters": {"path": "second.txt", "content": "written at last"}},
]  # fmt: skip


class Caller:
    def __init__(self, session: aiohttp.ClientSession, backend: LiveBackend) -> None:
        self.session = session
        self.backend = backend

    async def raw(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        url, headers = f"{self.backend.url}/api/v1{path}", {"X-API-Key": self.backend.api_key}
        async with self.session.request(method, url, headers=headers, **more) as answer:
            is_json = answer.content_type.endswith("json")
            return answer.status, answer.headers, await answer.json() if is_json else await answer.text()

    async def ok(self, method: str, path: str, **more: Any) -> Any:
        status, _, body = await self.raw(method, path, **more)
        assert status < 300, body
        return body

    async def until(self, run_id: str, *, step: str | None = None) -> Any:
        """The run has ended; or, with `step`, come to it."""
        async with asyncio.timeout(60):
            while True:
                run = await self.ok("GET", f"/runs/{run_id}")
                if run["status"] in ("completed", "failed", "cancelled"):
                    return run
                if step is not None:
                    steps = await self.ok("GET", f"/runs/{run_id}/steps")
                    if any(each["id"] == step and each["status"] == "running" for each in steps["items"]):
                        return run
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(backend: LiveBackend) -> AsyncIterator[Caller]:
    await asyncio.to_thread(backend.start)
    try:
        async with aiohttp.ClientSession() as session:
            yield Caller(session, backend)
    finally:
        await asyncio.to_thread(backend.close)


async def at_work(caller: Caller) -> tuple[str, asyncio.Task[None]]:
    """A run that is in its middle, and others that come and go for as long as the task is not cancelled."""
    await caller.ok("POST", "/agents", json={"name": "a", "tools": ["files.write", "wait"]})
    inputs = {"seconds": {"type": "float"}}
    playbook = await caller.ok(
        "POST", "/playbooks", json={"name": "p", "inputs": inputs, "steps": STEPS, "agents": ["a"]}
    )

    async def start(seconds: float) -> str:
        path = f"/playbooks/{playbook['id']}/runs"
        return str((await caller.ok("POST", path, json={"inputs": {"seconds": seconds}}))["id"])

    async def load() -> None:
        while True:
            await caller.until(await start(0))

    await caller.until(await start(0))
    slow = await start(4)
    await caller.until(slow, step="rest")
    return slow, asyncio.create_task(load())


async def check_restored(caller: Caller, slow: str, last_seen: str) -> None:
    run = await caller.until(slow)
    assert run["status"] == "completed", run
    for name, text in (("first.txt", TEXT), ("second.txt", "written at last")):
        assert await caller.ok("GET", f"/runs/{slow}/artifacts/{name}") == text
    runs = (await caller.ok("GET", "/runs", params={"limit": 100}))["items"]
    assert len(runs) > 1
    for each in runs:
        assert (await caller.until(each["id"]))["status"] == "completed"
        for file in (await caller.ok("GET", f"/runs/{each['id']}/artifacts"))["items"]:
            status, headers, _ = await caller.raw("GET", f"/runs/{each['id']}/artifacts/{file['name']}")
            assert (status, headers["ETag"]) == (200, f'"{file["sha256"]}"'), "every entry has its content"
    page = await caller.ok("GET", "/events", params={"topic": "runs", "from": last_seen})
    assert [(frame["op"], frame.get("reason")) for frame in page["frames"]] == [("gap", "epoch")]


async def test_a_copy_of_a_busy_server_is_a_server_at_that_moment(tmp_path: Path, sqlite: None) -> None:
    copy = tmp_path / "copy"
    async with running(LiveBackend(tmp_path / "data")) as caller:
        slow, load = await at_work(caller)
        command = [sys.executable, "-m", "playcall", "backup", str(copy), "--data", str(tmp_path / "data")]
        told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        assert "files" in told.stdout
        assert not load.done(), "the server did not notice"
        load.cancel()
        _, headers, _ = await caller.raw("GET", "/runs")
        last_seen, key = headers["X-Event-Cursor"], caller.backend.api_key
        await asyncio.to_thread(caller.backend.kill)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert not (copy / WITNESS_FILE).exists()
    async with running(LiveBackend(copy, api_key=key)) as caller:
        await check_restored(caller, slow, last_seen)


async def test_postgresql_and_its_folder_are_put_back_together(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """As docs/operations.md says: the dump first, then the folder, and a new epoch because the folder brings its witness."""
    url, data, copy = postgresql.new_database(migrated=False), tmp_path / "data", tmp_path / "copy"

    def program(name: str, *arguments: str) -> None:
        subprocess.run([postgresql.programs / name, *arguments], check=True, capture_output=True, env=os.environ)

    def dsn(of: str) -> str:
        return make_url(of).set(drivername="postgresql").render_as_string(hide_password=False)

    def backend(folder: Path, of: str, *options: str, **more: Any) -> LiveBackend:
        return LiveBackend(folder, options=options, environment={"PLAYCALL_DATABASE_URL": dsn(of)}, **more)

    async with running(backend(data, url)) as caller:
        slow, load = await at_work(caller)
        dump = str(tmp_path / "dump")
        await asyncio.to_thread(program, "pg_dump", "--format=custom", f"--file={dump}", dsn(url))
        await asyncio.to_thread(shutil.copytree, data, copy)
        assert not load.done(), "the server did not notice"
        load.cancel()
        _, headers, _ = await caller.raw("GET", "/runs")
        last_seen, key = headers["X-Event-Cursor"], caller.backend.api_key
        await asyncio.to_thread(caller.backend.kill)
    restored = postgresql.new_database(migrated=False)
    await asyncio.to_thread(program, "pg_restore", f"--dbname={dsn(restored)}", "--no-owner", dump)
    async with running(backend(copy, restored, "--new-epoch", "--lease-seconds=2", api_key=key)) as caller:
        await check_restored(caller, slow, last_seen)


def test_a_copy_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    with pytest.raises(BackupError, match="no database"):
        back_up(data, target)
    (data / DATABASE_FILE).write_bytes(b"this is no database, and much longer than a header" * 100)
    with pytest.raises(BackupError, match="cannot be copied"):
        back_up(data, target)
    assert [each.name for each in tmp_path.iterdir()] == ["data"], "nothing is left of the attempt"
    target.mkdir()
    (target / "something").touch()
    with pytest.raises(BackupError, match="not empty"):
        back_up(data, target)
    with pytest.raises(BackupError, match="what is to be copied"):
        back_up(data, data / "workspaces" / "copy")
    (data / ID_FILE).touch()
    with pytest.raises(BackupError, match="pg_dump"):
        back_up(data, tmp_path / "another")
