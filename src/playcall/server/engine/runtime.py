"""DBOS, as the engine uses it: started in the server's own loop, on the server's own database, quietly.

It queues workflows, each of which one process takes, and remembers which of their transactions are done. Nothing else of
it is used, and nobody but this file knows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal, TypeVar

from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncSession

from ..clock import utc_now
from ..log import Outbox
from ..store.database import Database
from ..store.tables import RunRow, TaskRow

__all__ = ["Runtime", "Segment", "Workflow"]

R = TypeVar("R", bound="dict[str, str | None] | None")

Workflow = Callable[[str, int], Awaitable[None]]
"""Takes the id of a run or task, and the segment."""

APPLICATION_VERSION = "1"
"""Constant: DBOS's default, a hash of the source, would strand every run at each release."""
QUEUE = "playcall.work"
QUEUE_POLL_SECONDS = 0.1
POSTGRESQL_CONNECTIONS = 8
"""Of DBOS itself, in each process; beside those of the server's own pools."""
SQLITE_CONNECTIONS = 200
"""More than DBOS ever has threads that write. A transaction of `once` holds SQLite's one lock, and needs one of these before it
can end: if all were taken by threads that wait for that lock, everything would stand still until they gave up, 30 s later.
"""
FORGET_AFTER_SECONDS = 600.0
FORGET_AT_ONCE = 500
_RUNNING = "PENDING"
_UNFINISHED = [_RUNNING, "ENQUEUED", "DELAYED"]
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A workflow; `executor_id` is of the process that has taken it, where that is asked."""

    workflow: str
    id: str
    number: int
    executor_id: str | None = None

    @property
    def workflow_id(self) -> str:
        return f"{self.id}~{self.number}"


class Runtime:
    """DBOS is one to a process, so this is too: launched and shut down in turn.

    Args:
        executor_id: This process's, and no other's: DBOS would carry out what another one is at.
        at_once: How many runs of one owner are worked on at the same time, by all processes together, and how many tasks
            of each of their agents; the others wait.
    """

    _launched: ClassVar[Runtime | None] = None

    def __init__(self, database: Database, *, executor_id: str, at_once: int) -> None:
        self._database = database
        self._executor_id = executor_id
        self._at_once = at_once
        url = make_url(database.url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        driver = "sqlite" if self._is_sqlite else "postgresql"
        self._system_url = url.set(drivername=driver).render_as_string(hide_password=False)
        self._serializer = DBOSPortableJSONSerializer()
        self._datasource: AsyncSQLAlchemyDatasource | None = None
        self._client: DBOSClient | None = None

    async def launch(self, workflows: dict[str, Workflow]) -> None:
        """In the loop that the workflows are to run in; what is queued begins at once.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
            RuntimeError: another engine of this process has not been shut down.
        """
        if Runtime._launched is not None:
            raise RuntimeError("this process has an engine already: DBOS is one to a process")
        Runtime._launched = self
        # DBOS adds a handler of its own to its logger unless there is one.
        logger = logging.getLogger("dbos")
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        config: DBOSConfig = {
            "name": "playcall",
            "system_database_url": self._system_url,
            "executor_id": self._executor_id,
            "application_version": APPLICATION_VERSION,
            "serializer": self._serializer,
            "log_level": "CRITICAL",
            "use_listen_notify": False,
            "sys_db_pool_size": SQLITE_CONNECTIONS if self._is_sqlite else POSTGRESQL_CONNECTIONS,
        }
        try:
            DBOS(config=config)
            # Before the launch: recovered workflows need it.
            self._datasource = await AsyncSQLAlchemyDatasource.create(
                self._database.url, engine=self._database.engine, serializer=self._serializer
            )
            for name, workflow in workflows.items():
                _register(name, workflow)
            # It writes, and the loop stands still meanwhile: a transaction of ours that holds SQLite's one lock could not
            # end, and both would wait until one gives up.
            async with self._database.turn():
                DBOS.launch()
            self._client = DBOSClient(system_database_url=self._system_url, serializer=self._serializer, lazy=True)
            await DBOS.register_queue_async(
                QUEUE,
                polling_interval_sec=QUEUE_POLL_SECONDS,
                partition_concurrency=self._at_once,
                on_conflict="always_update",
            )
        except BaseException:
            await self.shutdown()
            raise

    async def shutdown(self) -> None:
        """Whoever calls this has stopped the workflows. What they had not done others go on with, or the next launch."""
        if Runtime._launched is not self:
            return
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=0)
        # DBOS made its own pool the loop's, and has just closed it.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="playcall-"))
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)
            self._client = None
        Runtime._launched = None

    async def enqueue(self, session: AsyncSession, workflow: str, row: RunRow | TaskRow) -> None:
        """Starts the workflow of the row's segment if, and only if, the session's transaction commits.

        Each owner has a queue for runs, one for the tasks of each agent, and one for calls without an agent: what takes
        long, or waits for an agent that is stopped, keeps nothing else waiting.
        """
        client = self._client
        if client is None:
            raise RuntimeError("the engine has not been launched")
        row_id, segment = row.id, row.segment
        agent_id = row.agent_id if isinstance(row, TaskRow) else None
        options: EnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": QUEUE,
            "workflow_id": Segment(workflow, row_id, segment).workflow_id,
            "queue_partition_key": f"{workflow}:{row.owner_id}:{agent_id or ''}",
        }

        def enqueue(connection: Connection) -> None:
            client.enqueue_in_transaction(connection, options, row_id, segment)

        await (await session.connection()).run_sync(enqueue)

    async def once(self, name: str, action: Callable[[AsyncSession, Outbox], Awaitable[R]]) -> R:
        """A transaction of the running workflow that is done once: its changes, its events and DBOS's note of it.

        Done before, it gives what it gave then, and `action` is not called.
        """
        datasource = self._datasource
        if datasource is None:
            raise RuntimeError("the engine has not been launched")
        outboxes: list[Outbox] = []

        async def transaction() -> R:
            outbox = self._database.outbox()
            outboxes[:] = [outbox]  # of the last attempt: one that failed has appended nothing
            session = datasource.sql_session()
            result = await action(session, outbox)
            await outbox.flush(session)
            return result

        isolation: Literal["SERIALIZABLE", "READ COMMITTED"] = "SERIALIZABLE" if self._is_sqlite else "READ COMMITTED"
        async with self._database.turn():
            result = await datasource.run_tx_step_async({"name": name, "isolation_level": isolation}, transaction)
        for outbox in outboxes:
            outbox.wake()
        return result

    async def pending(self) -> list[Segment]:
        """What some process has taken and not ended, of any process."""
        found = await DBOS.list_workflows_async(status=_RUNNING, load_input=False, load_output=False)
        segments: list[Segment] = []
        for status in found:
            row_id, _, number = status.workflow_id.rpartition("~")
            if number.isdecimal():
                segments.append(Segment(status.name, row_id, int(number), status.executor_id))
        return segments

    async def alive(self, workflow_ids: Iterable[str]) -> set[str]:
        """Those of them that wait in the queue, or have been taken and not ended."""
        found = await DBOS.list_workflows_async(
            workflow_ids=list(workflow_ids), status=_UNFINISHED, load_input=False, load_output=False
        )
        return {status.workflow_id for status in found if status.queue_name == QUEUE}

    async def give_up(self, workflow_ids: Iterable[str]) -> None:
        """They have been superseded: whoever has them may stop, and nobody need look at them again."""
        await DBOS.cancel_workflows_async(list(workflow_ids))

    async def forget_ended(self) -> None:
        """Removes what DBOS keeps of workflows that ended a while ago: nobody asks for it, and it would only grow."""
        before = (utc_now() - timedelta(seconds=FORGET_AFTER_SECONDS)).isoformat()
        while True:
            ended = await DBOS.list_workflows_async(
                status=_ENDED, completed_before=before, limit=FORGET_AT_ONCE, load_input=False, load_output=False
            )
            if ended:
                await DBOS.delete_workflows_async([status.workflow_id for status in ended])
            if len(ended) < FORGET_AT_ONCE:
                return


def _register(name: str, workflow: Workflow) -> None:
    """DBOS itself recovers nothing, as no two processes have the same executor id: see `Watch`."""

    async def run(id: str, segment: int) -> None:
        # A function, because DBOS writes attributes on what it registers.
        await workflow(id, segment)

    DBOS.workflow(name=name, max_recovery_attempts=None)(run)
