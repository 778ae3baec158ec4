"""Handlers on both faces: in order, one event at a time, delaying nothing else; and whatever they do wrong."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playcall.errors import (
    ClientClosedError,
    InvalidArgumentError,
    PlaycallError,
    RealtimeError,
    RealtimeTimeoutError,
    TopicForbiddenError,
)
from playcall.models.cursor import Cursor
from playcall.realtime.cursors import MemoryCursors
from playcall.realtime.feed import Feed
from playcall.realtime.handlers import Registration
from playcall.realtime.items import Gap
from playcall.realtime.set_aside import SetAsideQueue
from playcall.realtime.states import ConnectionState
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient
from tests.realtime.scripted_server import ScriptedServer

from .websocket_faces import AsyncFace, Face, MakeFace, replay, seqs, until

NAME = "tasks?types=task.*"


def append(server: ScriptedServer, count: int = 1) -> None:
    for _ in range(count):
        server.append("tasks", "task.failed")


def aside(registration: Any) -> list[tuple[int, str]]:
    return [(each.event.seq, str(each.error)) for each in registration.set_aside]


async def stored(cursors: MemoryCursors, cursor: Cursor) -> None:
    async with asyncio.timeout(5):
        while await cursors.load(NAME) != cursor:
            await asyncio.sleep(0.005)


class Recorder:
    """A handler that raises for what it is told to, and knows whether it was ever called twice at once."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)
        self.seen: list[int] = []
        self.overlapped = False
        self._busy = threading.Lock()

    def __call__(self, event: Any) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlapped = True
            return
        try:
            self.seen.append(event.seq)
            if event.seq in self.bad:
                raise ValueError(f"bad {event.seq}, call {len(self.seen)}")
        finally:
            self._busy.release()


# --- what is given to a handler ---------------------------------------------------------------------------------------


async def test_a_handler_gets_what_matches_from_the_collection_topic_until_it_is_removed(
    face: Face, server: ScriptedServer
) -> None:
    seen: list[str] = []
    registration = await face.on("task.*ed", lambda event: seen.append(event.type))
    assert registration.topic == "tasks"
    for each in ("task.failed", "task.progressing", "task.created"):
        server.append("tasks", each)
    await until(lambda: len(seen) == 2)
    registration.remove()
    await until(lambda: server.sent("unsubscribe"))
    server.append("tasks", "task.failed")
    await until(lambda: face.client.picture.subscriptions == ())
    assert seen == ["task.failed", "task.created"]
    registration.remove()
    assert not registration.active


async def test_an_async_handler_is_awaited_one_event_after_another(face: Face, server: ScriptedServer) -> None:
    log: list[str] = []

    async def handler(event: Any) -> None:
        log.append(f"begin {event.seq}")
        await asyncio.sleep(0.01)
        log.append(f"end {event.seq}")

    await face.on("task.*", handler)
    for _ in range(3):
        server.append("tasks", "task.failed")
    await until(lambda: len(log) == 6)
    assert log == [f"{what} {seq}" for seq in (1, 2, 3) for what in ("begin", "end")]


async def test_an_exception_in_a_handler_is_logged_counted_and_set_aside_and_the_next_event_delivered(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def handler(event: Any) -> None:
        seen.append(event.seq)
        if event.seq == 1:
            raise ValueError("mine")

    registration = await face.on("task.*", handler)
    server.append("tasks", "task.failed")
    server.append("tasks", "task.failed")
    await until(lambda: len(seen) == 2)
    assert (registration.handled, registration.errors) == (2, 1)
    assert [(each.event.id, str(each.error)) for each in registration.set_aside] == [("e1-1", "mine")]
    (record,) = [each for each in caplog.records if each.name == "playcall.realtime" and each.levelname == "ERROR"]
    assert record.__dict__["event_id"] == "e1-1"
    assert record.exc_info is not None


async def test_a_handler_that_takes_long_delays_no_other(face: Face, server: ScriptedServer) -> None:
    release = threading.Event()
    quick: list[int] = []

    slow_one = await face.on("task.*", lambda event: release.wait(10))
    await face.on("task.*", lambda event: quick.append(event.seq))
    for _ in range(300):
        server.append("tasks", "task.failed")
    await until(lambda: len(quick) == 300)
    assert slow_one.handled == 1
    release.set()
    await until(lambda: slow_one.handled == 300)


async def test_a_handler_goes_on_after_a_gap_that_is_logged_counted_and_told(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    gaps: list[Gap] = []

    def on_gap(gap: Gap) -> None:
        gaps.append(gap)
        raise ValueError("in on_gap")

    append(server, 50)
    server.change(lambda logs: logs["tasks"].expire(40))
    start = Cursor("e1", 3)
    registration = await face.on("*", lambda event: seen.append(event.seq), topic="tasks", on_gap=on_gap, start=start)
    await until(lambda: len(seen) == 11)
    assert seen == list(range(40, 51))
    assert registration.gaps == 1
    assert gaps[0].resume == Cursor("e1", 39)
    assert "are gone (expired)" in caplog.text


async def test_a_handler_whose_topic_is_refused_is_told_to_the_caller(face: Face) -> None:
    with pytest.raises(TopicForbiddenError):
        await face.on("*", print, topic="run:nobody")


async def test_a_handler_without_waiting_is_registered_while_nothing_listens(
    make: MakeFace, server: ScriptedServer
) -> None:
    server.stop()
    face = make()
    seen: list[int] = []
    await face.on("task.*", lambda event: seen.append(event.seq), wait=False, start="start")
    server.append("tasks", "task.failed")
    server.start()
    face.client.wake()
    await until(lambda: seen == [1])


async def test_a_handler_that_is_not_answered_in_time_is_withdrawn(make: MakeFace, server: ScriptedServer) -> None:
    server.stop()
    face = make()
    with pytest.raises(RealtimeTimeoutError):
        await face.on("task.*", print, deadline_seconds=0.1)
    await until(lambda: face.client.picture.subscriptions == ())


async def test_a_handler_that_ends_against_its_will_says_why(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    registration = await face.on("task.*", print)
    server.send({"op": "ended", "sid": "s1", "reason": "forbidden", "retry": False})
    await until(lambda: not registration.active)
    assert isinstance(registration.error, TopicForbiddenError)
    await until(lambda: "gets no more events" in caplog.text)


async def test_a_handler_may_close_the_client(server: ScriptedServer) -> None:
    async with WebSocketClient(server.url) as client:

        async def handler(event: Any) -> None:
            await client.close()

        registration = await client.on("task.*", handler)
        server.append("tasks", "task.failed")
        await asyncio.wait_for(registration.task, 5)
        assert client.state is ConnectionState.CLOSED


async def test_a_handler_that_awaits_something_cancelled_has_raised_and_goes_on(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[int] = []

    async def handler(event: Any) -> None:
        got.append(event.seq)
        if event.seq == 1:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled

    registration = await face.on("task.*", handler)
    server.append("tasks", "task.failed")
    server.append("tasks", "task.failed")
    await until(lambda: got == [1, 2])
    assert (registration.errors, registration.active) == (1, True)
    assert registration.set_aside[0].event.seq == 1
    assert "raised for the event" in caplog.text


def test_a_blocking_handler_that_exits_has_ended_with_a_word(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with BlockingWebSocketClient(server.url) as client:
        registration = client.on("task.*", lambda event: sys.exit(3))
        server.append("tasks", "task.failed")
        registration.join(5)
        assert not registration.active
        assert isinstance(registration.error, RealtimeError)
        assert isinstance(registration.error.__cause__, SystemExit)
    assert "ended by SystemExit" in caplog.text


async def test_waiting_for_a_handler_that_was_cancelled_or_failed_is_no_success(server: ScriptedServer) -> None:
    class BrokenFeed(Feed[Any]):
        async def open_until(self, ends_at: float | None) -> None:
            raise ZeroDivisionError

    async with WebSocketClient(server.url) as client:
        registration = client.on("task.*", print)
        waiting = asyncio.ensure_future(registration)
        await asyncio.sleep(0)
        registration.task.cancel()
        with pytest.raises(ClientClosedError, match="ended from outside"):
            await waiting
        opening, reactions = client.handler_opening("task.*", {})
        broken = Registration("task.*", print, reactions, lambda opening: BrokenFeed(client, opening), opening)
        with pytest.raises(RealtimeError, match="ended by ZeroDivisionError"):
            await broken
        assert broken.error is not None


def test_registrations_of_many_threads_are_all_kept(server: ScriptedServer) -> None:
    class SlowSet(set[Any]):
        """Gives other threads their turn in the middle of being read."""

        def __iter__(self) -> Iterator[Any]:
            for each in super().__iter__():
                time.sleep(0.05)
                yield each

    with BlockingWebSocketClient(server.url) as client:
        kept = client.on("task.*", print)
        client._registrations = SlowSet([kept])
        made = [kept]
        threads = [threading.Thread(target=lambda: made.append(client.on("task.*", print))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(made) == 5
        assert set(client._registrations) == set(made)


def test_a_blocking_handler_may_call_the_client_and_close_it(server: ScriptedServer) -> None:
    with BlockingWebSocketClient(server.url) as client:
        seen: list[int] = []
        done = threading.Event()

        def handler(event: Any) -> None:
            with client.subscribe("tasks", start="start") as feed:
                seen.append(next(feed).seq)
            client.close()
            done.set()

        client.on("task.*", handler)
        server.append("tasks", "task.failed")
        assert done.wait(5)
        assert seen == [1]
        assert client.closed


# --- on_error ---------------------------------------------------------------------------------------------------------


async def test_a_handler_without_a_cursor_sets_aside_what_it_raised_for(face: Face, server: ScriptedServer) -> None:
    append(server, 3)
    handler = Recorder(2)
    registration = await face.on("task.*", handler, start="start")
    await until(lambda: handler.seen == [1, 2, 3])
    assert aside(registration) == [(2, "bad 2, call 2")]
    assert (registration.errors, registration.dropped, registration.error) == (1, 0, None)


@pytest.mark.parametrize("kind", ["sync", "async", "awaitable"])
async def test_a_handler_with_a_cursor_stops_at_what_it_raised_for_and_gets_it_again(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    append(server, 3)
    cursors, plain = MemoryCursors(), Recorder(2)

    async def coroutine(event: Any) -> None:
        await asyncio.sleep(0)
        plain(event)

    handler = {"sync": plain, "async": coroutine, "awaitable": lambda event: coroutine(event)}[kind]
    registration = await face.on("task.*", handler, start="start", cursors=cursors)
    await until(lambda: registration.error is not None)
    assert not registration.active
    assert isinstance(registration.error, RealtimeError)
    assert "the event e1-2 (task.failed)" in str(registration.error)
    assert "comes again after a restart" in str(registration.error)
    assert isinstance(registration.error.__cause__, ValueError)
    await until(lambda: "bad 2" in caplog.text)
    assert (registration.errors, registration.set_aside) == (1, ())
    assert await cursors.load(NAME) == Cursor("e1", 1)

    plain.bad.clear()
    again = await face.on("task.*", handler, start="start", cursors=cursors)
    await stored(cursors, Cursor("e1", 3))
    assert plain.seen == [1, 2, 2, 3]
    assert (again.handled, again.error) == (2, None)


async def test_either_reaction_can_be_asked_for_and_no_other(face: Face, server: ScriptedServer) -> None:
    append(server, 2)
    cursors = MemoryCursors()
    lenient = await face.on("task.*", Recorder(1), start="start", cursors=cursors, on_error="set_aside")
    strict = await face.on("task.*", Recorder(1), start="start", on_error="stop")
    await stored(cursors, Cursor("e1", 2))
    assert (lenient.active, len(lenient.set_aside)) == (True, 1)
    await until(lambda: strict.error is not None)
    assert strict.handled == 1
    assert "restart" not in str(strict.error)
    with pytest.raises(InvalidArgumentError, match="on_error"):
        await face.on("task.*", print, on_error="ignore")


# --- the cursor -------------------------------------------------------------------------------------------------------


async def test_an_event_counts_when_the_handler_has_returned_and_not_before(face: Face, server: ScriptedServer) -> None:
    append(server, 2)
    cursors, go = MemoryCursors(), threading.Event()
    seen: list[int] = []

    def handler(event: Any) -> None:
        seen.append(event.seq)
        if event.seq == 2:
            go.wait(10)

    await face.on("task.*", handler, start="start", cursors=cursors, cursor_name=NAME)
    await until(lambda: seen == [1, 2])
    assert await cursors.load(NAME) == Cursor("e1", 1)
    go.set()
    await stored(cursors, Cursor("e1", 2))


@pytest.mark.parametrize("end", ["remove", "close"])
async def test_a_handler_that_is_ended_in_the_middle_finishes_its_event_which_then_counts(
    face: Face, server: ScriptedServer, end: str
) -> None:
    append(server, 3 if end == "remove" else 1)
    cursors, began, go = MemoryCursors(), threading.Event(), threading.Event()
    seen: list[int] = []

    def handler(event: Any) -> None:
        seen.append(event.seq)
        began.set()
        go.wait(10)

    registration = await face.on("task.*", handler, start="start", cursors=cursors)
    await asyncio.to_thread(began.wait, 5)
    closing = None
    if end == "remove":
        registration.remove()
    else:
        closing = asyncio.ensure_future(face.close())
        await until(lambda: face.client.closed)
    assert await cursors.load(NAME) is None
    go.set()
    if closing is not None:
        await closing
    await stored(cursors, Cursor("e1", 1))
    assert seen == [1]


async def test_closing_waits_for_a_handler_that_was_removed_in_the_middle(face: Face, server: ScriptedServer) -> None:
    append(server, 1)
    began, go = threading.Event(), threading.Event()
    finished: list[int] = []

    def handler(event: Any) -> None:
        began.set()
        go.wait(10)
        finished.append(event.seq)

    registration = await face.on("task.*", handler, start="start")
    await asyncio.to_thread(began.wait, 5)
    registration.remove()
    await face.on("task.*", lambda event: None)  # registering looks through those that there are
    closing = asyncio.ensure_future(face.close())
    await until(lambda: face.client.closed)
    await asyncio.sleep(0.05)
    assert not closing.done()
    go.set()
    await closing
    assert finished == [1]


async def test_a_handler_that_removes_itself_has_processed_its_last_event(face: Face, server: ScriptedServer) -> None:
    append(server, 3)
    cursors, made = MemoryCursors(), threading.Event()
    registration: Any = None
    seen: list[int] = []

    def handler(event: Any) -> None:
        made.wait(5)
        seen.append(event.seq)
        if event.seq == 2:
            registration.remove()

    registration = await face.on("task.*", handler, start="start", cursors=cursors)
    made.set()
    await stored(cursors, Cursor("e1", 2))
    assert not registration.active
    assert (seen, registration.error) == ([1, 2], None)


async def test_a_cancelled_handler_has_not_processed_its_event(server: ScriptedServer) -> None:
    append(server, 2)
    cursors, began = MemoryCursors(), asyncio.Event()

    async def handler(event: Any) -> None:
        if event.seq == 2:
            began.set()
            await asyncio.sleep(60)

    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", handler, start="start", cursors=cursors)
        await began.wait()
        registration.task.cancel()
        await asyncio.wait([registration.task])
        assert (registration.active, registration.errors) == (False, 0)
    assert await cursors.load(NAME) == Cursor("e1", 1)


def test_a_blocking_handler_that_exits_has_not_processed_its_event(server: ScriptedServer) -> None:
    append(server, 1)
    cursors = MemoryCursors()
    with BlockingWebSocketClient(server.url) as client:
        registration = client.on("task.*", lambda event: sys.exit(3), start="start", cursors=cursors)
        registration.join(5)
        assert isinstance(registration.error, RealtimeError)
        assert isinstance(registration.error.__cause__, SystemExit)
    assert asyncio.run(cursors.load(NAME)) is None


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_async_clients_handler_that_exits_ends_the_program_and_has_not_processed_its_event(
    server: ScriptedServer, kind: str
) -> None:
    append(server, 1)
    cursors = MemoryCursors()

    async def leave(event: Any) -> None:
        sys.exit(3)

    async def main() -> None:
        async with WebSocketClient(server.url) as client:
            handler = leave if kind == "async" else lambda event: sys.exit(3)
            await client.on("task.*", handler, start="start", cursors=cursors)
            await asyncio.sleep(60)

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 3
    assert asyncio.run(cursors.load(NAME)) is None


async def test_what_a_gap_jumps_over_counts_as_processed(face: Face, server: ScriptedServer) -> None:
    append(server, 5)
    cursors = MemoryCursors()
    await cursors.save(NAME, Cursor("e0", 9))
    gaps: list[Any] = []

    async def on_gap(gap: Any) -> None:
        gaps.append(gap.reason)

    handler = Recorder()
    registration = await face.on("task.*", handler, cursors=cursors, on_gap=on_gap)
    await stored(cursors, Cursor("e1", 5))
    assert (handler.seen, gaps, registration.gaps) == ([1, 2, 3, 4, 5], ["epoch"], 1)


# --- replay -----------------------------------------------------------------------------------------------------------


async def test_a_replay_gives_what_was_set_aside_to_the_handler_again_oldest_first(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    append(server, 5)
    handler = Recorder(1, 3, 5)
    registration = await face.on("task.*", handler, start="start")
    await until(lambda: registration.errors == 3)
    assert await replay(registration) == 0
    assert aside(registration) == [(1, "bad 1, call 6"), (3, "bad 3, call 7"), (5, "bad 5, call 8")]
    assert "it stays set aside" in caplog.text
    handler.bad = {3}
    assert await replay(registration) == 2
    assert aside(registration) == [(3, "bad 3, call 10")]
    handler.bad = set()
    assert await replay(registration) == 1
    assert await replay(registration) == 0
    assert (registration.set_aside, registration.handled, registration.errors) == ((), 12, 7)
    assert handler.seen == [1, 2, 3, 4, 5, 1, 3, 5, 1, 3, 5, 3]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_replay_and_the_running_queue_never_call_the_handler_at_the_same_time(
    face: Face, server: ScriptedServer, kind: str
) -> None:
    append(server, 20)
    fail = True
    calls = 0
    most = 0
    lock = threading.Lock()

    def count(by: int) -> None:
        nonlocal calls, most
        with lock:
            calls += by
            most = max(most, calls)

    def plain(event: Any) -> None:
        count(1)
        time.sleep(0.002)
        count(-1)
        if fail:
            raise ValueError

    async def coroutine(event: Any) -> None:
        count(1)
        await asyncio.sleep(0.002)
        count(-1)
        if fail:
            raise ValueError

    registration = await face.on("task.*", plain if kind == "sync" else coroutine, start="start")
    await until(lambda: registration.errors == 20)
    fail = False
    replays = [asyncio.ensure_future(replay(registration)) for _ in range(3)]
    append(server, 20)
    assert sum(await asyncio.gather(*replays)) == 20  # each of them once, whoever gets to it first
    await until(lambda: registration.handled == 60)
    await until(lambda: calls == 0)
    assert most == 1


class Replaying:
    """A handler that raises for the first event, and with the second one replays it."""

    def __init__(self) -> None:
        self.registration: Any = None
        self.made = threading.Event()
        self.seen: list[int] = []
        self.succeeded: list[int] = []
        self._bad = {1}
        self._loop = asyncio.get_running_loop()

    def _begin(self, event: Any) -> None:
        self.made.wait(5)
        self.seen.append(event.seq)
        if event.seq in self._bad:
            raise ValueError
        self._bad.clear()

    def plain(self, event: Any) -> None:
        self._begin(event)
        if isinstance(self.registration, Registration):
            replaying = asyncio.run_coroutine_threadsafe(self.registration.replay(), self._loop)
            self.succeeded.append(replaying.result(5))
        else:
            self.succeeded.append(self.registration.replay())

    async def coroutine(self, event: Any) -> None:
        self._begin(event)
        replays = asyncio.gather(self.registration.replay(), self.registration.replay())  # in tasks of their own
        self.succeeded.append(sum(await replays))

    async def check(self, registration: Any, server: ScriptedServer) -> None:
        self.registration = registration
        self.made.set()
        await until(lambda: len(self.succeeded) == 2)
        assert (self.seen, self.succeeded) == ([1, 2, 1], [0, 1])  # what is in hand is not given again
        assert registration.set_aside == ()
        append(server)
        await until(lambda: self.seen == [1, 2, 1, 3])


async def test_a_handler_may_replay_what_it_raised_for_and_wait_for_it(face: Face, server: ScriptedServer) -> None:
    append(server, 2)
    handler = Replaying()
    await handler.check(await face.on("task.*", handler.plain, start="start"), server)


async def test_a_coroutine_may_replay_what_it_raised_for_and_wait_for_it(server: ScriptedServer) -> None:
    handler = Replaying()
    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", handler.coroutine, start="start")
        handler.made.set()
        handler.registration = registration
        append(server, 2)
        await handler.check(registration, server)


async def test_a_replay_that_a_handler_has_left_behind_keeps_the_turn_until_it_has_ended(
    server: ScriptedServer,
) -> None:
    append(server, 3)
    go = asyncio.Event()
    seen: list[int] = []
    left: list[asyncio.Task[int]] = []

    async def handle(event: Any) -> None:
        seen.append(event.seq)
        if event.seq == 1 and not left:
            raise ValueError
        if event.seq == 2:
            left.append(asyncio.create_task(registration.replay()))
            while seen != [1, 2, 1]:
                await asyncio.sleep(0)
        elif event.seq == 1:
            await go.wait()

    async with WebSocketClient(server.url) as client:
        registration = client.on("task.*", handle, start="start")
        await until(lambda: seen == [1, 2, 1])
        await until(lambda: client.picture.subscriptions[0].received == Cursor("e1", 3))
        await asyncio.sleep(0.02)
        assert seen == [1, 2, 1]  # the third, which came with them, waits
        go.set()
        assert await left[0] == 1
        await until(lambda: seen == [1, 2, 1, 3])


async def test_a_replay_gets_its_turn_between_events_that_came_together(server: ScriptedServer) -> None:
    append(server, 5)
    seen: list[int] = []
    replays: list[asyncio.Task[int]] = []

    async def handle(event: Any) -> None:
        seen.append(event.seq)
        if seen == [1]:
            raise ValueError
        if event.seq == 2:
            replays.append(outside.create_task(registration.replay(), context=contextvars.Context()))
            await asyncio.sleep(0)

    outside = asyncio.get_running_loop()
    async with WebSocketClient(server.url) as client:
        registration = client.on("task.*", handle, start="start")
        await until(lambda: len(seen) == 6)
        assert seen == [1, 2, 1, 3, 4, 5]
        assert await replays[0] == 1


async def test_a_plain_handler_whose_replay_was_cancelled_is_not_called_before_it_has_returned(
    server: ScriptedServer,
) -> None:
    append(server, 1)
    go, began = threading.Event(), threading.Event()
    handler = Recorder(1)

    def waiting(event: Any) -> None:
        if handler.seen and not began.is_set():
            began.set()
            go.wait(5)
        handler(event)

    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", waiting, start="start")
        await until(lambda: registration.errors == 1)
        replaying = asyncio.ensure_future(registration.replay())
        await asyncio.to_thread(began.wait, 5)
        replaying.cancel()
        await asyncio.wait([replaying])
        append(server, 1)
        await until(lambda: client.picture.subscriptions[0].received == Cursor("e1", 2))
        await asyncio.sleep(0.02)
        assert registration.handled == 2  # the event that has arrived waits
        go.set()
        await until(lambda: handler.seen == [1, 1, 2])
        assert [each.event.seq for each in registration.set_aside] == [1]  # nobody was there to see it return


async def test_a_handler_may_remove_itself_in_a_replay_and_be_replayed_after_its_end(
    face: Face, server: ScriptedServer
) -> None:
    append(server, 3)
    bad = {1, 2, 3}
    seen: list[int] = []

    def handler(event: Any) -> None:
        seen.append(event.seq)
        if event.seq in bad:
            raise ValueError
        registration.remove()

    registration = await face.on("task.*", handler, start="start")
    await until(lambda: registration.errors == 3)
    bad = {2}
    assert await replay(registration) == 2
    await until(lambda: not registration.active)
    await face.close()
    bad = set()
    assert await replay(registration) == 1
    assert seen == [1, 2, 3, 1, 2, 3, 2]


async def test_an_event_that_arrives_during_a_replay_that_removes_the_handler_is_not_handled(
    face: Face, server: ScriptedServer
) -> None:
    append(server, 1)
    cursors, go, began = MemoryCursors(), threading.Event(), threading.Event()
    seen: list[int] = []
    fail = True

    def handler(event: Any) -> None:
        seen.append(event.seq)
        if fail:
            raise ValueError
        began.set()
        go.wait(5)
        registration.remove()

    registration = await face.on("task.*", handler, start="start", cursors=cursors, on_error="set_aside")
    await stored(cursors, Cursor("e1", 1))
    fail = False
    replaying = asyncio.ensure_future(replay(registration))
    await asyncio.to_thread(began.wait, 5)
    append(server, 1)
    await until(lambda: face.client.picture.subscriptions[0].received == Cursor("e1", 2))
    go.set()
    assert await replaying == 1
    await face.close()
    assert (seen, registration.handled) == ([1, 1], 2)
    assert await cursors.load(NAME) == Cursor("e1", 1)


async def test_a_replay_that_is_cancelled_leaves_the_event_where_it_was(server: ScriptedServer) -> None:
    append(server, 2)
    mode = "raise"

    async def handler(event: Any) -> None:
        if mode == "raise":
            raise ValueError("first")
        if mode == "sleep":
            await asyncio.sleep(60)

    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", handler, start="start")
        await until(lambda: registration.errors == 2)
        mode = "sleep"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await registration.replay()
        assert aside(registration) == [(1, "first"), (2, "first")]
        mode = "well"
        assert await registration.replay() == 2


async def test_a_handler_that_exits_in_a_replay_ends_the_replay_and_leaves_the_event(
    face: Face, server: ScriptedServer
) -> None:
    append(server, 1)
    errors: list[BaseException] = [ValueError("first"), KeyboardInterrupt()]

    def handler(event: Any) -> None:
        if errors:
            raise errors.pop(0)

    registration = await face.on("task.*", handler, start="start")
    await until(lambda: registration.errors == 1)
    with pytest.raises(KeyboardInterrupt):
        await replay_here(registration)
    assert aside(registration) == [(1, "first")]
    assert await replay(registration) == 1


async def replay_here(registration: Any) -> None:
    """Not in another task or thread, which would hand an interrupt on to the whole program."""
    if isinstance(registration, Registration):
        await registration.replay()
    else:
        registration.replay()


async def test_a_replay_belongs_where_it_can_end(server: ScriptedServer) -> None:
    """On the registration's loop; and never on the blocking face's loop thread, whose handler waits for it."""
    append(server, 1)
    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", Recorder(1), start="start")
        with pytest.raises(InvalidArgumentError, match="event loop"):
            await asyncio.to_thread(lambda: asyncio.run(registration.replay()))

    errors: list[BaseException] = []

    async def coroutine(event: Any) -> None:
        try:
            blocking.replay()
        except PlaycallError as error:
            errors.append(error)

    other = BlockingWebSocketClient(server.url)
    blocking = await asyncio.to_thread(other.on, "task.*", coroutine)
    append(server)
    await until(lambda: errors)
    await asyncio.to_thread(other.close)
    assert "loop thread" in str(errors[0])


def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    queue = SetAsideQueue(kept=2)
    for number in range(5):
        queue.add(number, ValueError(number))  # type: ignore[arg-type]
    assert ([each.event for each in queue.entries], queue.dropped, len(queue)) == ([3, 4], 3, 2)
    oldest, newest = queue.numbers
    assert queue.take(oldest) == 3
    assert queue.take(oldest) is None  # it is in somebody's hand
    queue.add(5, ValueError())  # type: ignore[arg-type]
    queue.put_back(oldest, ValueError())  # it was dropped meanwhile
    assert queue.take(oldest) is None
    assert queue.take(newest) == 4
    queue.done(newest)
    assert [each.event for each in queue.entries] == [5]


async def test_what_is_set_aside_can_be_read_from_any_thread_while_it_grows(face: Face, server: ScriptedServer) -> None:
    append(server, 300)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        registration = await face.on("task.*", Recorder(*range(1, 301)), start="start")

        def read() -> int:
            reads = 0
            while registration.handled < 300:
                order = [each.event.seq for each in registration.set_aside]
                assert order == list(range(1, len(order) + 1))
                reads += 1
            return reads

        assert all(await asyncio.gather(*(asyncio.to_thread(read) for _ in range(2))))
    finally:
        sys.setswitchinterval(interval)


# --- what it shows ----------------------------------------------------------------------------------------------------


async def test_a_registration_counts_and_says_so_in_one_line(face: Face, server: ScriptedServer) -> None:
    go = threading.Event()

    def handler(event: Any) -> None:
        if event.seq == 1:
            raise ValueError("two\nlines")
        if event.seq == 3:
            go.wait(5)

    registration = await face.on("task.*", handler)
    assert registration.lag is None
    append(server, 3)
    await until(lambda: registration.handled == 3)
    append(server, 2)
    await until(lambda: registration.lag == 3)  # the one in hand, and the two behind it
    name = type(registration).__name__
    figures = "handled 3, errors 1, gaps 0, set aside 1, dropped 0"
    assert repr(registration) == f"<{name} of 'task.*' on 'tasks': active, {figures}, lag 3>"
    go.set()
    await until(lambda: registration.lag == 0)
    registration.remove()
    await until(lambda: repr(registration).endswith("lag unknown>"))
    assert "'tasks': ended, handled 5" in repr(registration)


async def test_an_ended_registration_says_by_what(face: Face, server: ScriptedServer) -> None:
    registration = await face.on("task.*", Recorder(1), on_error="stop")
    append(server)
    await until(lambda: registration.error is not None)
    assert "ended by RealtimeError, handled 1, errors 1" in repr(registration)


# --- plain functions on the async client ------------------------------------------------------------------------------


async def test_heartbeats_and_other_handlers_go_on_while_a_plain_handler_sleeps(server: ScriptedServer) -> None:
    """It sleeps longer than the client waits for a sign of life, so were the loop blocked the connection would end."""
    server.heartbeat_seconds = 0.2
    quick: list[int] = []
    done: list[int] = []

    def slow(event: Any) -> None:
        time.sleep(3)
        done.append(len(quick))

    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", slow)
        await client.on("task.*", lambda event: quick.append(event.seq))
        append(server)
        await until(lambda: registration.handled == 1)
        append(server, 5)
        await until(lambda: len(quick) == 6)
        assert done == []
        pings = len(server.sent("ping"))
        await until(lambda: len(server.sent("ping")) >= pings + 3)
        assert done == []
        await until(lambda: done)
        assert client.picture.reconnects == 0
        registration.remove()


async def test_a_plain_handler_has_a_thread_of_its_own_and_a_coroutine_the_loops(server: ScriptedServer) -> None:
    threads: dict[str, str] = {}
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")

    def plain(event: Any) -> None:
        threads.setdefault("plain", threading.current_thread().name)
        threads["variable"] = variable.get()
        idle = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.create_task(idle)  # noqa: RUF006
        idle.close()

    async def coroutine(kind: str, event: Any) -> None:
        threads[kind] = threading.current_thread().name

    class Callable_:
        async def __call__(self, event: Any) -> None:
            await coroutine("callable", event)

    async with WebSocketClient(server.url) as client:
        variable.set("inside")
        registration = await client.on("task.*", plain)
        await client.on("task.*", functools.partial(coroutine, "partial"))
        await client.on("task.*", lambda event: coroutine("returned", event))
        await client.on("task.*", Callable_())
        append(server, 2)
        await until(lambda: len(threads) == 5 and registration.handled == 2)
    own = threading.current_thread().name
    assert threads == {
        "plain": "playcall-on-task.*",
        "variable": "outside",  # a handler outlives the context that it was registered in
        "partial": own,
        "returned": own,
        "callable": own,
    }
    assert registration.errors == 0
    await until(lambda: not any(each.name == "playcall-on-task.*" for each in threading.enumerate()))


class SpiedQueue(asyncio.Queue[Any]):
    """Knows on which threads it was touched."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[threading.Thread] = set()

    def _put(self, item: Any) -> None:
        self.threads.add(threading.current_thread())
        super()._put(item)


@pytest.mark.parametrize("kind", ["put", "put_nowait", "partial"])
async def test_what_belongs_to_asyncio_is_called_on_the_loop(server: ScriptedServer, kind: str) -> None:
    queue = SpiedQueue()
    handler: Callable[[Any], Any] = functools.partial(queue.put_nowait) if kind == "partial" else getattr(queue, kind)
    async with WebSocketClient(server.url) as client:
        await client.on("task.*", handler)
        append(server, 3)
        await until(lambda: queue.qsize() == 3)
        assert queue.threads == {threading.current_thread()}
        assert seqs([queue.get_nowait() for _ in range(3)]) == [1, 2, 3]


async def test_a_full_asyncio_queue_as_handler_waits_and_loses_nothing(server: ScriptedServer) -> None:
    append(server, 50)
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    async with WebSocketClient(server.url) as client:
        registration = await client.on("task.*", queue.put, start="start", window=4)
        async with asyncio.timeout(5):
            assert seqs([await queue.get() for _ in range(50)]) == list(range(1, 51))
        assert registration.set_aside == ()


async def test_a_plain_handler_may_close_the_client(server: ScriptedServer) -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    cursors = MemoryCursors()
    async with WebSocketClient(server.url) as client:

        def handler(event: Any) -> None:
            asyncio.run_coroutine_threadsafe(client.close(), loop).result(5)
            loop.call_soon_threadsafe(closed.set)

        registration = await client.on("task.*", handler, cursors=cursors)
        append(server)
        async with asyncio.timeout(1.5):  # less than close() waits for others' handlers
            await closed.wait()
        await asyncio.wait([registration.task])
        assert (registration.error, registration.errors) == (None, 0)
    assert await cursors.load(NAME) == Cursor("e1", 1)


# --- whatever it raises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StopIteration(1), concurrent.futures.CancelledError(), asyncio.CancelledError()])
async def test_nothing_that_a_plain_handler_raises_ends_the_queue(
    face: Face, server: ScriptedServer, error: BaseException
) -> None:
    append(server, 2)

    def handler(event: Any) -> None:
        if event.seq == 1:
            raise error

    registration = await face.on("task.*", handler, start="start")
    await until(lambda: registration.handled == 2)
    assert [each.event.seq for each in registration.set_aside] == [1]
    await until(lambda: registration.lag == 0)
    assert registration.active
    fixed = registration.set_aside[0].error
    assert type(error).__name__ in f"{fixed!r} {fixed.__cause__!r}"


async def test_registering_that_is_interrupted_leaves_nothing_behind(make: MakeFace, server: ScriptedServer) -> None:
    """As Ctrl-C does it: the caller's exception, and neither a thread nor a subscription afterwards."""
    server.bend = lambda frame: None if frame["op"] == "subscribed" else frame
    face = make(deadline_seconds=60)
    if isinstance(face, AsyncFace):
        registering = asyncio.ensure_future(face.on("task.*", print))
        await until(lambda: server.sent("subscribe"))
        registering.cancel()
        await asyncio.wait([registering])
        for registration in list(face.client._registrations):  # waiting for it was cancelled, and not the handler
            registration.remove()
    else:
        feeds: list[Any] = []

        class Interrupted(Exception):
            pass

        def interrupt(lock: threading.Lock) -> None:
            ends_at = time.monotonic() + 5
            while not server.sent("subscribe") and time.monotonic() < ends_at:
                time.sleep(0.005)
            raise Interrupted

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("playcall.realtime.blocking_handlers.wait_for", interrupt)
            with pytest.raises(Interrupted):
                await face.on("task.*", feeds.append)
        await until(lambda: not any(each.name == "playcall-on-task.*" for each in threading.enumerate()))
    await until(lambda: face.client.picture.subscriptions == ())


# --- all of it together -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_cut_and_whatever_raises_each_event_is_handled_or_set_aside_once(
    face: Face, server: ScriptedServer, seed: int
) -> None:
    chance = random.Random(seed)
    bad = {seq for seq in range(1, 121) if chance.random() < 0.2}
    recorder = Recorder(*bad)
    registration = await face.on("task.*", recorder, window=chance.choice([1, 4, 64]))
    for _ in range(12):
        append(server, 10)
        if chance.random() < 0.5:
            server.cut()
        await asyncio.sleep(chance.random() / 50)
    await until(lambda: len(recorder.seen) == 120)
    assert recorder.seen == list(range(1, 121)), "in order, across every cut"
    assert not recorder.overlapped
    assert [seq for seq, _ in aside(registration)] == sorted(bad)
    recorder.bad.clear()
    assert await replay(registration) == len(bad)
    assert recorder.seen[120:] == sorted(bad)
    assert registration.set_aside == ()
    assert (registration.handled, registration.errors, registration.gaps) == (120 + len(bad), len(bad), 0)
