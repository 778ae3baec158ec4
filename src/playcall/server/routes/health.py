"""Whether the process lives, and whether it can work. For load balancers: no credentials, nothing that is secret."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from importlib.metadata import version
from typing import Final

from fastapi import Response
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from playcall.models import Health
from playcall.server.answers import model_response
from playcall.server.dependencies import Core, CoreDep
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.store.migrate import VERSION_TABLE, newest_revision
from playcall.server.store.tables import EPOCH, MetaRow
from playcall.server.upkeep.pulse import engine_pulse

from .routing import api_router, success

__all__ = ["router"]

logger = logging.getLogger("playcall.server")

router = api_router("health")

API: Final = "v1"
OK: Final = "ok"
LOOK_SECONDS: Final = 2.0
"""What the database may take to answer: a balancer that asks every second is not to wait for a lock."""
LEAST_FREE_BYTES: Final = 16 * 1024 * 1024
RETRY_AFTER: Final = {"Retry-After": "1"}

_READS_ONLY: Final = text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool")
"""A standby, or a database that somebody has made so; this session's own transactions only read anyhow."""

_started_at: Final = time.monotonic()


@router.get("/health", response_model=Health, summary="The process lives")
async def health_live() -> Health:
    """Asks nobody, so it is true while the database is gone."""
    return Health(status=OK, version=version("playcall"), api=API, uptime_seconds=_uptime())


@router.get(
    "/ready",
    response_model=Health,
    responses=success(503, "`checks` says what is missing.", "Retry-After", model=Health),
    summary="The server can work",
)
async def health_ready(core: CoreDep) -> Response:
    """`checks` has for each of `server`, `database`, `migrations`, `log`, `disk` and `queue` the word `ok`, or what is
    wrong with it."""
    checks = {
        "server": "draining" if core.sockets.is_draining else OK,
        **(await _database(core.database)),
        "disk": await asyncio.to_thread(_disk, core.settings),
        "queue": _queue(core),
    }
    fine = all(state == OK for state in checks.values())
    answer = Health(
        status=OK if fine else "unavailable",
        version=version("playcall"),
        api=API,
        uptime_seconds=_uptime(),
        checks=checks,
    )
    return model_response(answer, status=200 if fine else 503, headers=None if fine else RETRY_AFTER)


def _uptime() -> float:
    return round(time.monotonic() - _started_at, 3)


async def _database(database: Database) -> dict[str, str]:
    """What is wrong goes to the log in its own words, and to whoever asked in ours."""
    unknown = dict.fromkeys(("database", "migrations", "log"), "unknown")
    try:
        async with asyncio.timeout(LOOK_SECONDS), database.read() as session:
            revision = await session.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
            epoch = await session.scalar(select(MetaRow.value).where(MetaRow.key == EPOCH))
            log = OK if epoch else "unreadable"
            if database.engine.dialect.name == "postgresql":
                log = "read-only" if await session.scalar(_READS_ONLY) else log
    except TimeoutError:
        return unknown | {"database": "slow"}
    except (SQLAlchemyError, OSError) as error:
        logger.warning("not_ready", extra={"error": type(error).__name__})
        return unknown | {"database": "unavailable"}
    return {"database": OK, "migrations": OK if revision == newest_revision() else "other version", "log": log}


def _disk(settings: Settings) -> str:
    """Blocks."""
    try:
        free = shutil.disk_usage(settings.data_dir).free
    except OSError:
        return "unavailable"
    file = settings.database_path if settings.database_url is None else settings.workspaces_dir
    if not os.access(file, os.W_OK):
        return "read-only"
    return OK if free >= LEAST_FREE_BYTES else "full"


def _queue(core: Core) -> str:
    """A process that has not had a look for a whole lease is taken for dead by the others."""
    if core.engine is None:
        return OK
    age = engine_pulse.age_seconds()
    if age is None:
        return "not started"
    return OK if age < core.settings.lease_seconds else "stalled"
