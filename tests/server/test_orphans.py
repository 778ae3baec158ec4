"""A folder that belongs to nothing is set aside, then removed; one that belongs to something is never touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from playcall.server.clock import utc_now
from playcall.server.store.database import Database
from playcall.server.store.tables import RunRow
from playcall.server.upkeep.orphans import ASIDE, KEPT_SECONDS, YOUNG_SECONDS, sweep_orphans

HOUR = 3_600.0


def folder(workspaces: Path, name: str, *, age_seconds: float) -> Path:
    (made := workspaces / name).mkdir(parents=True)
    (made / "file").write_text("content")
    then = time.time() - age_seconds
    os.utime(made, (then, then))
    return made


async def enter(database: Database, owner: str, id: str) -> None:
    now = utc_now()
    async with database.write() as tx:
        tx.session.add(
            RunRow(id=id, owner_id=owner, version=1, created_at=now, updated_at=now, playbook_id="p", playbook_name="p",
                   playbook_version=1, playbook={}, inputs={}, steps_total=1, request_hash="", status="completed")
        )  # fmt: skip


async def test_only_an_old_folder_of_nothing_is_set_aside(database: Database, owner: str, tmp_path: Path) -> None:
    await enter(database, owner, "run_there")
    kept = [
        folder(tmp_path, "run_there", age_seconds=100 * HOUR),
        folder(tmp_path, "run_young", age_seconds=YOUNG_SECONDS / 2),
        folder(tmp_path, "somebody's own", age_seconds=100 * HOUR),
        folder(tmp_path, ".writing", age_seconds=100 * HOUR),
    ]
    orphan = folder(tmp_path, "run_gone", age_seconds=2 * YOUNG_SECONDS)
    await sweep_orphans(database, tmp_path)
    assert all((each / "file").exists() for each in kept)
    assert not orphan.exists()
    assert (tmp_path / ASIDE / "run_gone" / "file").read_text() == "content"


async def test_it_is_removed_a_week_after_it_was_set_aside(database: Database, tmp_path: Path) -> None:
    folder(tmp_path, "tsk_gone", age_seconds=100 * KEPT_SECONDS)
    await sweep_orphans(database, tmp_path)
    now = time.time()
    await sweep_orphans(database, tmp_path, now=now + KEPT_SECONDS - HOUR)
    assert (tmp_path / ASIDE / "tsk_gone").exists()
    await sweep_orphans(database, tmp_path, now=now + KEPT_SECONDS + HOUR)
    assert not (tmp_path / ASIDE / "tsk_gone").exists()


async def test_it_goes_back_once_the_right_database_has_been_put_back(
    database: Database, owner: str, tmp_path: Path
) -> None:
    folder(tmp_path, "run_known", age_seconds=2 * YOUNG_SECONDS)
    await sweep_orphans(database, tmp_path)
    await enter(database, owner, "run_known")
    await sweep_orphans(database, tmp_path, now=time.time() + 2 * KEPT_SECONDS)
    assert (tmp_path / "run_known" / "file").read_text() == "content"


async def test_a_folder_that_is_not_there_yet_is_no_fault(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await sweep_orphans(database, tmp_path / "missing")
    assert not caplog.records
