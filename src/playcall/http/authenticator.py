"""The current credentials of one client: renewed ahead of their expiry, and by one caller for all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..errors import ClientClosedError, ConfigurationError
from .auth import Auth, Credentials, TokenEndpoint

__all__ = ["Authenticator"]

EXPIRY_MARGIN_SECONDS: Final = 10.0
"""Credentials are renewed this long before they expire, or at four fifths of a shorter life."""


class _AbandonedError(Exception):
    """The task that renewed for everybody was cancelled: its loop ended, or its client was closed."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """One of the two."""

    credentials: Credentials | None = None
    error: Exception | None = field(default=None, repr=False)


class Authenticator:
    """The current credentials of one client: cached, renewed once for everybody, ahead of their expiry.

    The renewal runs as a task of its own, so no caller's cancellation stops it for the others; callers of other threads
    and loops wait for the same one.
    """

    def __init__(self, auth: Auth | None, token_endpoint: TokenEndpoint) -> None:
        self._auth = auth
        self._token_endpoint = token_endpoint
        self._lock = threading.Lock()
        self._current: Credentials | None = None if auth is not None else Credentials({})
        self._renew_at: float | None = None
        self._renewal: concurrent.futures.Future[Credentials] | None = None
        self._tasks: set[asyncio.Task[_Fetched]] = set()
        self._closed = False

    @property
    def current(self) -> Credentials | None:
        """Those that need not be renewed yet."""
        if self._renew_at is None or time.monotonic() < self._renew_at:
            return self._current
        return None

    async def credentials(self) -> Credentials:
        """The current credentials, fetched or renewed first if need be.

        Raises:
            ConfigurationError: the provider gave something that is no token.
            RequestError: the token endpoint could not be asked, or refused.
            ClientClosedError: the client was closed meanwhile.
            Exception: whatever the provider raises.
        """
        return self.current or await self._renewed(self._current)

    async def renew(self, refused: Credentials) -> bool:
        """Called after the backend refused `refused`; True if other credentials are current now.

        Renews only if the refused ones are still the current ones: the others who were refused wait, or find the new.
        """
        if self._auth is None:
            return False
        renewed = await self._renewed(refused)
        return renewed.headers != refused.headers

    async def _renewed(self, previous: Credentials | None) -> Credentials:
        while True:
            with self._lock:
                if self._current is not None and self._current is not previous:
                    return self._current
                if self._closed:
                    raise ClientClosedError("the client is closed: make a new one")
                renewal = self._renewal
                if renewal is None:
                    renewal = self._renewal = concurrent.futures.Future()
                    # An empty context: the renewal serves everybody, so it has nobody's deadline.
                    task = asyncio.get_running_loop().create_task(
                        self._fetched(previous), context=contextvars.Context()
                    )
                    self._tasks.add(task)
                    # Not in the task itself: one that is cancelled before its first step runs none of its code.
                    task.add_done_callback(partial(self._settle, renewal))
            waited_for = asyncio.wrap_future(renewal)
            # asyncio logs, with its text, what nobody looked at: a caller who has gone does not, and the text may be secret.
            waited_for.add_done_callback(_looked_at)
            try:
                # shield: our own cancellation must not cancel the future that the others wait for.
                return await asyncio.shield(waited_for)
            except _AbandonedError:
                continue  # let one of us begin anew

    async def _fetched(self, previous: Credentials | None) -> _Fetched:
        """What came of it. Not by raising: asyncio, in its debug mode, logs tasks with the text of what they raised."""
        try:
            return _Fetched(await self._fetch(previous))
        except Exception as error:
            return _Fetched(error=error)

    async def _fetch(self, previous: Credentials | None) -> Credentials:
        assert self._auth is not None  # noqa: S101 - without it there is nothing to renew
        try:
            fetched = await self._auth.fetch(previous, self._token_endpoint)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConfigurationError("the provider of credentials cancelled itself") from None
        if not isinstance(fetched, Credentials):  # pyright: ignore[reportUnnecessaryIsInstance] - it is a user's
            raise ConfigurationError(
                f"{type(self._auth).__name__}.fetch gave {type(fetched).__name__}, not Credentials"
            )
        return fetched

    def _settle(self, renewal: concurrent.futures.Future[Credentials], task: asyncio.Task[_Fetched]) -> None:
        self._tasks.discard(task)
        credentials: Credentials | None = None
        error: BaseException | None = None
        if task.cancelled():
            error = _AbandonedError()
        elif (raised := task.exception()) is not None:  # KeyboardInterrupt and the like
            error = raised
        else:
            credentials, error = task.result().credentials, task.result().error
        with self._lock:
            if self._renewal is renewal:
                self._renewal = None
            if credentials is not None:
                self._current = credentials
                self._renew_at = _renew_at(credentials)
        if credentials is not None:
            renewal.set_result(credentials)
        else:
            renewal.set_exception(error)

    def after_fork(self) -> None:
        """In a forked child: a renewal of the parent's will not end here."""
        self._lock = threading.Lock()
        self._renewal = None
        self._tasks = set()

    async def close(self) -> None:
        """Cancels a renewal that is under way; after it none begins. Waits for one on this loop."""
        self._closed = True
        for task in list(self._tasks):
            with contextlib.suppress(RuntimeError):  # its loop has closed
                task.get_loop().call_soon_threadsafe(task.cancel)
        tasks = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _looked_at(future: asyncio.Future[Credentials]) -> None:
    if not future.cancelled():
        future.exception()


def _renew_at(credentials: Credentials) -> float | None:
    if credentials.expires_at is None:
        return None
    left = credentials.expires_at - time.monotonic()
    return credentials.expires_at - min(EXPIRY_MARGIN_SECONDS, left / 5)
