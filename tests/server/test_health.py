"""`/ready` tells what is wrong, by its name and in words that help nobody else; `/health` asks nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from playcall.server.routes import health
from playcall.server.settings import Settings
from playcall.server.upkeep import pulse

from .conftest import Api, RunningServer

CHECKS = {"server", "database", "migrations", "log", "disk", "queue"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sqlite: None) -> Iterator[RunningServer]:
    with RunningServer(Settings(data_dir=tmp_path_factory.mktemp("health"), port=0)) as running:
        yield running


async def ready(api: Api) -> tuple[int, dict[str, str]]:
    answer = await api("GET", "/ready", headers={"X-API-Key": ""})
    assert (answer.status == 503) == ("Retry-After" in answer.headers)
    assert answer.json["status"] == ("ok" if answer.status == 200 else "unavailable")
    return answer.status, answer.json["checks"]


async def test_all_is_well(api: Api) -> None:
    assert await ready(api) == (200, dict.fromkeys(CHECKS, "ok"))
    lives = (await api("GET", "/health", headers={"X-API-Key": ""})).json
    assert (lives["status"], lives["api"]) == ("ok", "v1")
    assert lives["uptime_seconds"] > 0


async def test_a_database_of_another_version_is_told(api: Api) -> None:
    async def set_revision(to: str) -> None:
        async with api.server.core.database.write() as tx:
            await tx.session.execute(text("UPDATE playcall_schema_version SET version_num = :to"), {"to": to})

    newest = health.newest_revision()
    await api.server.acall(set_revision("9999"))
    assert await ready(api) == (503, {**dict.fromkeys(CHECKS, "ok"), "migrations": "other version"})
    await api.server.acall(set_revision(str(newest)))
    assert (await ready(api))[0] == 200


async def test_a_database_that_does_not_answer_is_told_and_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(type(api.server.core.database), "read", lambda _: _Never())
    status, checks = await ready(api)
    assert (status, checks["database"], checks["log"]) == (503, "slow", "unknown")
    assert (await api("GET", "/health")).status == 200


class _Never:
    async def __aenter__(self) -> None:
        await asyncio.Event().wait()

    async def __aexit__(self, *_: object) -> None: ...


async def test_a_disk_that_is_full_or_gone_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: SimpleNamespace(free=health.LEAST_FREE_BYTES - 1))
    assert (await ready(api))[1]["disk"] == "full"

    def gone(_: Path) -> None:
        raise OSError(5, "I/O error", "/a/path/of/ours")

    monkeypatch.setattr(health.shutil, "disk_usage", gone)
    assert (await ready(api))[1]["disk"] == "unavailable"
    monkeypatch.undo()
    monkeypatch.setattr(health.os, "access", lambda *_: False)
    assert (await ready(api))[1]["disk"] == "read-only"


async def test_a_server_that_is_about_to_end_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(api.server.core.sockets), "is_draining", property(lambda _: True))
    status, checks = await ready(api)
    assert (status, checks["server"]) == (503, "draining")


def test_the_queue_is_alive_while_the_engine_has_had_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    mine = pulse.Pulse()
    monkeypatch.setattr(health, "engine_pulse", mine)
    monkeypatch.setattr(pulse.time, "monotonic", lambda: now)
    core: Any = SimpleNamespace(engine=object(), settings=Settings(data_dir=Path(), lease_seconds=10))
    assert health._queue(core) == "not started"
    mine.beat()
    now += 9
    assert health._queue(core) == "ok"
    now += 2
    assert health._queue(core) == "stalled"
