"""A disk without room: callers are told so and when to come back, nothing is half done, and all goes on when there is room again.

The limit is the system's own on the size of the server's files, set from outside while it serves, which needs no rights.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from playcall.server.settings import Settings
from playcall.testing import LiveBackend

from .conftest import Api, RunningServer
from .test_backup import TEXT, at_work, running

UNAVAILABLE = (503, "database_unavailable")


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def test_a_server_outlives_a_full_disk_and_so_do_its_runs(tmp_path: Path, sqlite: None) -> None:
    async with running(LiveBackend(tmp_path / "data")) as caller:
        slow, load = await at_work(caller)
        load.cancel()
        await asyncio.wait([load])
        _, before, _ = await caller.raw("GET", "/agents")
        with no_room(caller.backend.pid):
            for name in ("b", "c", "d"):
                status, headers, problem = await caller.raw("POST", "/agents", json={"name": name})
                assert (status, problem["code"]) == UNAVAILABLE
                assert int(headers["Retry-After"]) >= 1
            status, _, problem = await caller.raw("PUT", f"/runs/{slow}/artifacts/new.txt", data=b"x" * 10_000)
            assert (status, problem["code"]) in (UNAVAILABLE, (507, "storage_full"))
            assert await caller.ok("GET", f"/runs/{slow}/artifacts/first.txt") == TEXT, "what is there can be read"
            await asyncio.sleep(
                4
            )  # what the run waits at most, which began before this: it cannot write down that it has
            assert (await caller.ok("GET", f"/runs/{slow}"))["status"] == "running"
        assert (await caller.until(slow))["status"] == "completed"
        assert await caller.ok("GET", f"/runs/{slow}/artifacts/second.txt") == "written at last"
        _, after, agents = await caller.raw("GET", "/agents")
        assert [agent["name"] for agent in agents["items"]] == ["a"], "nothing of what was refused is there"
        await caller.ok("POST", "/agents", json={"name": "b"})
        assert (await caller.raw("GET", "/ready"))[0] == 200
        assert "internal_error" not in caller.backend.log
        assert before["X-Event-Cursor"].partition(":")[0] == after["X-Event-Cursor"].partition(":")[0]


class OnlyReads:
    """Whether the writer's connections may write; they ask each time that they are taken from the pool."""

    def __init__(self, server: RunningServer) -> None:
        self.is_on = False
        event.listen(server.core.database.engine.sync_engine, "checkout", self._on_checkout)

    def _on_checkout(self, connection: DBAPIConnection, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA query_only = {self.is_on:d}")
        cursor.close()


async def test_a_database_that_may_only_be_read_is_read_and_its_server_ends_in_good_order(
    tmp_path: Path, sqlite: None, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningServer(Settings(data_dir=tmp_path, port=0)) as server:
        only_reads = OnlyReads(server)
        async with aiohttp.ClientSession() as session:
            api = Api(server, session, await server.new_user())
            only_reads.is_on = True
            answer = await api("POST", "/agents", json={"name": "a"})
            assert (answer.status, answer.json["code"]) == UNAVAILABLE
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await api.ok("GET", "/agents"))["items"] == []
            only_reads.is_on = False
            await api.ok("POST", "/agents", json={"name": "a"})
            only_reads.is_on = True
    assert "uvicorn.error" not in {record.name for record in caplog.records}
