"""What is kept no longer: runs and tasks that ended long ago, idempotency keys, credentials that have expired.

All of it in small transactions, each of which other writers may wait for; and in any number of processes at once, because
who finds that another has a row in hand passes it by.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models.topic import run_topic, task_topic
from playcall.server.auth.sign_in import FORGOTTEN
from playcall.server.log import expire_topic
from playcall.server.problems import ApiError
from playcall.server.store.database import Database, Transaction
from playcall.server.store.tables import (
    Base,
    IdempotencyRow,
    RunRow,
    SignInFailureRow,
    TaskRow,
    TokenFamilyRow,
    TopicRow,
)
from playcall.server.telemetry import metrics

__all__ = ["KEYS_KEPT", "Removes", "expire_credentials", "expire_keys", "expire_runs", "expire_topics"]

KEYS_KEPT: Final = timedelta(days=7)
"""A call is made again within minutes; who comes back after a week's outage still gets the answer of before. The key that
started a run is the run's for as long as there is one."""
BATCH_ROWS: Final = 200
"""A database takes a bounded number of parameters in one statement."""
BATCH_RUNS: Final = 50
"""Looked for at a time; each goes in a transaction of its own."""
MAX_PASSED_BY: Final = 1_000
"""Then the next time sees the rest."""


RowT = TypeVar("RowT", RunRow, TaskRow)


class Removes(Protocol):
    """The engine, as this needs it."""

    @property
    def commands(self) -> Commands: ...
    async def remove_workspace(self, id: str) -> None: ...


class Commands(Protocol):
    async def delete_run(self, tx: Transaction, run: RunRow) -> None: ...
    async def delete_task(self, tx: Transaction, task: TaskRow) -> None: ...


async def expire_keys(database: Database, *, before: datetime) -> int:
    """Idempotency keys that were used before this moment; returns how many."""
    key = (IdempotencyRow.caller_id, IdempotencyRow.method, IdempotencyRow.path, IdempotencyRow.key)
    return await _expire(database, IdempotencyRow, key, IdempotencyRow.created_at < before, kind="idempotency_key")


async def expire_credentials(database: Database, *, now: datetime) -> int:
    """Sessions whose refresh tokens have expired, and failed sign-ins that count no more."""
    families = await _expire(
        database, TokenFamilyRow, (TokenFamilyRow.id,), TokenFamilyRow.expires_at < now, kind="session"
    )
    failures = await _expire(
        database,
        SignInFailureRow,
        (SignInFailureRow.key,),
        SignInFailureRow.last_at < now - FORGOTTEN,
        kind="sign_in_failure",
    )
    return families + failures


async def _expire(
    database: Database, table: type[Base], key: tuple[Any, ...], is_old: ColumnElement[bool], *, kind: str
) -> int:
    """What is old is looked for beside the writers, as it may take a while. `Any`: columns of any type."""
    total = 0
    while True:
        async with database.read() as session:
            found = [tuple(row) for row in await session.execute(select(*key).where(is_old).limit(BATCH_ROWS))]
        if not found:
            return total
        async with database.write() as tx:
            # Another process may have some of them in hand, or one may have been used again.
            mine = select(*key).where(tuple_(*key).in_(found), is_old).with_for_update(skip_locked=True)
            free = [tuple(row) for row in await tx.session.execute(mine)]
            if free:
                await tx.session.execute(delete(table).where(tuple_(*key).in_(free)))
        metrics.EXPIRED.add(kind, amount=len(free))
        total += len(free)
        if not free or len(found) < BATCH_ROWS:
            return total


async def expire_topics(database: Database) -> int:
    """What is left of the logs of runs and tasks that are no more, once their last event has expired; returns how many."""
    is_over = TopicRow.ended.is_not(None) & (TopicRow.floor > TopicRow.head)
    total = 0
    for noun, table in (("run", RunRow), ("task", TaskRow)):
        resource = select(table.id).where(table.id == func.substr(TopicRow.name, len(noun) + 2))
        is_gone = TopicRow.name.like(f"{noun}:%") & ~resource.exists()
        total += await _expire(database, TopicRow, (TopicRow.id,), is_over & is_gone, kind="topic")
    return total


async def expire_runs(database: Database, engine: Removes, *, before: datetime) -> int:
    """Runs that ended before this moment, and tasks without a run, the longest ago first: with all that is theirs, on the
    disk as well, as if their owners had deleted them; and their logs with them. Returns how many.

    A run whose files a retry still needs stays until that has them.
    """

    async def delete_run(tx: Transaction, run: RunRow) -> list[str]:
        tasks = await tx.session.execute(select(TaskRow.id).where(TaskRow.run_id == run.id))
        topics = [run_topic(run.id), *(task_topic(each) for each in tasks.scalars())]
        await engine.commands.delete_run(tx, run)
        return topics

    async def delete_task(tx: Transaction, task: TaskRow) -> list[str]:
        await engine.commands.delete_task(tx, task)
        return [task_topic(task.id)]

    runs = await _expire_work(database, engine, RunRow, RunRow.ended_at < before, delete_run)
    is_own = TaskRow.run_id.is_(None)
    tasks = await _expire_work(database, engine, TaskRow, (TaskRow.ended_at < before) & is_own, delete_task)
    metrics.EXPIRED.add("run", amount=runs)
    metrics.EXPIRED.add("task", amount=tasks)
    return runs + tasks


async def _expire_work(
    database: Database,
    engine: Removes,
    table: type[RowT],
    is_old: ColumnElement[bool],
    remove: Callable[[Transaction, RowT], Awaitable[list[str]]],
) -> int:
    """`remove` gives the topics of what it has removed."""
    removed = 0
    passed_by: set[str] = set()
    while True:
        async with database.read() as session:
            old = select(table.id).where(is_old, table.id.not_in(sorted(passed_by)))
            ids = (await session.execute(old.order_by(table.ended_at, table.id).limit(BATCH_RUNS))).scalars().all()
        if not ids or len(passed_by) > MAX_PASSED_BY:
            return removed
        for each in ids:
            topics: list[str] = []
            owner_id = ""
            try:
                async with database.write() as tx:
                    row = await _locked(tx.session, table, each)
                    if row is not None:
                        owner_id = row.owner_id
                        topics = await remove(tx, row)
            except ApiError:
                pass  # it is needed
            if not topics:
                passed_by.add(each)
                continue
            removed += 1
            await engine.remove_workspace(each)
            for topic in topics:
                await _remove_topic(database, owner_id, topic)


async def _locked(session: AsyncSession, table: type[RowT], id: str) -> RowT | None:
    """None if it is gone, or another process has it in hand."""
    return (
        await session.execute(select(table).where(table.id == id).with_for_update(skip_locked=True))
    ).scalar_one_or_none()


async def _remove_topic(database: Database, owner_id: str, name: str) -> None:
    """Its events first, which may be many: whoever reads it then gets a gap, and in the end that there is no such topic."""
    async with database.read() as session:
        wanted = select(TopicRow.id).where(TopicRow.owner_id == owner_id, TopicRow.name == name)
        topic_id = await session.scalar(wanted)
    if topic_id is None:
        return
    await expire_topic(database, topic_id)
    async with database.write() as tx:
        await tx.session.execute(delete(TopicRow).where(TopicRow.id == topic_id))
