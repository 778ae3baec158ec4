"""What was kept long enough goes, in batches; what is young, needed, or somebody's at this moment stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import func, select, update

from playcall.server.clock import utc_now
from playcall.server.engine.commands import Commands
from playcall.server.engine.runtime import Runtime
from playcall.server.ids import new_id
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.store.database import Database
from playcall.server.store.tables import (
    ArtifactRow,
    Base,
    IdempotencyRow,
    RunRow,
    RunStepRow,
    SignInFailureRow,
    TaskRow,
    TokenFamilyRow,
    TopicRow,
)
from playcall.server.telemetry import metrics
from playcall.server.upkeep import retention
from playcall.server.upkeep.caretaker import clear_away, expire_old_runs
from playcall.server.upkeep.retention import KEYS_KEPT, expire_keys, expire_runs

DAY = timedelta(days=1)


class Remover:
    """An engine, as far as removing goes; it never was launched."""

    def __init__(self) -> None:
        self.commands = Commands(cast("Runtime", None))
        self.removed: list[str] = []

    async def remove_workspace(self, id: str) -> None:
        self.removed.append(id)


async def count(database: Database, table: type[Base]) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def topics(database: Database) -> dict[str, int]:
    """With how many events each has."""
    async with database.read() as session:
        return {row.name: row.head - row.floor + 1 for row in (await session.execute(select(TopicRow))).scalars()}


async def run(database: Database, owner: str, *, ended: timedelta | None, **columns: Any) -> str:
    """With a step, a task, a file, and a log of three events."""
    now = utc_now()
    row = RunRow(
        id=new_id("run"), owner_id=owner, version=1, created_at=now, updated_at=now, playbook_id="p", playbook_name="p",
        playbook_version=1, playbook={}, inputs={}, steps_total=1, request_hash="",
        **{"status": "completed" if ended is not None else "running", "started_at": now,
           "ended_at": None if ended is None else now - ended, **columns},
    )  # fmt: skip
    task = TaskRow(**_task(owner), run_id=row.id, step_id="a", status="completed", ended_at=row.ended_at)
    async with database.write() as tx:
        tx.session.add(row)
        await tx.session.flush()
        tx.session.add(RunStepRow(run_id=row.id, id="a", position=0, type="task", description="", status="completed"))
        tx.session.add(
            ArtifactRow(run_id=row.id, name="f", media_type="text/plain", size_bytes=1, sha256="", created_at=now)
        )
        tx.session.add(task)
        for _ in range(3):
            entries = (TopicEntry(f"run:{row.id}"), TopicEntry(f"task:{task.id}"))
            tx.emit(NewEvent(owner_id=owner, type="run.log", data={}, topics=entries))
        return row.id


def _task(owner: str) -> dict[str, Any]:
    now = utc_now()
    return {
        "id": new_id("tsk"), "owner_id": owner, "version": 1, "created_at": now, "updated_at": now, "operation": "x",
        "parameters": {}, "description": "",
    }  # fmt: skip


async def test_a_run_goes_with_all_that_is_its_own_and_its_owner_is_told(database: Database, owner: str) -> None:
    old = await run(database, owner, ended=3 * DAY)
    young = await run(database, owner, ended=timedelta(hours=1))
    going = await run(database, owner, ended=None)
    engine = Remover()
    await expire_old_runs(database, engine, utc_now(), 2 * 86_400)
    assert engine.removed == [old]
    for table in (RunRow, RunStepRow, TaskRow, ArtifactRow):
        assert await count(database, table) == 2, table
    left = await topics(database)
    assert {name for name in left if name.startswith("run:")} == {f"run:{young}", f"run:{going}"}
    assert len([name for name in left if name.startswith("task:")]) == 2
    assert (left["runs"], left["tasks"]) == (1, 1), "run.deleted and task.deleted"
    await expire_old_runs(database, engine, utc_now(), 2 * 86_400)
    assert engine.removed == [old], "there is nothing more"


async def test_a_task_without_a_run_goes_too(database: Database, owner: str) -> None:
    old = TaskRow(**_task(owner), status="failed", ended_at=utc_now() - 3 * DAY)
    async with database.write() as tx:
        tx.session.add(old)
    engine = Remover()
    assert await expire_runs(database, engine, before=utc_now() - 2 * DAY) == 1
    assert engine.removed == [old.id]


async def test_a_run_whose_retry_has_not_begun_stays_and_keeps_no_other_from_going(
    database: Database, owner: str
) -> None:
    needed = await run(database, owner, ended=5 * DAY)
    await run(database, owner, ended=None, status="queued", started_at=None, retry_of=needed)
    other = await run(database, owner, ended=3 * DAY)
    engine = Remover()
    assert await expire_runs(database, engine, before=utc_now() - 2 * DAY) == 1
    assert engine.removed == [other]
    assert (await topics(database))[f"run:{needed}"] == 3


async def test_several_processes_at_it_remove_each_run_once(database: Database, owner: str) -> None:
    old = {await run(database, owner, ended=3 * DAY) for _ in range(6)}
    engines = [Remover() for _ in range(3)]
    await asyncio.gather(*(expire_runs(database, each, before=utc_now()) for each in engines))
    assert sorted(one for each in engines for one in each.removed) == sorted(old)
    assert (await topics(database))["runs"] == 6


async def test_keys_are_kept_for_a_week_and_go_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    now = utc_now()
    async with database.write() as tx:
        for number in range(8):
            tx.session.add(
                IdempotencyRow(caller_id="u", method="POST", path="/", key=f"{number}", body_hash="",
                               created_at=now - KEYS_KEPT - timedelta(seconds=1 if number < 7 else -60))
            )  # fmt: skip
    before = database.writes
    assert await expire_keys(database, before=now - KEYS_KEPT) == 7
    assert database.writes - before == 3
    assert await count(database, IdempotencyRow) == 1
    before = database.writes
    assert await expire_keys(database, before=now - KEYS_KEPT) == 0
    assert database.writes == before, "nothing to remove costs no writer his turn"


async def test_credentials_that_are_over_and_logs_of_nothing_are_cleared_away(database: Database, owner: str) -> None:
    now = utc_now()
    there = await run(database, owner, ended=timedelta(hours=1))
    async with database.write() as tx:
        for ends in (now - DAY, now + DAY):
            tx.session.add(
                TokenFamilyRow(id=new_id("fam"), user_id=owner, scope="full", generation=1, current_hash="",
                               created_at=now, expires_at=ends)
            )  # fmt: skip
            tx.session.add(SignInFailureRow(key=new_id("k"), failures=1, last_at=ends))
        for name, floor, ended in (("run:gone", 4, "finished"), ("run:kept", 3, "finished"), ("task:open", 4, None)):
            tx.session.add(TopicRow(owner_id=owner, name=name, head=3, floor=floor, ended=ended))
        tx.session.add(TopicRow(owner_id=owner, name=f"task:{there}", head=3, floor=4, ended="finished"))
        empty = update(TopicRow).where(TopicRow.name == f"run:{there}")
        await tx.session.execute(empty.values(floor=4, ended="finished"))
    metrics.turn_on()
    try:
        await clear_away(database, now)
        told = metrics.exposition()[0].decode()
    finally:
        metrics.turn_off()
    assert await count(database, TokenFamilyRow) == await count(database, SignInFailureRow) == 1
    assert {"run:gone", f"task:{there}"}.isdisjoint(left := await topics(database))
    assert {"run:kept", "task:open", f"run:{there}"} <= left.keys()
    for kind, rows in (("session", 1), ("sign_in_failure", 1), ("topic", 2)):
        assert f'playcall_expired_rows_total{{kind="{kind}"}} {rows}.0' in told
