"""The application: routes, handlers and middleware put together, and its life from the database to the last goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.metadata import version
from typing import cast

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import WebSocketRoute

from playcall.server import error_handlers
from playcall.server.limits.origins import allow_origins
from playcall.server.limits.rate_limit import RateLimit
from playcall.server.telemetry import metrics
from playcall.server.upkeep.caretaker import look_after
from playcall.server.upkeep.retention import Removes
from playcall.server.upkeep.unfinished import settle_unfinished

from .auth.gate import Gate
from .auth.passwords import prepare_passwords
from .auth.sign_in import SignIn
from .auth.tokens import TokenIssuer
from .dependencies import Core
from .engine_port import EnginePort
from .middleware import Envelope
from .openapi_document import describe
from .routes import agents, artifacts, auth, events, health, playbooks, runs, tasks, tool_calls, tools
from .routes.metrics import metrics_route
from .settings import Settings
from .sockets.endpoint import WebSocketEndpoint
from .sockets.registry import Sockets
from .store.database import Database
from .store.tables import SIGNING_KEY

__all__ = ["PREFIX", "EngineFactory", "create_app"]

PREFIX = "/api/v1"

EngineFactory = Callable[[Database, Settings], EnginePort]


def create_app(settings: Settings, database: Database, *, engine: EngineFactory | None) -> FastAPI:
    """An application over an open database, which it does not close.

    Args:
        engine: Makes what executes runs; it is launched and shut down with the application. None executes nothing:
            that is for tests, as one process can hold one engine only.
    """
    app = FastAPI(
        title="playcall",
        version=version("playcall"),
        lifespan=_lifespan(settings, database, engine),
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    error_handlers.install(app)
    for module in (health, auth, playbooks, runs, artifacts, agents, tasks, tools, tool_calls, events):
        app.include_router(module.router, prefix=PREFIX)
    app.router.routes.append(WebSocketRoute(f"{PREFIX}/ws", WebSocketEndpoint(settings)))
    if settings.metrics_token is not None:
        app.router.routes.append(metrics_route(settings.metrics_token))
    app.add_middleware(
        Envelope,
        max_request_seconds=settings.max_request_seconds,
        max_body_bytes=settings.max_body_bytes,
        takes_large_body=artifacts.takes_large_body,
        rate_limit=RateLimit(per_second=settings.requests_per_second, burst=settings.request_burst)
        if settings.requests_per_second
        else None,
    )
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    describe(app)
    return app


def _lifespan(
    settings: Settings, database: Database, make_engine: EngineFactory | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        if settings.metrics_token is not None:
            metrics.turn_on(settings.metrics_dir)
        signing_key = await database.meta(SIGNING_KEY)
        tokens = TokenIssuer(
            signing_key,
            access_seconds=settings.access_token_seconds,
            refresh_seconds=settings.refresh_token_seconds,
        )
        await prepare_passwords()
        gate = Gate(database, tokens)
        engine = make_engine(database, settings) if make_engine is not None else None
        sockets = Sockets()
        app.state.core = Core(settings, database, tokens, gate, sockets, SignIn(database, signing_key), engine)
        await settle_unfinished(database, settings.workspaces_dir)
        database.signals.on("credential_revoked", sockets.revoke)
        async with database.signals.listening():
            if engine is not None:
                await engine.launch()
            caretaker = asyncio.create_task(
                look_after(
                    database,
                    gate,
                    sockets,
                    event_retention_seconds=settings.event_retention_seconds,
                    run_retention_seconds=settings.run_retention_seconds,
                    engine=cast("Removes | None", engine),
                    workspaces=settings.workspaces_dir,
                ),
                name="playcall-caretaker",
            )
            try:
                yield
            finally:
                caretaker.cancel()
                await asyncio.wait([caretaker])
                if engine is not None:
                    await engine.shutdown()
                with suppress(SQLAlchemyError, OSError):  # when keys were last used is not worth a failed end
                    await gate.write_down_use()
                if settings.metrics_token is not None:
                    metrics.turn_off()

    return lifespan
