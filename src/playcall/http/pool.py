"""One aiohttp session for each event loop, made when first asked for and closed with its loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
import weakref
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import aiohttp

from ..deadline import check_seconds
from ..errors import ClientClosedError, ConfigurationError
from .connector import MarkingConnector, response_class_of, unrepeated
from .encodings import ACCEPTED

if TYPE_CHECKING:
    from .proxies import LaterProxy, ProxyAddress

__all__ = ["CONNECT_TIMEOUT_SECONDS", "SessionPool", "check_ssl_context"]

CONNECT_TIMEOUT_SECONDS = 10.0
KEEPALIVE_SECONDS = 30.0


@dataclass(slots=True)
class _Slot:
    """What belongs to one loop. `guard` keeps a generator suspended whose end, with the loop's, closes the session."""

    loop: weakref.ref[asyncio.AbstractEventLoop]
    session: aiohttp.ClientSession
    guard: AsyncGenerator[None, None]
    pid: int = field(default_factory=os.getpid)


def check_ssl_context(context: object) -> None:
    """Raises: ConfigurationError: it is neither None nor one."""
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(f"ssl_context= takes an ssl.SSLContext, got {type(context).__name__}")


class _Route(TypedDict):
    headers: Mapping[str, str]
    proxy: str | None
    proxy_headers: Mapping[str, str] | None


@dataclass(slots=True, eq=False, weakref_slot=True)
class SessionPool:
    """Sessions by loop, so that one client serves several loops, one after another or at once.

    `ssl_context` is used for `https` and `wss`; None means the system's trust. `proxy` stands before everything; a
    function is asked for it when a request is made. A session has no cookies and no total timeout: the deadline is ours.
    """

    ssl_context: ssl.SSLContext | None = None
    proxy: ProxyAddress | LaterProxy | None = None
    connect_timeout_seconds: float | None = CONNECT_TIMEOUT_SECONDS
    _slots: dict[int, _Slot] = field(default_factory=dict[int, _Slot])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def __post_init__(self) -> None:
        check_ssl_context(self.ssl_context)
        if self.connect_timeout_seconds is not None:
            check_seconds(self.connect_timeout_seconds, "connect_timeout_seconds")
        _pools.add(self)

    async def session(self) -> aiohttp.ClientSession:
        """The running loop's session.

        Raises:
            ClientClosedError: after `close()`.
        """
        loop = asyncio.get_running_loop()
        if (session := self.open_session(loop)) is not None:
            return session
        if self._closed:
            raise ClientClosedError("the client is closed: make a new one")
        session = self._new_session()
        guard = self._close_with_loop(id(loop), session)
        # No await that could let another task of this loop make a second session: the first step only reaches `yield`.
        with self._lock:
            self._slots[id(loop)] = _Slot(weakref.ref(loop), session, guard)
        await anext(guard)
        return session

    def open_session(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession | None:
        """The session of the running loop, where there is one already."""
        slot = self._slots.get(id(loop))
        return None if slot is None or slot.loop() is not loop or slot.session.closed else slot.session

    def routed(self, url: str, headers: Mapping[str, str]) -> _Route:
        """As `route`, by the names of aiohttp's arguments."""
        headers, proxy, proxy_headers = self.route(url, headers)
        return {"headers": headers, "proxy": proxy, "proxy_headers": proxy_headers}

    def route(
        self, url: str, headers: Mapping[str, str]
    ) -> tuple[Mapping[str, str], str | None, Mapping[str, str] | None]:
        """The headers of a request, its proxy, and the proxy's own headers.

        Credentials for the proxy go with the request that it reads: the CONNECT of a tunnel, else the request itself.
        """
        proxy = self.proxy() if callable(self.proxy) else self.proxy
        if proxy is None:
            return headers, None, None
        if proxy.authorization is None:
            return headers, proxy.url, None
        own = {"Proxy-Authorization": proxy.authorization}
        if url.startswith(("https:", "wss:")):
            return headers, proxy.url, own
        return {**headers, **own}, proxy.url, None

    def abandon(self) -> bool:
        """Has the sessions of living loops closed soon, for a client that nobody can close any more.

        Returns whether there were any. Sessions of the process that this one was forked from are left alone.
        """
        self._closed = True
        found = False
        for slot in list(self._slots.values()):
            loop = slot.loop()
            if loop is None or loop.is_closed() or slot.session.closed or slot.pid != os.getpid():
                continue
            found = True
            with contextlib.suppress(RuntimeError):  # the loop closed this moment, and its end closes the session
                loop.call_soon_threadsafe(_close_soon, loop, slot.session)
        return found

    async def _close_with_loop(self, key: int, session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                if (slot := self._slots.get(key)) is not None and slot.session is session:
                    del self._slots[key]
            await session.close()

    def _new_session(self) -> aiohttp.ClientSession:
        connector = MarkingConnector(
            limit=0,  # our own fair limiter stands in front
            ssl=self.ssl_context if self.ssl_context is not None else True,
            keepalive_timeout=KEEPALIVE_SECONDS,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout_seconds),
            response_class=response_class_of(connector),
            auto_decompress=False,  # encodings.py does it, and notices a cut-off body
            headers={"Accept-Encoding": ACCEPTED},
            trust_env=False,
        )
        return unrepeated(session)

    @property
    def closed(self) -> bool:
        return self._closed

    async def close(self) -> None:
        """Closes the running loop's session, and has those of other living loops closed soon, by their loops."""
        self._closed = True
        slot = self._slots.get(id(asyncio.get_running_loop()))
        if slot is not None:
            await slot.guard.aclose()
        self.abandon()

    def after_fork(self) -> None:
        """In a forked child: the parent's sessions are kept where nothing frees them, for they are the parent's."""
        self._lock = threading.Lock()
        _parked.append(self._slots)
        self._slots = {}


_parked: list[dict[int, _Slot]] = []
_pools: weakref.WeakSet[SessionPool] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

_closing: set[asyncio.Task[None]] = set()


def _close_soon(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    task = loop.create_task(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
