"""A value that stays current: opening it, its changes, and what is left of it, over a source that is played."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playcall import deadline
from playcall.errors import ClientClosedError, InvalidArgumentError, RealtimeTimeoutError
from playcall.models.cursor import Cursor
from tests.both_faces import FACES, items, value

from .played_value import FIRST, OVER, Played, snapshot
from .websocket_faces import until

PLACES = pytest.mark.parametrize("place", ["read", "follow"])


async def taken(changes: Any, limit: int | None = None) -> list[Any]:
    """What comes of them, at most `limit`, and soon."""
    async with asyncio.timeout(5):
        with deadline(5):
            return await items(changes, limit)


async def opened(live: Any, blocking: bool) -> None:
    """Opens it while the test goes on."""
    await (asyncio.to_thread(live.open) if blocking else live.open())


# --- its changes ------------------------------------------------------------------------------------------------------


@FACES
async def test_after_a_gap_it_is_what_was_read_then_also_where_that_is_older(blocking: bool) -> None:
    played = Played()
    live = played.live(blocking)
    await value(live.open())
    changes = live.changes()
    played.give(snapshot(3, Cursor("b", 20)))
    assert await taken(changes, 1) == [3]
    assert (live.value, live.cursor) == (3, Cursor("b", 20))
    changes = live.changes()
    played.give(4)
    assert await taken(changes, 1) == [4], "newer than what was restored"
    await value(live.close())


@FACES
async def test_changes_begin_where_they_are_asked_for_and_not_at_the_first_look(blocking: bool) -> None:
    played = Played()
    live = played.live(blocking)
    await value(live.open())
    changes = live.changes()
    played.give(OVER)
    await until(lambda: live.value == OVER)
    assert await taken(changes) == [OVER]
    assert await taken(live.changes()) == []
    await value(live.close())


@FACES
async def test_changes_of_what_is_not_open_are_refused_at_once(blocking: bool) -> None:
    with pytest.raises(InvalidArgumentError, match="is not open"):
        Played().live(blocking).changes()


# --- opening and closing ----------------------------------------------------------------------------------------------


@FACES
async def test_what_could_not_be_opened_is_not_open_and_may_be_tried_again(blocking: bool) -> None:
    played = Played()
    played.refusal = RealtimeTimeoutError("not answered")
    live = played.live(blocking)
    with pytest.raises(RealtimeTimeoutError):
        await value(live.open())
    for look in (lambda: live.value, lambda: live.cursor, lambda: live.error, live.changes):
        with pytest.raises(InvalidArgumentError, match="is not open"):
            look()
    await value(live.open())
    assert (live.value, live.cursor, played.subscribed) == (5, FIRST, 1)
    await value(live.close())


@FACES
async def test_it_is_opened_once(blocking: bool) -> None:
    played = Played()
    live = played.live(blocking)
    await value(live.open())
    with pytest.raises(InvalidArgumentError, match="make another"):
        await value(live.open())
    changes = live.changes()
    played.give(6)
    assert await taken(changes, 1) == [6], "the second attempt changed nothing"
    await value(live.close())
    with pytest.raises(InvalidArgumentError, match="make another"):
        await value(live.open())
    assert (live.value, played.subscribed) == (6, 0)


@FACES
async def test_what_is_closed_at_once_leaves_no_subscription(blocking: bool) -> None:
    played = Played()
    live = played.live(blocking)
    await value(live.open())
    await value(live.close())
    assert played.subscribed == 0
    assert await taken(live.changes()) == []


@FACES
@PLACES
async def test_what_is_closed_while_it_opens_does_not_open_and_leaves_nothing(blocking: bool, place: str) -> None:
    played = Played(pause_at=place)
    live = played.live(blocking)
    opening = asyncio.create_task(opened(live, blocking))
    assert await asyncio.to_thread(played.paused.wait, 5)
    try:
        with pytest.raises(InvalidArgumentError, match="make another"):
            await value(live.open())
        await value(live.close())
    finally:
        played.go_on()
    with pytest.raises(ClientClosedError, match="before it was open"):
        await opening
    assert played.subscribed == 0
    with pytest.raises(InvalidArgumentError, match="is not open"):
        live.changes()


@PLACES
async def test_a_cancelled_opening_leaves_nothing_and_may_be_tried_again(place: str) -> None:
    played = Played(pause_at=place)
    live = played.live(blocking=False)
    opening = asyncio.create_task(live.open())
    await asyncio.to_thread(played.paused.wait, 5)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert played.subscribed == 0
    await live.open()
    assert (live.value, played.subscribed) == (5, 1)
    await live.close()


def test_a_forked_child_is_told_that_it_is_the_parents_and_is_kept_waiting_by_nothing() -> None:
    script = """
import os, signal
from tests.services.played_value import Played

played = Played()
live = played.live(blocking=True)
live.open()
begun = live.changes()
pid = os.fork()
if pid == 0:
    signal.alarm(10)  # what waits is not waited for
    for act in (lambda: next(begun), live.changes, live.open):
        try:
            act()
        except Exception as error:
            print(type(error).__name__, flush=True)
    live.close()
    print("closed", live.value, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
played.give(6)
print("parent", next(begun), flush=True)
live.close()
print(played.subscribed, flush=True)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    told = ["ClientClosedError", "ClientClosedError", "ClientClosedError", "closed 5"]
    assert (ended.stdout.splitlines(), ended.stderr) == ([*told, "parent 6", "0"], "")
