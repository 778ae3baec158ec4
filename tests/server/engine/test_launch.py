"""DBOS is launched by a loop that stands still meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from playcall.server.engine import runtime
from playcall.server.engine.runtime import Runtime
from playcall.server.store.database import Database
from playcall.server.store.tables import MetaRow


async def test_a_transaction_that_is_under_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It could not end while the loop stands still, and SQLite has one lock.
    create = runtime.AsyncSQLAlchemyDatasource.create
    writing: list[asyncio.Task[None]] = []

    async def and_then_somebody_writes(*args: Any, **kwargs: Any) -> Any:
        datasource = await create(*args, **kwargs)
        begun = asyncio.Event()
        writing.append(asyncio.create_task(write(begun)))
        await begun.wait()
        return datasource

    async def write(begun: asyncio.Event) -> None:
        async with database.write() as tx:
            await tx.session.execute(insert(MetaRow).values(key="test", value="1"))
            begun.set()
            await asyncio.sleep(0)  # the loop has to come round again for its end

    monkeypatch.setattr(runtime.AsyncSQLAlchemyDatasource, "create", and_then_somebody_writes)
    database = await Database.create(f"sqlite+aiosqlite:///{tmp_path / 'data.sqlite3'}")
    launched = Runtime(database, executor_id="one", at_once=1)
    try:
        await launched.launch({})
        await asyncio.gather(*writing)
        assert await database.meta("test") == "1"
    finally:
        await launched.shutdown()
        await database.close()
