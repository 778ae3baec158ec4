"""A TCP proxy that breaks connections on command: what networks do to clients, on real sockets.

    with LiveBackend() as backend, FaultProxy(backend.url) as proxy:
        client = Playcall(proxy.url, auth=ApiKey(backend.api_key))
        …
        proxy.cut()      # every connection is reset, now

It runs on a thread of its own, so it serves blocking and async tests alike. Every method may be called from any thread;
they take effect before they return, which takes well under a millisecond, so they may be called from an event loop too.
Bytes go through as they come, TLS included. Only lost answers need plain HTTP/1.1: there the proxy reads the heads of
requests, and changes nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from .fault_line import Direction, Line, Loss, opened
from .request_reader import ProxiedRequest

__all__ = ["Direction", "FaultProxy", "Loss", "ProxiedRequest"]

T = TypeVar("T")

CONTROL_SECONDS: Final = 10.0
"""A control call that takes longer has found a dead proxy thread."""


class FaultProxy:
    """Listens on a free port of this machine and forwards to `upstream` until told otherwise.

    Faults hold until `heal()`. They add up: `delay(0.1)` and `cut_after(500)` act together.
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        """A proxy before `upstream`, started by `with` or `start()`.

        Args:
            upstream: A URL with a port, `host:port`, or a pair of both. It need not be listening yet: while it is not,
                connections are taken and reset.

        Raises:
            ValueError: `upstream` names no host or no port.
        """
        self._scheme, self._upstream = _address(upstream)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._line: Line | None = None

    def __repr__(self) -> str:
        host, port = self._upstream
        return f"FaultProxy({host}:{port})"

    # --- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts listening. Raises RuntimeError if it was started before."""
        if self._thread is not None:
            raise RuntimeError("this fault proxy was started before; make another")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(ready,), name="playcall-fault-proxy", daemon=True)
        self._thread.start()
        ready.wait()
        self._line = self._ask(lambda: opened(self._upstream))
        return self

    def close(self) -> None:
        """Resets what is open, stops listening and ends the thread. Closing twice is no error.

        Raises:
            Exception: what a function that was given to `lose_answers_by` raised, the first time that it did.
        """
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return
        if self._line is not None:
            self._ask(self._line.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_SECONDS)
        if self._line is not None and self._line.failure is not None:
            raise self._line.failure

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- what a test looks at -----------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens; the same for its whole life, also while it refuses."""
        return self._running.port

    @property
    def url(self) -> str:
        """What a client is given in place of the upstream's URL."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._running.links)

    @property
    def connections_total(self) -> int:
        """Taken since the start, those to a dead upstream included."""
        return self._running.taken

    @property
    def bytes_up(self) -> int:
        """Forwarded from clients."""
        return self._running.bytes_up

    @property
    def bytes_down(self) -> int:
        """Forwarded to clients."""
        return self._running.bytes_down

    @property
    def answers_lost(self) -> int:
        """By `lose_answers` and `lose_answers_by`, since the start. A test that loses at random makes sure that it did."""
        return self._running.answers_lost

    # --- faults -------------------------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Resets every open connection on both sides, and says how many. New ones are served."""
        return self._ask(self._running.cut)

    def cut_after(self, count: int, *, direction: Direction = "both", times: int | None = 1) -> None:
        """Resets a connection when `count` more bytes of it have gone through in `direction`, in the middle of a piece.

        For an open connection the bytes count from now, for a new one from its start. 0 resets at the first byte.

        Args:
            times: How many connections this happens to; None for each one until `heal()`.
        """
        if count < 0 or (times is not None and times < 1):
            raise ValueError("cut_after takes a count of 0 or more, and times of 1 or more")
        self._ask(lambda: self._running.set_cut_after(count, direction, times))

    def lose_answers(self, count: int = 1, *, when: Loss = "after") -> None:
        """Loses the answers of the next `count` requests: a client sees its connection reset where an answer was due.

        Only requests in plain HTTP/1.1 whose head tells the length of their body count. An upgrade, a body in chunks or
        after `Expect`, TLS: such a connection goes through untouched from there on. Pipelining is not understood.

        Args:
            when: "after" passes the request on and resets once the upstream begins to answer, so it has been done (or
                refused, by an answer that comes before the body is whole);
                "before" takes the whole request and resets without passing it on. The client cannot tell which.
        """
        if count < 1 or when not in ("before", "after"):
            raise ValueError('lose_answers takes a count of 1 or more, and when="before" or "after"')
        left = count

        def next_ones(request: ProxiedRequest) -> Loss | None:
            nonlocal left
            left -= 1
            return when if left >= 0 else None

        self.lose_answers_by(next_ones)

    def lose_answers_by(self, decide: Callable[[ProxiedRequest], Loss | None]) -> None:
        """Loses the answers that `decide` says, as `lose_answers` does, whose place it takes.

        Args:
            decide: Is given each request's head as it passes, and says "before", "after", or None for an answer that is
                not lost. Called on the proxy's thread, one request at a time: it must not block. What it raises resets
                the connection, and is raised again by `close()`.
        """
        self._ask(lambda: self._running.set_losses(decide))

    def delay(self, seconds: float) -> None:
        """Lets each piece wait so long before it goes on, in each direction."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"a delay is 0 s or more, got {seconds}")
        self._ask(lambda: self._running.set_delay(seconds))

    def half_open(self) -> None:
        """Stops forwarding without closing, as when a cable is pulled: nothing arrives, nobody is told.

        New connections are taken and hear nothing. What is held goes on after `heal()`.
        """
        self._ask(self._running.hold)

    def refuse(self) -> None:
        """Refuses new connections, as when nothing listens; open ones are served."""
        self._ask(self._running.refuse)

    def heal(self) -> None:
        """Ends all faults."""
        self._ask(self._running.heal)

    # --- the thread ---------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Line:
        if self._line is None:
            raise RuntimeError("this fault proxy was not started: use it in a `with`, or call start()")
        return self._line

    def _main(self, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(ready.set)
            self._loop.run_forever()

    def _ask(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Does `act` on the proxy's thread and waits for it."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            raise RuntimeError("this fault proxy is closed")
        return asyncio.run_coroutine_threadsafe(act(), loop).result(CONTROL_SECONDS)


def _address(upstream: str | tuple[str, int]) -> tuple[str, tuple[str, int]]:
    if not isinstance(upstream, str):
        return "http", upstream
    parts = urlsplit(upstream if "://" in upstream else f"http://{upstream}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None:
        raise ValueError(f"the upstream must name host and port, as http://127.0.0.1:8000 does; got {upstream!r}")
    return parts.scheme, (parts.hostname, port)
