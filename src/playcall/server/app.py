"""The application: routes, handlers and middleware put together, and its life from the database to the last goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.routing import WebSocketRoute

from . import error_handlers
from .auth.gate import Gate
from .auth.passwords import prepare_passwords
from .auth.tokens import TokenIssuer
from .caretaker import look_after
from .dependencies import Core
from .engine_port import EnginePort
from .middleware import Envelope
from .openapi_document import describe
from .problems import ApiError
from .routes import agents, artifacts, auth, events, health, playbooks, runs, tasks, tool_calls, tools
from .settings import Settings
from .sockets.endpoint import WebSocketEndpoint
from .sockets.registry import Sockets
from .store.database import Database
from .store.tables import SIGNING_KEY
from .unfinished import settle_unfinished

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
    app.include_router(_plain_ws(), prefix=PREFIX)
    app.router.routes.append(WebSocketRoute(f"{PREFIX}/ws", WebSocketEndpoint(settings)))
    app.add_middleware(
        Envelope,
        max_request_seconds=settings.max_request_seconds,
        max_body_bytes=settings.max_body_bytes,
        takes_large_body=artifacts.takes_large_body,
    )
    describe(app)
    return app


def _lifespan(
    settings: Settings, database: Database, make_engine: EngineFactory | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        tokens = TokenIssuer(
            await database.meta(SIGNING_KEY),
            access_seconds=settings.access_token_seconds,
            refresh_seconds=settings.refresh_token_seconds,
        )
        await prepare_passwords()
        gate = Gate(database, tokens)
        engine = make_engine(database, settings) if make_engine is not None else None
        app.state.core = Core(settings, database, tokens, gate, Sockets(), engine)
        app.state.engine = engine
        await settle_unfinished(database, settings.workspaces_dir)
        if engine is not None:
            await engine.launch()
        caretaker = asyncio.create_task(
            look_after(database, gate, event_retention_seconds=settings.event_retention_seconds),
            name="playcall-caretaker",
        )
        try:
            yield
        finally:
            caretaker.cancel()
            await asyncio.wait([caretaker])
            if engine is not None:
                await engine.shutdown()
            await gate.write_down_use()

    return lifespan


def _plain_ws() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    async def ws() -> None:
        """RFC 9110 section 15.5.22: what asks for it without an upgrade is told so."""
        raise ApiError(
            426, "upgrade_required", "this is a WebSocket: ask for an upgrade", headers={"Upgrade": "websocket"}
        )

    router.add_api_route("/ws", ws, methods=["GET"])
    return router
