"""A server from its first check to its last goodbye.

Whatever is wrong is found before anything is written: the address is taken first, then the folder, then the database.
The first user is made last, when everything else stands, so that the one key is not made for nobody to see.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError, IntegrityError

from playcall.server.app import EngineFactory, create_app
from playcall.server.auth.accounts import FIRST_USER, first_start
from playcall.server.auth.passwords import UnfitPasswordError
from playcall.server.running.address import bind, url_host
from playcall.server.running.data_folder import hold_folder, join_database, prepare_folder
from playcall.server.running.database_url import postgresql_url, shown
from playcall.server.running.incarnation import witnessed
from playcall.server.running.starting import Started, StartupError, reason_of
from playcall.server.settings import Settings
from playcall.server.sockets.http_protocol import PromptProtocol
from playcall.server.sockets.uvicorn_protocol import BoundedProtocol
from playcall.server.store.database import Database
from playcall.server.store.dialect import CONNECT_ERRORS
from playcall.server.store.migrate import SchemaTooNewError

__all__ = ["Server", "Started", "StartupError", "serve"]


class Server:
    """Runs once. `engine` as in `create_app`."""

    def __init__(self, settings: Settings, *, engine: EngineFactory | None) -> None:
        self._settings = settings
        self._engine = engine
        self._uvicorn: _Uvicorn | None = None
        self._stopped = False

    async def run(self, on_started: Callable[[Started], None], *, listener: socket.socket | None = None) -> None:
        """Serve until `stop`, SIGTERM or SIGINT; then say goodbye to sockets, and finish the requests under way.

        Args:
            listener: Bound already, and closed in the end; None binds as the settings say.

        Raises:
            StartupError: It cannot start.
        """
        if self._settings.database_url is not None:
            postgresql_url(self._settings.database_url)
        listener = listener or bind(self._settings)
        try:
            prepare_folder(self._settings)
            with hold_folder(self._settings):
                database = await _open(self._settings)
                try:
                    await _join(self._settings, database)
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
        url = f"http://{url_host(settings.host)}:{port}"
        app = create_app(settings, database, engine=self._engine)

        async def started() -> None:
            try:
                api_key = await first_start(database, admin_password=settings.admin_password)
            except UnfitPasswordError as error:
                raise StartupError(f"the password of {FIRST_USER} cannot be one: {error}") from None
            except IntegrityError:
                api_key = None  # another server of the same new database has made the user at this moment
            on_started(Started(url, port, api_key, FIRST_USER))

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
                http=PromptProtocol,
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
    if settings.database_url is None:
        url = f"sqlite+aiosqlite:///{settings.database_path}"
    else:
        url = postgresql_url(settings.database_url)
    with _in_one_sentence(settings):
        return await Database.create(url)


async def _join(settings: Settings, database: Database) -> None:
    if settings.database_url is not None:
        with _in_one_sentence(settings):
            await join_database(settings, database)


@asynccontextmanager
async def _witnessed(settings: Settings, database: Database) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        with _in_one_sentence(settings):
            try:
                await stack.enter_async_context(
                    witnessed(database, settings.witness_path, new_epoch=settings.new_epoch)
                )
            except TimeoutError:
                raise StartupError(
                    f"another server has been starting in {settings.data_dir} for too long; end it"
                ) from None
            except OSError as error:
                raise StartupError(
                    f"{settings.witness_path} cannot be read and written: {reason_of(error)}; change that, or use another "
                    "--data"
                ) from None
        yield


@contextmanager
def _in_one_sentence(settings: Settings) -> Generator[None]:
    """Makes what a database says a StartupError."""
    url = settings.database_url
    name = f"the database {settings.database_path}" if url is None else shown(postgresql_url(url))
    try:
        yield
    except SchemaTooNewError:
        raise StartupError(f"{name} was written by a later playcall; install that one again") from None
    except DBAPIError as error:
        # Without a statement there was no connection either.
        what = "reached" if url is not None and error.statement is None else "used"
        raise StartupError(f"{name} cannot be {what}: {error.orig}") from None
    except CONNECT_ERRORS as error:
        raise StartupError(f"{name} cannot be reached: {str(error) or 'it does not answer'}") from None


def serve(settings: Settings, *, engine: EngineFactory | None, on_started: Callable[[Started], None]) -> None:
    """Run a server until it is asked to end, on a loop of its own.

    Raises:
        StartupError: It cannot start.
    """
    server = Server(settings, engine=engine)
    with asyncio.Runner() as runner:
        runner.run(server.run(on_started))
