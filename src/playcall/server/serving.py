"""A server from its first check to its last goodbye.

Whatever is wrong is found before anything is written: the address is taken first, then the folder, then the database.
The first user is made last, when everything else stands, so that the one key is not made for nobody to see.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError

from .app import EngineFactory, create_app
from .auth.accounts import FIRST_USER, first_start
from .data_folder import StartupError, hold_folder, prepare_folder, reason_of
from .incarnation import witnessed
from .settings import Settings
from .sockets.uvicorn_protocol import BoundedProtocol
from .store.database import Database
from .store.migrate import SchemaTooNewError

__all__ = ["Server", "Started", "StartupError", "serve"]


@dataclass(frozen=True, slots=True)
class Started:
    """`api_key` belongs to the first user, and is there at the first start of a database only."""

    url: str
    port: int
    api_key: str | None = field(repr=False)
    username: str = FIRST_USER


class Server:
    """Runs once. `engine` as in `create_app`."""

    def __init__(self, settings: Settings, *, engine: EngineFactory | None) -> None:
        self._settings = settings
        self._engine = engine
        self._uvicorn: _Uvicorn | None = None
        self._stopped = False

    async def run(self, on_started: Callable[[Started], None]) -> None:
        """Serve until `stop`, SIGTERM or SIGINT; then say goodbye to sockets, and finish the requests under way.

        Raises:
            StartupError: It cannot start.
        """
        listener = _bind(self._settings)
        try:
            prepare_folder(self._settings)
            with hold_folder(self._settings):
                database = await _open(self._settings)
                try:
                    async with _witnessed(self._settings, database):
                        await self._serve(listener, database, on_started)
                finally:
                    await database.close()
        finally:
            listener.close()

    def stop(self) -> None:
        """From the server's own loop."""
        self._stopped = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    async def _serve(self, listener: socket.socket, database: Database, on_started: Callable[[Started], None]) -> None:
        settings = self._settings
        port: int = listener.getsockname()[1]
        url = f"http://{_url_host(settings.host)}:{port}"
        app = create_app(settings, database, engine=self._engine)

        async def started() -> None:
            api_key = await first_start(database, admin_password=settings.admin_password)
            on_started(Started(url, port, api_key))

        self._uvicorn = _Uvicorn(app, settings, started)
        self._uvicorn.should_exit = self._stopped
        try:
            await self._uvicorn.serve([listener])
        except SystemExit:
            # That is how uvicorn says that the application's start failed; it has logged why.
            raise StartupError("the server could not start; its log above tells why") from None
        if self._uvicorn.failure is not None:
            raise self._uvicorn.failure


_TELLTALES = ("uvicorn.error", "aiosqlite")
"""Loggers of libraries that print headers, frames or the values of statements at DEBUG: keys and tokens among them."""


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


class _Uvicorn(uvicorn.Server):
    """uvicorn, with a word when it has started and a goodbye before it ends."""

    def __init__(self, app: FastAPI, settings: Settings, on_started: Callable[[], Any]) -> None:
        for name in _TELLTALES:
            # A filter, because a level may be changed later. Adding the same one twice adds it once.
            logging.getLogger(name).addFilter(_above_debug)
        super().__init__(
            uvicorn.Config(
                app,
                ws=BoundedProtocol,
                ws_max_size=settings.max_frame_bytes,
                # The contract has pings of its own, which find a peer that is gone and one that hangs.
                ws_ping_interval=None,
                ws_ping_timeout=None,
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                # Longer than clients keep idle connections, so that it is they who close them.
                timeout_keep_alive=75,
                timeout_graceful_shutdown=int(settings.drain_seconds),
            )
        )
        self._app = app
        self._settings = settings
        self._on_started = on_started
        self.failure: Exception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            try:
                await self._on_started()
            except Exception as error:
                # uvicorn goes straight on to its shutdown, and ours: nothing is left running.
                self.failure = error
                self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._app.state.core.sockets.drain(timeout_seconds=2.0, spread_ms=self._settings.goodbye_spread_ms)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """uvicorn's own, except that the signals are not raised again: a server that was asked to end has ended well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: FrameType | None) -> None:
            self.handle_exit(number, frame)

        originals = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, original in originals.items():
                signal.signal(number, original)


async def _open(settings: Settings) -> Database:
    path = settings.database_path
    try:
        return await Database.create(f"sqlite+aiosqlite:///{path}")
    except SchemaTooNewError:
        raise StartupError(f"the database {path} was written by a later playcall; install that one again") from None
    except DBAPIError as error:
        raise StartupError(f"the database {path} cannot be used: {error.orig}") from None


@asynccontextmanager
async def _witnessed(settings: Settings, database: Database) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(witnessed(database, settings.witness_path, new_epoch=settings.new_epoch))
        except DBAPIError as error:
            raise StartupError(f"the database {settings.database_path} cannot be used: {error.orig}") from None
        except OSError as error:
            raise StartupError(
                f"{settings.witness_path} cannot be read and written: {reason_of(error)}; change that, or use another --data"
            ) from None
        yield


def _bind(settings: Settings) -> socket.socket:
    where = f"{_url_host(settings.host)}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise StartupError(f"{settings.host} is not an address of this machine; choose another with --host") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Held, but nobody can connect before the server has started.
        return listener
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(f"{where} is in use; choose another port with --port (0 takes a free one)") from None
        raise StartupError(f"cannot listen on {where}: {reason_of(error)}") from None


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def serve(settings: Settings, *, engine: EngineFactory | None, on_started: Callable[[Started], None]) -> None:
    """Run a server until it is asked to end, on a loop of its own.

    Raises:
        StartupError: It cannot start.
    """
    server = Server(settings, engine=engine)
    with asyncio.Runner() as runner:
        runner.run(server.run(on_started))
