"""Connection status: the table of facts and states, and how changes are told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from playcall.errors import (
    ConnectionLostError,
    DeadlineExceededError,
    RedirectRefusedError,
    RequestError,
    error_for_status,
)
from playcall.faces import Awaiting
from playcall.status import CHANGES_KEPT, ConnectionStatus, Status, StatusBoard
from playcall.timeline import Timeline

TIMELINE = Timeline("GET", "/x", None)
Fact = Callable[[StatusBoard], None]


def refused(status: int) -> RequestError:
    return error_for_status(status, None)("no", timeline=TIMELINE, status=status)


def answered(board: StatusBoard) -> None:
    board.succeeded(0.01)


def attempt_failed(board: StatusBoard) -> None:
    board.attempt_failed("503")


def no_answer(board: StatusBoard) -> None:
    board.call_failed(ConnectionLostError("lost", timeline=TIMELINE))


def too_late(board: StatusBoard) -> None:
    board.call_failed(DeadlineExceededError("late", timeline=TIMELINE))


def redirected(board: StatusBoard) -> None:
    board.call_failed(RedirectRefusedError("there", timeline=TIMELINE))


def no_credentials(board: StatusBoard) -> None:
    board.auth_failed("none")


def closed(board: StatusBoard) -> None:
    board.closed()


def said(status: int) -> Fact:
    def fact(board: StatusBoard) -> None:
        board.call_failed(refused(status))

    fact.__name__ = str(status)
    return fact


def realtime(state: str, *, auth_failed: bool = False) -> Fact:
    def fact(board: StatusBoard) -> None:
        board.realtime(state, auth_failed=auth_failed)

    fact.__name__ = f"realtime_{state}{'_auth' if auth_failed else ''}"
    return fact


TABLE: list[tuple[list[Fact], str]] = [
    ([], "connecting"),
    ([answered], "online"),
    ([said(404)], "online"),
    ([said(422)], "online"),
    ([said(403)], "online"),
    ([redirected], "online"),
    ([said(500)], "degraded"),
    ([said(503)], "degraded"),
    ([said(429)], "degraded"),
    ([attempt_failed], "degraded"),
    ([answered, attempt_failed], "degraded"),
    ([attempt_failed, answered], "online"),
    ([no_answer], "offline"),
    ([too_late], "offline"),
    ([no_answer, attempt_failed], "offline"),
    ([no_answer, said(404)], "online"),
    ([no_answer, said(503)], "degraded"),
    ([no_answer, answered], "online"),
    ([said(401)], "auth_failed"),
    ([no_credentials], "auth_failed"),
    ([said(401), attempt_failed], "auth_failed"),
    ([said(401), answered], "online"),
    ([realtime("ready")], "online"),
    ([realtime("connecting")], "connecting"),
    ([realtime("backoff")], "offline"),
    ([realtime("failed")], "offline"),
    ([answered, realtime("backoff")], "degraded"),
    ([answered, realtime("failed")], "degraded"),
    ([answered, realtime("ready")], "online"),
    ([no_answer, realtime("ready")], "degraded"),
    ([no_answer, realtime("backoff")], "offline"),
    ([attempt_failed, realtime("ready")], "degraded"),
    ([answered, realtime("failed", auth_failed=True)], "auth_failed"),
    ([realtime("failed", auth_failed=True), realtime("ready")], "online"),
    ([closed], "closed"),
    ([answered, closed, answered], "closed"),
    ([closed, no_answer, realtime("backoff")], "closed"),
]


@pytest.mark.parametrize(
    ("facts", "state"),
    TABLE,
    ids=lambda value: "+".join(f.__name__ for f in value) or "nothing" if isinstance(value, list) else value,
)
def test_the_facts_make_the_state(facts: list[Fact], state: str) -> None:
    board = StatusBoard()
    for fact in facts:
        fact(board)
    assert board.current.state == state


def test_the_figures_are_of_the_last_attempts() -> None:
    board = StatusBoard()
    nothing = board.current
    assert (nothing.latency_p50_ms, nothing.latency_p95_ms, nothing.success_rate) == (None, None, None)
    for n in range(1, 101):
        board.succeeded(n / 1000)
    board.attempt_failed("503 once")
    picture = board.current
    assert picture.latency_p50_ms == pytest.approx(51)
    assert picture.latency_p95_ms == pytest.approx(96)
    assert picture.success_rate == pytest.approx(100 / 101)
    assert picture.last_error == "503 once"
    for _ in range(1000):
        board.succeeded(1)
    assert board.current.success_rate == 1


def test_a_change_is_told_once_and_to_nobody_who_left(caplog: pytest.LogCaptureFixture) -> None:
    board = StatusBoard()
    told: list[str] = []
    stop = board.subscribe(lambda picture: told.append(picture.state))
    with caplog.at_level(logging.INFO, "playcall.http"):
        board.succeeded(1)
        board.succeeded(1)
        board.attempt_failed("x")
    stop()
    stop()
    board.succeeded(1)
    assert told == ["online", "degraded"]
    assert [r.getMessage() for r in caplog.records] == [
        "connection connecting -> online",
        "connection online -> degraded",
    ]


def test_a_callback_that_raises_hurts_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    board = StatusBoard()
    told: list[Status] = []
    board.subscribe(lambda picture: 1 / 0)
    board.subscribe(told.append)
    board.succeeded(1)
    assert len(told) == 1
    assert "a status callback raised" in caplog.text


def test_a_success_wakes_the_pause_of_realtime() -> None:
    board = StatusBoard()
    nudges: list[int] = []
    board.nudge = lambda: nudges.append(1)
    board.succeeded(1)
    board.realtime("backoff", reconnects=3)
    board.succeeded(1)
    assert nudges == [1]
    assert board.current.realtime == "backoff"
    assert board.current.reconnects == 3


def test_facts_of_many_threads_lose_no_lock() -> None:
    board = StatusBoard()

    def run() -> None:
        for n in range(300):
            (answered, attempt_failed, no_answer)[n % 3](board)
            assert board.current.state

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    board.after_fork()
    board.succeeded(1)
    assert board.current.state == "online"


async def never() -> None:
    raise AssertionError("no probe is needed here")


async def test_changes_begin_with_the_picture_now_and_end_with_the_close() -> None:
    board = StatusBoard()
    status: ConnectionStatus[Awaiting] = ConnectionStatus(board, never)

    async def watch() -> list[str]:
        return [picture.state async for picture in status.changes()]

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    board.succeeded(1)
    await asyncio.to_thread(board.attempt_failed, "x")
    await asyncio.sleep(0.01)
    board.closed()
    assert await asyncio.wait_for(watching, 2) == ["connecting", "online", "degraded", "closed"]
    assert board._callbacks == []
    assert [picture.state async for picture in status.changes()] == ["closed"]


async def test_a_slow_reader_of_changes_loses_the_oldest() -> None:
    board = StatusBoard()
    status: ConnectionStatus[Awaiting] = ConnectionStatus(board, never)
    changes = status.changes()
    assert (await anext(changes)).state == "connecting"
    for _ in range(CHANGES_KEPT):
        board.succeeded(1)
        board.attempt_failed("x")
    board.closed()
    rest = [picture.state async for picture in changes]
    assert len(rest) == CHANGES_KEPT
    assert rest[-1] == "closed"
