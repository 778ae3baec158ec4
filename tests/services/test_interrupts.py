"""Ctrl-C while the blocking face waits: it is seen, and leaves nothing open."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from playcall import BlockingAPIClient, Playcall, loop_thread
from playcall.http.pool import SessionPool
from playcall.realtime.states import ConnectionState
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from tests.realtime.scripted_server import ScriptedServer

from .played_value import Played


@contextmanager
def unseen_interrupt(*, waits: Callable[[], object], rescue: Callable[[], None]) -> Iterator[None]:
    """A SIGINT that does not end the wait of the main thread, as one that comes just before the wait begins.

    It is sent once `waits()`; the block has to end by KeyboardInterrupt all the same, without `rescue` that ends the wait.
    """
    over = threading.Event()
    rescued = threading.Event()

    def press() -> None:
        while not waits() and not over.wait(0.005):
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # taken by this thread, which it does not interrupt
        if not over.wait(5):
            rescued.set()
            rescue()

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        over.set()
        pressing.join()
    assert not rescued.is_set(), "it was seen only once the wait had ended for another reason"


Interrupt = Callable[[Callable[[Any], object]], None]


@pytest.fixture
def interrupt_once(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """`interrupt_once(wait)` has the next call interrupted once `wait(done)` returns; `done` is what the call waits for."""
    waits = loop_thread.wait_for

    def interrupt_next(wait: Callable[[Any], object]) -> None:
        def interrupt(done: Any, ends_at: float | None = None) -> bool:
            monkeypatch.setattr(loop_thread, "wait_for", waits)
            wait(done)
            raise KeyboardInterrupt

        monkeypatch.setattr(loop_thread, "wait_for", interrupt)

    return interrupt_next


def test_an_interrupt_is_seen_while_a_change_is_waited_for() -> None:
    live = Played().live(blocking=True)
    live.open()
    with unseen_interrupt(waits=lambda: live._live._current._waiting, rescue=live.close):
        list(live.changes())
    live.close()


def test_an_interrupt_is_seen_while_an_event_is_waited_for(server: ScriptedServer) -> None:
    with BlockingWebSocketClient(server.url) as client:
        feed = client.subscribe("tasks")
        feed.open()
        with unseen_interrupt(waits=lambda: feed._buffer._wake, rescue=feed.close):
            list(feed)


@pytest.mark.parametrize("place", ["read", "follow", ""])
def test_an_interrupted_opening_leaves_no_subscription(interrupt_once: Interrupt, place: str) -> None:
    """While it waits for one or the other, or when it is open, and the caller has not yet heard of it."""
    played = Played(pause_at=place)
    live = played.live(blocking=True)
    interrupt_once(lambda done: played.paused.wait(5) if place else _passed(done))
    with pytest.raises(KeyboardInterrupt), live:
        pytest.fail("it was entered")
    assert played.subscribed == 0


def test_what_an_interrupted_close_has_left_the_next_one_closes(
    server: ScriptedServer, interrupt_once: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = BlockingWebSocketClient(server.url)
    client.subscribe("tasks").open()
    (connection,) = client._awaiting._connections
    closing = threading.Event()

    async def hang() -> None:
        closing.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(connection, "close", hang)
        interrupt_once(lambda done: closing.wait(5))
        with pytest.raises(KeyboardInterrupt):
            client.close()
    assert connection.state is ConnectionState.READY
    assert not _pool(client).closed
    client.close()
    assert connection.state is ConnectionState.CLOSED
    assert not connection._tasks
    assert _pool(client).closed
    client.close()


@pytest.mark.parametrize("kind", [Playcall, BlockingAPIClient])
def test_what_an_interrupted_close_of_an_http_client_has_left_the_next_one_closes(
    kind: Any, interrupt_once: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = kind("http://127.0.0.1:9")
    pool = client._pool if kind is Playcall else client._engine.transport.pool
    closing = threading.Event()

    async def hang(_: SessionPool) -> None:
        closing.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(SessionPool, "close", hang)
        interrupt_once(lambda done: closing.wait(5))
        with pytest.raises(KeyboardInterrupt):
            client.close()
    assert not pool.closed
    client.close()
    assert pool.closed
    client.close()


def test_threads_may_close_it_at_the_same_time_and_each_returns_when_it_is_closed(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = BlockingWebSocketClient(server.url)
    client.subscribe("tasks").open()
    (connection,) = client._awaiting._connections
    close_it, both, begun, seen = connection.close, asyncio.Event(), [], []

    async def meet() -> None:
        begun.append(None)
        if len(begun) == 2:
            both.set()
        async with asyncio.timeout(5):
            await both.wait()
        await close_it()

    def close() -> None:
        client.close()
        seen.append((connection.state, len(connection._tasks), _pool(client).closed))

    monkeypatch.setattr(connection, "close", meet)
    threads = [threading.Thread(target=close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(ConnectionState.CLOSED, 0, True)] * 2


def _passed(done: threading.Lock) -> None:
    with done:
        pass


def _pool(client: BlockingWebSocketClient) -> SessionPool:
    return client._awaiting._pool
