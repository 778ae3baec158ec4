"""Whether the process lives, and whether it can work. For load balancers: no credentials, nothing that is secret."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from playcall.models import Health
from playcall.server.answers import model_response
from playcall.server.dependencies import DatabaseDep
from playcall.server.store.tables import EPOCH, MetaRow

from .routing import api_router

__all__ = ["router"]

router = api_router("health")


@router.get("/health", response_model=Health, summary="The process lives")
async def health() -> Health:
    return Health(status="ok", version=version("playcall"))


@router.get(
    "/ready",
    response_model=Health,
    responses={503: {"model": Health, "description": "`checks` says what is missing."}},
    summary="The server can work",
)
async def ready(database: DatabaseDep) -> Response:
    try:
        async with database.read() as session:
            await session.execute(select(MetaRow.value).where(MetaRow.key == EPOCH))
        checks = {"database": "ok"}
    except SQLAlchemyError as error:
        checks = {"database": f"cannot be read ({type(error).__name__})"}
    fine = all(state == "ok" for state in checks.values())
    answer = Health(status="ok" if fine else "unavailable", version=version("playcall"), checks=checks)
    return model_response(answer, status=200 if fine else 503, headers=None if fine else {"Retry-After": "1"})
