"""A consumer that keeps its cursor: where it goes on, what counts as processed, and what a store's failure does."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from playcall.errors import ClientClosedError, InvalidArgumentError, RealtimeError
from playcall.models.cursor import Cursor
from playcall.realtime.cursor_file import SqliteCursors
from playcall.realtime.cursors import MemoryCursors
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient
from tests.realtime.scripted_server import ScriptedServer

from .websocket_faces import AsyncFace, Face, seqs, take, until


class Broken(MemoryCursors):
    """Raises what it is told to, as often."""

    def __init__(self, *, loads: int = 0, saves: int = 0) -> None:
        super().__init__()
        self.loads, self.saves = loads, saves

    async def load(self, name: str) -> Cursor | None:
        if self.loads:
            self.loads -= 1
            raise OSError("no store")
        return await super().load(name)

    async def save(self, name: str, cursor: Cursor) -> None:
        if self.saves:
            self.saves -= 1
            raise OSError("no room")
        await super().save(name, cursor)


class Plain:
    """A store with plain methods, as over an application's own database; remembers who called."""

    def __init__(self) -> None:
        self.stored: dict[str, Cursor] = {}
        self.callers: list[str] = []

    def load(self, name: str) -> Cursor | None:
        self.callers.append(threading.current_thread().name)
        return self.stored.get(name)

    def save(self, name: str, cursor: Cursor) -> None:
        self.callers.append(threading.current_thread().name)
        self.stored[name] = cursor


def exact(cursor: Cursor | None) -> tuple[str, int, str | None] | None:
    return None if cursor is None else (cursor.epoch, cursor.seq, cursor.event_id)


async def test_a_stored_cursor_wins_over_start_and_moves_with_its_event_id_as_items_are_processed(
    face: Face, server: ScriptedServer
) -> None:
    cursors = MemoryCursors()
    for _ in range(5):
        server.append("tasks")
    async with face.subscribe("tasks", start="start", cursors=cursors) as feed:
        await take(feed, 2)
        assert exact(await cursors.load("tasks")) == ("e1", 1, "e1-1")
    assert exact(await cursors.load("tasks")) == ("e1", 2, "e1-2")
    async with face.subscribe("tasks", start="start", cursors=cursors) as feed:
        assert seqs(await take(feed, 1)) == [3]
    async with face.subscribe("tasks", start="start", cursors=cursors, cursor_name="another") as feed:
        assert seqs(await take(feed, 5)) == [1, 2, 3, 4, 5]
    assert exact(await cursors.load("another")) == ("e1", 5, "e1-5")


async def test_a_feeds_cursor_has_the_id_of_the_item_in_hand_and_starts_after_it(
    face: Face, server: ScriptedServer
) -> None:
    for _ in range(3):
        server.append("tasks")
    async with face.subscribe("tasks", start="start") as feed:
        assert (feed.cursor, feed.processed) == (None, None)
        await take(feed, 2)
        assert exact(feed.cursor) == ("e1", 2, "e1-2")
        assert exact(feed.processed) == ("e1", 1, "e1-1")
        start = feed.cursor
    async with face.subscribe("tasks", start=start) as feed:
        assert seqs(await take(feed, 1)) == [3]


async def test_what_a_filter_left_out_counts_as_processed_when_the_next_is_there(
    face: Face, server: ScriptedServer
) -> None:
    cursors = MemoryCursors()
    server.append("tasks", "task.failed")
    async with face.subscribe("tasks", types=["task.failed"], start="start", cursors=cursors) as feed:
        await take(feed, 1)
        for _ in range(3):
            server.append("tasks", "task.done")
        waiting = asyncio.ensure_future(take(feed, 1))
        await until(lambda: face.client.picture.subscriptions[0].received == Cursor("e1", 4))
        server.append("tasks", "task.failed")
        assert seqs(await waiting) == [5]
        assert await cursors.load("tasks?types=task.failed") == Cursor("e1", 4)
    assert exact(await cursors.load("tasks?types=task.failed")) == ("e1", 5, "e1-5")


async def test_each_place_is_stored_once(face: Face, server: ScriptedServer) -> None:
    class Counting(MemoryCursors):
        def __init__(self) -> None:
            super().__init__()
            self.saved: list[tuple[str, int]] = []

        async def save(self, name: str, cursor: Cursor) -> None:
            self.saved.append((name, cursor.seq))
            await super().save(name, cursor)

    cursors = Counting()
    for _ in range(3):
        server.append("tasks", "task.failed")
    async with face.subscribe("tasks", start="start", cursors=cursors, window=4) as feed:  # a batch each
        await take(feed, 3)
    registration = await face.on("task.*", lambda event: None, start="start", cursors=cursors, cursor_name="on")
    await until(lambda: registration.lag == 0)
    assert cursors.saved == [("tasks", 1), ("tasks", 2), ("tasks", 3), ("on", 1), ("on", 2), ("on", 3)]


async def test_a_store_that_cannot_be_read_opens_nothing(face: Face, server: ScriptedServer) -> None:
    cursors = Broken(loads=1)
    with pytest.raises(OSError, match="no store"):
        await face.subscribe("tasks", cursors=cursors).open()
    assert server.upgrades == []
    async with face.subscribe("tasks", cursors=cursors):  # and its name is free again
        pass


async def test_a_subscription_that_is_closed_while_its_cursor_is_read_is_never_opened(
    face: Face, server: ScriptedServer
) -> None:
    class Closing(MemoryCursors):
        async def load(self, name: str) -> Cursor | None:
            await feed.close()
            return None

    feed = face.subscribe("tasks", cursors=Closing())
    with pytest.raises(ClientClosedError, match="closed before it was open"):
        await feed.open()
    assert server.upgrades == []
    with pytest.raises(InvalidArgumentError, match="not open"):
        await anext(feed)


async def test_what_cannot_be_stored_is_not_processed_and_stays_in_hand(face: Face, server: ScriptedServer) -> None:
    cursors = Broken(saves=2)
    for _ in range(3):
        server.append("tasks")
    async with face.subscribe("tasks", start="start", cursors=cursors) as feed:
        await take(feed, 1)
        for _ in range(2):
            with pytest.raises(OSError, match="no room"):
                await anext(feed)
            assert (feed.cursor, feed.processed) == (Cursor("e1", 1), None)
        assert seqs(await take(feed, 2)) == [2, 3]  # none was lost by the failures
        assert await cursors.load("tasks") == Cursor("e1", 2)
        cursors.saves = 1
        feed_exit = feed.__aexit__(None, None, None)
        with pytest.raises(OSError, match="no room"):
            await feed_exit
        assert feed.processed == Cursor("e1", 2)


async def test_leaving_by_an_exception_or_closing_stores_nothing_of_the_item_in_hand(
    face: Face, server: ScriptedServer
) -> None:
    for _ in range(3):
        server.append("tasks")
    cursors = MemoryCursors()
    feed = face.subscribe("tasks", start="start", cursors=cursors)
    with pytest.raises(ZeroDivisionError):
        await _take_two_then_fail(feed)
    assert [item async for item in feed] == []  # asking on does not count what failed
    assert (feed.processed, await cursors.load("tasks")) == (Cursor("e1", 1), Cursor("e1", 1))


async def _take_two_then_fail(feed: Any) -> None:
    async with feed:
        await take(feed, 2)
        raise ZeroDivisionError


async def test_a_cancelled_consumer_has_not_processed_what_it_was_doing(server: ScriptedServer) -> None:
    cursors = MemoryCursors()
    for _ in range(2):
        server.append("tasks")
    began = asyncio.Event()

    async def consume(client: WebSocketClient) -> None:
        async with client.subscribe("tasks", start="start", cursors=cursors) as feed:
            async for event in feed:
                if event.seq == 2:
                    began.set()
                    await asyncio.sleep(60)

    async with WebSocketClient(server.url) as client:
        consuming = asyncio.create_task(consume(client))
        await began.wait()
        consuming.cancel()
        await asyncio.wait([consuming])
        assert await cursors.load("tasks") == Cursor("e1", 1)


async def test_what_is_no_store_is_refused_at_once(face: Face) -> None:
    for cursors in ({}, object(), "cursors.db"):
        with pytest.raises(InvalidArgumentError, match="load and save"):
            face.subscribe("tasks", cursors=cursors)
    with pytest.raises(InvalidArgumentError, match="give cursors="):
        face.subscribe("tasks", cursor_name="mine")


async def test_a_store_that_gives_something_else_than_a_cursor_is_named(face: Face) -> None:
    store = Plain()
    store.stored["tasks"] = "e1:4"  # type: ignore[assignment]
    with pytest.raises(InvalidArgumentError, match=r"load\('tasks'\) .* gave 'e1:4'"):
        await face.subscribe("tasks", cursors=store).open()


# --- one consumer a name ----------------------------------------------------------------------------------------------


async def test_a_second_consumer_under_a_name_is_refused_and_told_what_to_do(
    face: Face, server: ScriptedServer
) -> None:
    cursors = MemoryCursors()
    server.append("tasks", "task.failed")
    async with face.subscribe("tasks", types=["task.*"], start="start", cursors=cursors) as first:
        with pytest.raises(InvalidArgumentError, match=r"'tasks\?types=task\.\*'.*cursor_name="):
            await face.subscribe("tasks", types=["task.*"], cursors=cursors).open()
        with pytest.raises(InvalidArgumentError, match="cursor_name="):
            await face.on("task.*", print, cursors=cursors)
        async with face.subscribe("tasks", types=["task.*"], cursors=cursors, cursor_name="mine"):
            pass
        assert seqs(await take(first, 1)) == [1]  # the others took nothing from it
    async with face.subscribe("tasks", types=["task.*"], cursors=cursors) as again:
        server.append("tasks", "task.failed")
        assert seqs(await take(again, 1)) == [2]


async def test_a_name_is_free_when_its_topic_has_ended_or_its_consumer_was_dropped(
    face: Face, server: ScriptedServer
) -> None:
    cursors = MemoryCursors()
    server.append("tasks", "task.failed", terminal=True)
    ended = face.subscribe("tasks", start="start", cursors=cursors, cursor_name="n")
    await ended.open()
    assert len([item async for item in ended]) == 1
    dropped = face.subscribe("tasks", cursors=cursors, cursor_name="n")
    await dropped.open()
    del dropped
    gc.collect()
    async with face.subscribe("tasks", cursors=cursors, cursor_name="n"):
        pass


def test_a_name_is_free_when_the_loop_of_its_consumer_is_gone(server: ScriptedServer) -> None:
    cursors = MemoryCursors()
    client = WebSocketClient(server.url)
    feeds = []

    async def leave_open() -> None:
        feeds.append(client.subscribe("tasks", cursors=cursors))
        await feeds[-1].open()

    asyncio.run(leave_open())
    asyncio.run(leave_open())
    asyncio.run(client.close())


# --- plain stores -----------------------------------------------------------------------------------------------------


async def test_a_plain_store_is_called_on_its_consumers_own_thread(face: Face, server: ScriptedServer) -> None:
    store = Plain()
    for _ in range(2):
        server.append("tasks", "task.failed")
    if isinstance(face, AsyncFace):
        own = threading.current_thread().name
        async with face.subscribe("tasks", start="start", cursors=store) as feed:
            await take(feed, 2)
    else:
        own = "consumer"
        client = face.client
        assert isinstance(client, BlockingWebSocketClient)

        def consume() -> None:
            with client.subscribe("tasks", start="start", cursors=store) as feed:
                for _ in range(2):
                    next(feed)

        thread = threading.Thread(target=consume, name=own)
        thread.start()
        await asyncio.to_thread(thread.join)
    assert set(store.callers) == {own}
    assert exact(store.stored["tasks"]) == ("e1", 2, "e1-2")


async def test_a_handlers_plain_store_is_called_where_the_handler_runs(face: Face, server: ScriptedServer) -> None:
    store = Plain()
    server.append("tasks", "task.failed")
    registration = await face.on("task.*", lambda event: None, start="start", cursors=store)
    await until(lambda: registration.lag == 0)
    own = threading.current_thread().name if isinstance(face, AsyncFace) else "playcall-on-task.*"
    assert set(store.callers) == {own}
    assert exact(store.stored["tasks?types=task.*"]) == ("e1", 1, "e1-1")


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_a_file_serves_many_consumers_of_both_faces_at_once(server: ScriptedServer, tmp_path: Path) -> None:
    for _ in range(20):
        server.append("tasks")
    path = tmp_path / "cursors.db"

    def blocking(cursors: SqliteCursors, name: str) -> list[int]:
        with (
            BlockingWebSocketClient(server.url) as client,
            client.subscribe("tasks", start="start", cursors=cursors, cursor_name=name) as feed,
        ):
            return [next(feed).seq for _ in range(20)]

    async with SqliteCursors(path) as cursors, WebSocketClient(server.url) as client:

        async def awaiting(name: str) -> list[int]:
            async with client.subscribe("tasks", start="start", cursors=cursors, cursor_name=name) as feed:
                return seqs(await take(feed, 20, seconds=20))

        got = await asyncio.gather(
            *(awaiting(f"async {n}") for n in range(5)),
            *(asyncio.to_thread(blocking, cursors, f"blocking {n}") for n in range(3)),
        )
        assert got == [list(range(1, 21))] * 8
        for name in [*(f"async {n}" for n in range(5)), *(f"blocking {n}" for n in range(3))]:
            assert exact(await cursors.load(name)) == ("e1", 20, "e1-20")


async def test_a_closed_file_is_told_to_the_consumer_and_ends_a_handler(
    face: Face, server: ScriptedServer, tmp_path: Path
) -> None:
    cursors = SqliteCursors(tmp_path / "cursors.db")
    server.append("tasks", "task.failed")
    registration = await face.on("task.*", lambda event: cursors.close(), start="start", cursors=cursors)
    await until(lambda: not registration.active)
    async with SqliteCursors(tmp_path / "cursors.db") as again:
        assert await again.load("tasks?types=task.*") is None
    assert "is closed" in str(registration.error)
    with pytest.raises(RealtimeError, match="is closed"):
        await face.subscribe("tasks", cursors=cursors).open()


async def test_a_handler_whose_store_fails_stops_and_says_so(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    cursors = Broken(saves=1)
    seen: list[int] = []
    for _ in range(2):
        server.append("tasks", "task.failed")
    registration = await face.on("task.*", lambda event: seen.append(event.seq), start="start", cursors=cursors)
    await until(lambda: registration.error is not None)
    assert isinstance(registration.error, RealtimeError)
    assert isinstance(registration.error.__cause__, OSError)
    assert "cursor store raised OSError" in str(registration.error)
    await until(lambda: "gets no more events" in caplog.text)
    assert (seen, registration.errors, registration.set_aside) == ([1], 0, ())
    registration = await face.on("task.*", lambda event: seen.append(event.seq), start="start", cursors=cursors)
    await until(lambda: seen == [1, 1, 2])


async def test_a_handler_whose_store_cannot_be_read_is_not_registered(face: Face, server: ScriptedServer) -> None:
    cursors = Broken(loads=1)
    with pytest.raises(RealtimeError, match="cursor store raised OSError") as caught:
        await face.on("task.*", print, cursors=cursors)
    assert isinstance(caught.value.__cause__, OSError)
    await face.on("task.*", print, cursors=cursors)
