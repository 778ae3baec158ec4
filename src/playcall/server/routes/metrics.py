"""What is counted, for Prometheus. Not part of the contract: outside its prefix and its document."""

from __future__ import annotations

import asyncio
import hmac
import logging
import shutil

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from playcall.models import RunStatus, TaskStatus
from playcall.server.dependencies import Core, core_of
from playcall.server.problems import unauthenticated
from playcall.server.store.tables import RunRow, TaskRow
from playcall.server.telemetry import metrics

__all__ = ["PATH", "metrics_route"]

logger = logging.getLogger("playcall.server")

PATH = "/metrics"
LOOK_SECONDS = 2.0
"""Whoever collects does not wait for long, and what else there is to say is worth having while the database is gone."""
_OPEN_RUNS = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED)
_OPEN_TASKS = (TaskStatus.QUEUED, TaskStatus.RUNNING)


def metrics_route(token: str) -> Route:
    """For whoever brings the token; nobody's API key opens it, as it tells of everybody's."""
    expected = f"Bearer {token}".encode()

    async def answer(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            raise unauthenticated("this is for whoever has the metrics token")
        await _look(core_of(request))
        text, media_type = await asyncio.to_thread(metrics.exposition)
        return Response(text, media_type=media_type)

    return Route(PATH, answer, methods=["GET"])


async def _look(core: Core) -> None:
    """What is of the whole database is asked of it now."""
    try:
        async with asyncio.timeout(LOOK_SECONDS), core.database.read() as session:
            for gauge, table, states in ((metrics.RUNS, RunRow, _OPEN_RUNS), (metrics.TASKS, TaskRow, _OPEN_TASKS)):
                counted = select(table.status, func.count()).where(table.status.in_([state.value for state in states]))
                found = {row[0]: row[1] for row in await session.execute(counted.group_by(table.status))}
                for state in states:
                    gauge.set(found.get(state.value, 0), state.value)
            room = await asyncio.to_thread(shutil.disk_usage, core.settings.data_dir)
            metrics.FREE_BYTES.set(room.free)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        logger.warning("metrics_incomplete", extra={"error": type(error).__name__})
