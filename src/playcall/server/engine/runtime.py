"""DBOS, as the engine uses it: started in the server's own loop, on the server's own database, quietly.

It remembers which workflows there are and which of their transactions are done; after a crash it runs a workflow again,
and a transaction that is done is not done again. Nothing else of it is used, and nobody but this file knows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal, TypeVar

from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncSession

from ..log import Outbox
from ..store.database import Database

__all__ = ["Runtime", "Workflow"]

R = TypeVar("R", bound="dict[str, str | None] | None")

Workflow = Callable[[str, int], Awaitable[None]]
"""Takes the id of a run or task, and the segment."""

APPLICATION_VERSION = "1"
"""Constant: DBOS's default, a hash of the source, would strand every run at each release."""
EXECUTOR_ID = "embedded"
"""The one process of an embedded database: after a restart it is the same executor, and goes on with what it left."""
QUEUE = "playcall"
QUEUE_POLL_SECONDS = 0.1
_UNFINISHED = frozenset({"PENDING", "ENQUEUED", "DELAYED"})


class Runtime:
    """DBOS is one to a process, so this is too: launched and shut down in turn."""

    _launched: ClassVar[Runtime | None] = None

    def __init__(self, database: Database) -> None:
        self._database = database
        url = make_url(database.url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        driver = "sqlite" if self._is_sqlite else "postgresql"
        self._system_url = url.set(drivername=driver).render_as_string(hide_password=False)
        self._serializer = DBOSPortableJSONSerializer()
        self._datasource: AsyncSQLAlchemyDatasource | None = None
        self._client: DBOSClient | None = None

    async def launch(self, workflows: dict[str, Workflow]) -> None:
        """In the loop that the workflows are to run in; recovery begins at once.

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
            "executor_id": EXECUTOR_ID,
            "application_version": APPLICATION_VERSION,
            "serializer": self._serializer,
            "log_level": "CRITICAL",
            "use_listen_notify": False,
        }
        try:
            DBOS(config=config)
            # Before the launch: recovered workflows need it.
            self._datasource = await AsyncSQLAlchemyDatasource.create(
                self._database.url, engine=self._database.engine, serializer=self._serializer
            )
            for name, workflow in workflows.items():
                _register(name, workflow)
            DBOS.launch()
            self._client = DBOSClient(system_database_url=self._system_url, serializer=self._serializer, lazy=True)
            await DBOS.register_queue_async(QUEUE, polling_interval_sec=QUEUE_POLL_SECONDS)
        except BaseException:
            await self.shutdown()
            raise

    async def shutdown(self) -> None:
        """Whoever calls this has stopped the workflows. What they had not done is recovered by the next launch."""
        if Runtime._launched is not self:
            return
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=0)
        # DBOS made its own pool the loop's, and has just closed it.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="playcall-"))
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)
            self._client = None
        Runtime._launched = None

    async def enqueue(self, session: AsyncSession, workflow: str, id: str, segment: int) -> None:
        """Starts the workflow if, and only if, the session's transaction commits."""
        client = self._client
        if client is None:
            raise RuntimeError("the engine has not been launched")
        options: EnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": QUEUE,
            "workflow_id": f"{id}~{segment}",
        }

        def enqueue(connection: Connection) -> None:
            client.enqueue_in_transaction(connection, options, id, segment)

        await (await session.connection()).run_sync(enqueue)

    async def once(self, name: str, action: Callable[[AsyncSession, Outbox], Awaitable[R]]) -> R:
        """A transaction of the running workflow that is done once: its changes, its events and DBOS's note of it.

        Done before a crash, it gives what it gave then, and `action` is not called.
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

    async def is_alive(self, id: str, segment: int) -> bool:
        """Whether the segment's workflow is queued or will be recovered."""
        status = await DBOS.get_workflow_status_async(f"{id}~{segment}")
        return status is not None and status.status in _UNFINISHED


def _register(name: str, workflow: Workflow) -> None:
    """Recovered however often the server crashes: segments count their own faults."""

    async def run(id: str, segment: int) -> None:
        # A function, because DBOS writes attributes on what it registers.
        await workflow(id, segment)

    DBOS.workflow(name=name, max_recovery_attempts=None)(run)
