"""Connection status: the table of facts and states, and how changes are told."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from playcall import BaseAPIClient, BlockingAPIClient, OAuth2Password, RetryPolicy, deadline
from playcall.errors import (
    AuthenticationError,
    ConnectFailedError,
    ConnectionLostError,
    DeadlineExceededError,
    RedirectRefusedError,
    RequestError,
    error_for_status,
)
from playcall.faces import Awaiting
from playcall.status import ConnectionStatus, Status, StatusBoard
from playcall.status.connection_status import CHANGES_KEPT
from playcall.testing import MockAnswer, MockFault, MockRequest
from playcall.timeline import Timeline
from tests.both_faces import FACES, api, items, playcall, using, value
from tests.misbehaving_server import answer, ok
from tests.returning_server import ReturningServer

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


def unjudged(status: int) -> Fact:
    """The health path or the token endpoint says no: neither looks at what other calls are refused for."""

    def fact(board: StatusBoard) -> None:
        board.call_failed(refused(status), judged=False)

    fact.__name__ = f"unjudged_{status}"
    return fact


def probe_answered(board: StatusBoard) -> None:
    board.succeeded(0.01, judged=False)


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
    ([said(401), said(404)], "online"),
    ([said(401), no_answer], "offline"),
    ([said(401), said(503)], "degraded"),
    ([probe_answered], "online"),
    ([no_answer, probe_answered], "online"),
    # What needs no credentials proves nothing of those that were refused.
    ([said(401), probe_answered], "auth_failed"),
    ([said(401), unjudged(404)], "auth_failed"),
    ([said(401), no_answer, probe_answered], "auth_failed"),
    ([said(401), said(503), probe_answered], "auth_failed"),
    ([said(401), answered, probe_answered], "online"),
    ([said(401), said(404), no_answer, probe_answered], "online"),
    # A health path that refuses credentials looks at them.
    ([unjudged(401)], "auth_failed"),
    ([unjudged(401), probe_answered], "online"),
    ([said(401), unjudged(401), probe_answered], "online"),
    ([unjudged(401), said(401), probe_answered], "auth_failed"),
    # What could not be had, and now is.
    ([no_credentials, probe_answered], "online"),
    ([no_credentials, unjudged(400)], "auth_failed"),
    ([said(401), no_credentials, probe_answered], "auth_failed"),
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
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.INFO] == [
        "connection connecting -> online",
        "connection online -> degraded",
    ]


def test_a_callback_that_another_has_unsubscribed_meanwhile_is_not_told() -> None:
    board = StatusBoard()
    told: list[str] = []
    board.subscribe(lambda picture: stop())
    stop = board.subscribe(lambda picture: told.append(picture.state))
    board.succeeded(1)
    assert told == []


def test_one_function_subscribed_twice_is_two_subscriptions() -> None:
    board = StatusBoard()
    told: list[str] = []

    def callback(picture: Status) -> None:
        told.append(picture.state)

    stop = board.subscribe(callback)
    board.subscribe(callback)
    board.succeeded(1)
    stop()
    stop()
    board.attempt_failed("x")
    assert told == ["online", "online", "degraded"]


def test_a_callback_that_raises_hurts_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    board = StatusBoard()
    told: list[Status] = []
    board.subscribe(lambda picture: 1 / 0)
    board.subscribe(told.append)
    board.succeeded(1)
    assert len(told) == 1
    assert "a status callback raised" in caplog.text


def test_a_callback_that_ends_its_thread_s_work_leaves_the_telling_to_the_next_change() -> None:
    board = StatusBoard()
    told: list[str] = []

    def callback(picture: Status) -> None:
        told.append(picture.state)
        if picture.state == "online":
            raise KeyboardInterrupt

    board.subscribe(callback)
    with pytest.raises(KeyboardInterrupt):
        board.succeeded(1)
    board.attempt_failed("x")
    assert told == ["online", "degraded"]


def test_a_slow_callback_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    board = StatusBoard(clock=lambda: now)

    def slow(picture: Status) -> None:
        nonlocal now
        now += 3

    board.subscribe(slow)
    for _ in range(2):
        board.succeeded(1)
        board.attempt_failed("x")
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "a status callback held its thread, and all that runs there, for 3.00 s: let it hand its work to another"
    ]


def test_a_change_that_a_callback_makes_is_told_after_the_one_it_was_told() -> None:
    board = StatusBoard()
    told: list[tuple[str, str]] = []

    def first(picture: Status) -> None:
        told.append(("first", picture.state))
        if picture.state == "online":
            board.closed()

    board.subscribe(first)
    board.subscribe(lambda picture: told.append(("second", picture.state)))
    board.succeeded(1)
    assert told == [("first", "online"), ("second", "online"), ("first", "closed"), ("second", "closed")]


def test_while_a_callback_blocks_other_threads_go_on_and_their_changes_are_told_in_order() -> None:
    board = StatusBoard()
    told: list[str] = []
    blocked, go_on = threading.Event(), threading.Event()

    def callback(picture: Status) -> None:
        told.append(picture.state)
        if picture.state == "online":
            blocked.set()
            assert go_on.wait(20)

    board.subscribe(callback)
    thread = threading.Thread(target=board.succeeded, args=(1,))
    thread.start()
    assert blocked.wait(20)
    board.attempt_failed("x")  # does not wait for the callback
    board.closed()
    assert told == ["online"]
    assert board.current.state == "closed"
    go_on.set()
    thread.join(20)
    assert told == ["online", "degraded", "closed"]


def test_subscribers_of_many_threads_hear_every_change_in_its_order() -> None:
    board = StatusBoard()
    told: list[str] = []
    board.subscribe(lambda picture: told.append(picture.state))
    problems: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for n in range(200):
                mine: list[str] = []
                stop = board.subscribe(lambda picture, mine=mine: mine.append(picture.state))
                (answered, attempt_failed, no_answer)[n % 3](board)
                stop()
                assert all(a != b for a, b in itertools.pairwise(mine))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert problems == []
    # Each change is told once, so that no two in a row are the same, and the last is how it stands.
    assert all(a != b for a, b in itertools.pairwise(told))
    assert told[-1] == board.current.state


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


def test_a_forked_child_has_neither_the_parent_s_event_connection_nor_its_iterations() -> None:
    board = StatusBoard()
    board.call_failed(ConnectionLostError("lost", timeline=TIMELINE))
    board.realtime("ready")
    assert board.current.state == "degraded"
    heard: list[str] = []
    board.listen(lambda picture: heard.append(picture.state))
    board.after_fork()
    assert (board.current.state, board.current.realtime) == ("offline", None)
    board.succeeded(1)
    assert heard == ["degraded"]


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
    assert board._listeners == []
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


async def test_a_callback_that_blocks_keeps_no_change_from_an_iteration() -> None:
    board = StatusBoard()
    status: ConnectionStatus[Awaiting] = ConnectionStatus(board, never)
    go_on = threading.Event()
    board.subscribe(lambda picture: go_on.wait(20))
    changes = status.changes()
    assert (await anext(changes)).state == "connecting"
    telling = asyncio.get_running_loop().run_in_executor(None, board.succeeded, 1)
    assert (await asyncio.wait_for(anext(changes), 10)).state == "online"
    go_on.set()
    await telling
    await changes.aclose()  # type: ignore[attr-defined]


def test_an_iteration_whose_loop_has_closed_hurts_nobody() -> None:
    board = StatusBoard()
    status: ConnectionStatus[Awaiting] = ConnectionStatus(board, never)
    loop = asyncio.new_event_loop()
    changes = status.changes()
    loop.run_until_complete(anext(changes))
    loop.close()
    board.succeeded(1)
    assert board.current.state == "online"


# --- through a client -------------------------------------------------------------------------------------------------


def there(request: MockRequest) -> MockAnswer:
    return MockAnswer(json={})


@FACES
async def test_changes_end_with_the_close_of_the_client(blocking: bool) -> None:
    async with playcall(blocking, there) as client:
        seen: list[str] = []
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def watch() -> None:
            async for picture in client.status.changes():
                seen.append(picture.state)
                began.set()

        def watch_on_a_thread() -> None:
            for picture in client.status.changes():
                seen.append(picture.state)
                loop.call_soon_threadsafe(began.set)

        watching = asyncio.create_task(asyncio.to_thread(watch_on_a_thread) if blocking else watch())
        await asyncio.wait_for(began.wait(), 10)
        await value(client.status.wait_until_ready(10))
        await value(client.close())
        await asyncio.wait_for(watching, 10)
        assert seen == ["connecting", "online", "closed"]
        assert [picture.state for picture in await items(client.status.changes())] == ["closed"]


@FACES
async def test_changes_obey_the_deadline_of_whoever_waits_for_them(blocking: bool) -> None:
    async with playcall(blocking, lambda request: MockAnswer(json={})) as client:
        changes = client.status.changes()  # made outside
        with pytest.raises(DeadlineExceededError, match=r"changes.*: nothing more came before"), deadline(0.05):
            await items(changes)


@FACES
async def test_changes_can_be_left_early(blocking: bool) -> None:
    async with playcall(blocking, there) as client:
        changes = client.status.changes()
        if blocking:
            with changes:
                assert next(changes).state == "connecting"
            assert list(changes) == []
        else:
            assert (await anext(changes)).state == "connecting"
            await changes.aclose()
        assert client._api.engine.status._listeners == []


@FACES
async def test_the_picture_shows_load_and_budget(blocking: bool) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()

    async def handler(request: MockRequest) -> MockAnswer | MockFault:
        if request.path == "/base/refusing":
            return MockFault.not_sent()
        arrived.release()
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return MockAnswer(json={})

    async with api(blocking, handler, max_concurrency=1, retry=RetryPolicy(attempts=3, initial_seconds=0)) as client:
        idle = client.status.current
        assert (idle.in_flight, idle.waiting, idle.retry_tokens) == (0, 0, 20)

        async def get() -> None:
            await (asyncio.to_thread(client.get, "/x") if blocking else client.get("/x"))

        calls = [asyncio.create_task(get()) for _ in range(3)]
        assert await asyncio.to_thread(arrived.acquire, timeout=10)
        async with asyncio.timeout(10):
            while client.status.current.waiting < 2:
                await asyncio.sleep(0.001)
        assert client.status.current.in_flight == 1
        go_on.set()
        await asyncio.gather(*calls)
        with pytest.raises(ConnectFailedError):
            await value(client.get("/refusing"))
        after = client.status.current
        assert (after.in_flight, after.waiting, after.retry_tokens) == (0, 0, 18)
        assert after.success_rate == pytest.approx(3 / 6)
        assert after.latency_p50_ms is not None
        assert after.state == "offline"


@FACES
async def test_waiting_lasts_through_a_refusing_port_and_a_503_to_the_200(blocking: bool) -> None:
    server = ReturningServer(lambda request: answer(503) if request.number <= 2 else ok({}))
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    async with using(kind(server.url, health_path="/ready")) as client:
        states: list[str] = []
        offline = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told(picture: Status) -> None:
            states.append(picture.state)
            if picture.state == "offline":
                loop.call_soon_threadsafe(offline.set)

        client.status.subscribe(told)
        waiting = asyncio.create_task(
            asyncio.to_thread(client.status.wait_until_ready, 30) if blocking else client.status.wait_until_ready(30)
        )
        await asyncio.wait_for(offline.wait(), 10)
        async with server:
            picture = await waiting
        assert picture.state == "online"
        assert states == ["offline", "degraded", "online"]
        assert [request.target for request in server.requests] == ["/ready"] * 3


async def test_waiting_tries_to_the_end_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a pause before the end is no reason to give up: the pauses shrink with what is left."""
    now = 0.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    async def probe() -> None:
        raise ConnectionLostError("gone", timeline=TIMELINE)

    status: ConnectionStatus[Awaiting] = ConnectionStatus(StatusBoard(), probe)
    monkeypatch.setattr("playcall.status.connection_status.asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("playcall.status.connection_status.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("playcall.status.connection_status.nearest", lambda seconds: now + seconds)
    with pytest.raises(DeadlineExceededError, match="not ready within 5 s: gone"):
        await status.wait_until_ready(5)
    assert 4.95 <= now < 5
    assert max(slept) <= 1
    assert min(slept) > 0


@FACES
async def test_waiting_heeds_an_outer_deadline(blocking: bool) -> None:
    async with playcall(blocking, lambda request: MockAnswer(503)) as client:
        began_at = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceededError, match="not ready within") as caught, deadline(0.2):
            await value(client.status.wait_until_ready(60))
        said = re.search(r"within (\S+) s", str(caught.value))
        assert said is not None
        assert 0 < float(said[1]) <= 0.2  # the hop to the loop thread takes its part
        assert asyncio.get_running_loop().time() - began_at < 30


@FACES
async def test_a_healthy_backend_does_not_make_refused_credentials_good(blocking: bool) -> None:
    good = False

    def handler(request: MockRequest) -> MockAnswer:
        if request.path == "/base/health" or good:
            return MockAnswer(json={})
        return MockAnswer(401)

    async with api(blocking, handler) as client:
        with pytest.raises(AuthenticationError):
            await value(client.get("/x"))
        picture = await value(client.status.wait_until_ready(10))
        assert picture.state == client.status.current.state == "auth_failed"
        good = True
        await value(client.get("/x"))
        assert client.status.current.state == "online"


async def test_nor_does_a_health_path_that_is_not_there() -> None:
    async with api(False, lambda request: MockAnswer(404 if request.path == "/base/health" else 401)) as client:
        with pytest.raises(AuthenticationError):
            await client.get("/x")
        async with client.status.monitor(0.1):
            async with asyncio.timeout(20):
                while client.status.current.last_error is None or "404" not in client.status.current.last_error:
                    await asyncio.sleep(0.01)
        assert client.status.current.state == "auth_failed"


@FACES
async def test_tokens_that_are_given_but_not_accepted_are_no_moment_of_being_online(blocking: bool) -> None:
    def handler(request: MockRequest) -> MockAnswer:
        if request.path.endswith("/auth/token"):
            pair = {"access_token": f"t{time.monotonic_ns()}", "refresh_token": "r", "token_type": "bearer"}
            return MockAnswer(json={**pair, "expires_in": 900})
        return MockAnswer(401)

    async with playcall(blocking, handler, auth=OAuth2Password("ann", "pw")) as client:
        with pytest.raises(AuthenticationError):
            await value(client.account.me())
        states: list[str] = []
        client.status.subscribe(lambda picture: states.append(picture.state))
        with pytest.raises(AuthenticationError):
            await value(client.account.me())
        assert sum(request.path.endswith("/auth/token") for request in client._api.engine.transport.requests) >= 2
        assert states == []
