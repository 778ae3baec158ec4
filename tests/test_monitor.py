"""Probes keep the picture of an idle client true, and are made only when it is idle."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from playcall import AsyncPlaycall, BaseAPIClient, BlockingAPIClient, Playcall, RetryPolicy, deadline
from playcall.deadline import nearest
from playcall.errors import (
    ClientClosedError,
    ConfigurationError,
    ConnectFailedError,
    CredentialsError,
    DeadlineExceededError,
    InvalidArgumentError,
    NoSlotError,
    RealtimeError,
    ServiceUnavailableError,
    error_for_status,
)
from playcall.faces import Awaiting
from playcall.loop_thread import LoopThread
from playcall.status import BlockingMonitor, ConnectionState, ConnectionStatus, Monitor, StatusBoard
from playcall.status.schedule import pause_seconds
from playcall.testing import MockAnswer, MockFault, MockRequest, MockTransport
from playcall.timeline import Timeline
from tests.both_faces import FACES, api, playcall, using, value
from tests.misbehaving_server import ok
from tests.returning_server import ReturningServer
from tests.virtual_clock import run

TIMELINE = Timeline("GET", "/ready", None)
HOUR = 3600.0


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "probes", "idle", "least", "most"),
    [
        ("online", 0, 15, 15, 18),
        ("online", 99, 15, 15, 18),
        ("connecting", 0, 15, 15, 18),
        ("offline", 0, 15, 0.5, 1),
        ("offline", 1, 15, 1, 2),
        ("offline", 3, 15, 4, 8),
        ("offline", 4, 15, 7.5, 15),
        ("offline", 10_000, 15, 7.5, 15),
        ("offline", 10_000, 300, 15, 30),
        ("offline", 0, 0.2, 0.1, 0.2),
        ("degraded", 2, 15, 2, 4),
        ("auth_failed", 0, 15, 60, 72),
        ("auth_failed", 1, 15, 120, 144),
        ("auth_failed", 10_000, 15, 600, 720),
        ("auth_failed", 0, 1000, 1000, 1200),
    ],
)
def test_the_pause_is_short_in_trouble_and_long_while_refused(
    state: str, probes: int, idle: float, least: float, most: float
) -> None:
    named = ConnectionState(state)
    assert pause_seconds(named, probes, idle, 0.0) == pytest.approx(least)
    assert pause_seconds(named, probes, idle, 1.0) == pytest.approx(most)
    assert least < pause_seconds(named, probes, idle, 0.5) < most


class Backend:
    """A board, its status, and a backend that answers a probe as `now_it` says, after `takes_seconds`.

    Make it on the loop whose clock it is to have.
    """

    def __init__(self, draw: Callable[[], float] = lambda: 0.0, takes_seconds: float = 0.0) -> None:
        self.clock = asyncio.get_running_loop().time
        self.began_at = self.clock()
        self.board = StatusBoard(clock=self.clock, random=draw)
        self.status: ConnectionStatus[Awaiting] = ConnectionStatus(self.board, self.probe)
        self.takes_seconds = takes_seconds
        self.probed_at: list[float] = []
        self.at_once = self.most_at_once = 0
        self.cancelled = 0
        self.now_it: Callable[[], object] = self.answers

    async def probe(self) -> None:
        self.probed_at.append(self.clock() - self.began_at)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes_seconds)
            self.now_it()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1

    def answers(self) -> None:
        self.board.succeeded(0.01, judged=False)

    def is_gone(self) -> None:
        error = ConnectFailedError("no connection", timeline=TIMELINE)
        self.board.call_failed(error, judged=False)
        raise error

    def refuses(self) -> None:
        error = error_for_status(401, None)("no", timeline=TIMELINE, status=401)
        self.board.call_failed(error, judged=False)
        raise error

    @property
    def pauses(self) -> list[float]:
        return [round(b - a, 6) for a, b in zip(self.probed_at, self.probed_at[1:], strict=False)]


def test_an_idle_client_is_probed_at_once_and_then_in_every_pause() -> None:
    async def main() -> None:
        backend = Backend()
        async with backend.status.monitor():
            await asyncio.sleep(50)
            assert backend.status.current.state == "online"
        assert backend.probed_at == [0, 15, 30, 45]
        await asyncio.sleep(HOUR)
        assert len(backend.probed_at) == 4

    run(main())


@pytest.mark.parametrize("fact", ["success", "failure"])
def test_while_traffic_flows_there_is_no_probe(fact: str) -> None:
    async def main() -> None:
        backend = Backend()
        lost = error_for_status(404, None)("no", timeline=TIMELINE, status=404)
        async with backend.status.monitor(15):
            await asyncio.sleep(10)
            for _ in range(200):
                if fact == "success":
                    backend.board.succeeded(0.01)
                else:
                    backend.board.call_failed(lost)
                await asyncio.sleep(7)
            assert backend.probed_at == [0]
            await asyncio.sleep(10)
        assert backend.probed_at == [0, 10 + 199 * 7 + 15]

    run(main())


def test_failing_calls_in_trouble_keep_probes_away_too() -> None:
    async def main() -> None:
        backend = Backend()
        async with backend.status.monitor(15):
            await asyncio.sleep(1)
            for _ in range(1000):
                backend.board.attempt_failed("503")
                await asyncio.sleep(0.4)
            assert backend.probed_at == [0]

    run(main())


def test_a_backend_in_trouble_is_probed_soon_then_less_and_less_and_is_seen_to_come_back() -> None:
    async def main() -> None:
        backend = Backend(draw=lambda: 1.0)
        backend.board.succeeded(0.01)
        async with backend.status.monitor(15):
            await asyncio.sleep(10)
            with pytest.raises(ConnectFailedError):
                backend.is_gone()
            backend.now_it = backend.is_gone
            await asyncio.sleep(100)
            assert backend.status.current.state == "offline"
            assert backend.probed_at[0] == pytest.approx(11)
            assert backend.pauses == pytest.approx([2, 4, 8, 15, 15, 15, 15, 15])
            backend.now_it = backend.answers
            await asyncio.sleep(15)
            assert backend.status.current.state == "online"
            await asyncio.sleep(HOUR)
            assert set(backend.pauses[-100:]) == {18}
            backend.now_it = backend.is_gone
            del backend.probed_at[:]
            await asyncio.sleep(30)
            assert backend.pauses[:3] == pytest.approx([1, 2, 4])

    run(main())


def test_a_backend_that_fails_now_this_way_now_that_is_in_one_trouble() -> None:
    async def main() -> None:
        backend = Backend(draw=lambda: 1.0)

        def struggles() -> None:
            backend.board.call_failed(error_for_status(503, None)("503", timeline=TIMELINE, status=503), judged=False)
            backend.now_it = dies

        def dies() -> None:
            backend.now_it = struggles
            backend.is_gone()

        backend.now_it = dies
        async with backend.status.monitor(15):
            await asyncio.sleep(59)
        assert backend.pauses == pytest.approx([1, 2, 4, 8, 15, 15])

    run(main())


def test_no_two_pauses_are_the_same() -> None:
    async def main() -> None:
        backend = Backend(draw=random.Random(3).random)
        async with backend.status.monitor(15):
            await asyncio.sleep(HOUR)
        assert len(set(backend.pauses)) == len(backend.pauses) > 190
        assert all(15 <= pause < 18 for pause in backend.pauses)

    run(main())


def test_clients_of_one_backend_do_not_probe_in_step() -> None:
    async def main() -> None:
        drawn = random.Random(7)
        backends = [Backend(draw=drawn.random) for _ in range(100)]
        monitors = [backend.status.monitor(15) for backend in backends]
        await asyncio.sleep(HOUR)
        for backend in backends:
            backend.now_it = backend.is_gone
        await asyncio.sleep(300)
        busiest = max(
            sum(any(second <= at < second + 1 for at in backend.probed_at) for backend in backends)
            for second in range(int(HOUR) + 200, int(HOUR) + 300)
        )
        # Each probes in a pause of 7.5 to 15 s, so some nine of a hundred are due in a second; in step it would be all.
        assert busiest < 25
        for monitor in monitors:
            await monitor.close()

    run(main())


def test_refused_credentials_are_tried_less_and_less_and_accepted_ones_are_seen() -> None:
    async def main() -> None:
        backend = Backend()
        backend.now_it = backend.refuses
        async with backend.status.monitor(15):
            await asyncio.sleep(2 * HOUR)
            assert backend.status.current.state == "auth_failed"
            assert backend.pauses == pytest.approx([60, 120, 240, 480, *[600] * 10])
            backend.now_it = backend.answers
            await asyncio.sleep(600)
            assert backend.status.current.state == "online"
            assert backend.pauses[-1] == 15

    run(main())


def test_heartbeats_of_events_are_traffic() -> None:
    async def main() -> None:
        backend = Backend()
        backend.board.succeeded(0.01)
        backend.board.realtime("ready")
        async with backend.status.monitor(15):
            await asyncio.sleep(HOUR)
            assert backend.probed_at == []
            backend.board.realtime("backoff")
            await asyncio.sleep(2)
            assert backend.probed_at[0] == pytest.approx(HOUR + 0.5)

    run(main())


def test_events_that_go_on_do_not_hide_that_calls_get_no_answer() -> None:
    async def main() -> None:
        backend = Backend()
        backend.board.realtime("ready")
        async with backend.status.monitor(15):
            await asyncio.sleep(100)
            with pytest.raises(ConnectFailedError):
                backend.is_gone()
            assert backend.status.current.state == "degraded"
            await asyncio.sleep(1)
            assert backend.status.current.state == "online"
        assert backend.probed_at == [100.5]

    run(main())


# --- whatever a probe meets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailedError("x", timeline=TIMELINE),
        DeadlineExceededError("x", timeline=TIMELINE),
        NoSlotError("x", timeline=TIMELINE),
        CredentialsError("x", timeline=TIMELINE),
        ServiceUnavailableError("x", timeline=TIMELINE, status=503),
        RealtimeError("x"),
        ConfigurationError("x"),
        ClientClosedError("of another client, which gives the credentials"),
        RuntimeError("x"),
        ExceptionGroup("x", [ValueError()]),
        TimeoutError(),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_monitor_survives_what_a_probe_raises_and_does_not_hurry(error: BaseException) -> None:
    async def main() -> None:
        backend = Backend()

        def raises() -> None:
            raise error

        backend.now_it = raises  # and no fact
        async with backend.status.monitor(15) as monitor:
            await asyncio.sleep(50)
            assert monitor.active
        assert backend.probed_at == [0, 15, 30, 45]

    run(main())


def test_a_bug_under_a_probe_is_logged_and_a_told_error_is_not_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        backend = Backend()
        async with backend.status.monitor(15):
            backend.now_it = backend.is_gone
            await asyncio.sleep(0.1)
            assert "a probe raised" not in caplog.text
            backend.now_it = lambda: 1 / 0
            await asyncio.sleep(1)
            assert "a probe raised" in caplog.text

    run(main())


def test_a_probe_has_nobody_s_deadline() -> None:
    async def main() -> None:
        backend = Backend()
        bounds: list[float | None] = []
        backend.now_it = lambda: bounds.append(nearest(None))
        with deadline(5):
            monitor = backend.status.monitor()
        await asyncio.sleep(1)
        await monitor.close()
        assert bounds == [None]

    run(main())


# --- several of one client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("takes_seconds", [0.0, 4.0])
def test_several_monitors_probe_as_one(gone: bool, takes_seconds: float) -> None:
    async def probes_with(idles: list[float]) -> list[float]:
        backend = Backend(takes_seconds=takes_seconds)
        if gone:
            backend.now_it = backend.is_gone
        monitors = [backend.status.monitor(idle) for idle in idles]
        await asyncio.sleep(599)
        for monitor in monitors:
            await monitor.close()
        assert backend.most_at_once == 1
        return [round(at, 6) for at in backend.probed_at]

    async def main() -> None:
        alone = await probes_with([15])
        assert len(alone) > 30
        for idles in ([15.0, 15.0], [60.0, 15.0, 3600.0], [15.0] * 5):
            assert await probes_with(idles) == alone

    run(main())


def test_a_monitor_that_ends_in_the_middle_of_a_probe_leaves_the_others_their_turn() -> None:
    async def main() -> None:
        backend = Backend(takes_seconds=1)
        first = backend.status.monitor(15)
        async with backend.status.monitor(15):
            await asyncio.sleep(0.5)
            await first.close()
            assert (backend.cancelled, first.active) == (1, False)
            await asyncio.sleep(20)
            assert backend.status.current.state == "online"
        assert len(backend.probed_at) == 2

    run(main())


def test_two_loops_at_once_probe_as_one() -> None:
    class Counting:
        def __init__(self) -> None:
            self.board = StatusBoard()
            self.status: ConnectionStatus[Awaiting] = ConnectionStatus(self.board, self.probe)
            self.probes = 0
            self.both, self.enough = threading.Barrier(2), threading.Event()

        async def probe(self) -> None:
            self.probes += 1
            self.board.succeeded(0.01, judged=False)

        def run(self) -> None:
            async def main() -> None:
                async with self.status.monitor(HOUR):
                    self.both.wait(20)
                    while not self.enough.is_set():
                        await asyncio.sleep(0.001)

            asyncio.run(main())

    counting = Counting()
    threads = [threading.Thread(target=counting.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20_000):
        if counting.probes:
            break
        threading.Event().wait(0.001)
    counting.enough.set()
    for thread in threads:
        thread.join(20)
    assert counting.probes == 1


# --- how it ends ------------------------------------------------------------------------------------------------------


def silent(request: MockRequest) -> Awaitable[MockAnswer]:
    async def never() -> MockAnswer:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    return never()


def there(request: MockRequest) -> MockAnswer:
    return MockAnswer(json={})


async def monitoring(status: Any) -> Any:
    """A monitor, and its first probe has been sent or answered."""
    monitor = status.monitor(HOUR)
    requests = status._probe.func.__self__.engine.transport.requests
    async with asyncio.timeout(10):
        while not requests:
            await asyncio.sleep(0.001)
    return monitor


def tasks_of(blocking: bool) -> set[asyncio.Task[Any]]:
    loop = LoopThread.shared()._loop if blocking else asyncio.get_running_loop()
    return {task for task in asyncio.all_tasks(loop) if "_keep_true" in repr(task)}


@FACES
async def test_close_cancels_the_probe_under_way_and_returns_when_nothing_runs(blocking: bool) -> None:
    async with playcall(blocking, silent) as client:
        monitor = await monitoring(client.status)
        assert isinstance(monitor, BlockingMonitor if blocking else Monitor)
        assert (monitor.active, monitor.idle_seconds) == (True, HOUR)
        assert "idle_seconds=3600 active=True" in repr(monitor)
        assert len(tasks_of(blocking)) == 1
        for _ in range(2):
            await value(monitor.close())
            assert not monitor.active
            assert tasks_of(blocking) == set()
        assert client._api.engine.status._listeners == []
        assert client.status.current.state == "connecting"  # a probe of ours that we cancelled says nothing


@FACES
async def test_the_client_s_close_ends_its_monitors(blocking: bool) -> None:
    async with playcall(blocking, silent) as client:
        monitors = [await monitoring(client.status), client.with_options(deadline_seconds=1).status.monitor()]
        await value(client.close())
        assert tasks_of(blocking) == set()
        assert not any(monitor.active for monitor in monitors)
        await value(monitors[0].close())
        with pytest.raises(ClientClosedError):
            client.status.monitor()
        assert client.status.current.state == "closed"


async def test_blocks_end_it() -> None:
    with Playcall("http://b", transport=MockTransport(there)) as client, client.status.monitor() as held:
        assert held.active
    assert not held.active
    async with AsyncPlaycall("http://b", transport=MockTransport(there)) as other, other.status.monitor() as mine:
        assert mine.active
    assert not mine.active


async def test_a_blocking_monitor_can_be_closed_by_a_callback_on_the_loop_thread() -> None:
    with Playcall("http://b", transport=MockTransport(there)) as client:
        monitor = await monitoring(client.status)
        told = threading.Event()

        def on_change(picture: object) -> None:
            assert LoopThread.shared().is_current_thread
            monitor.close()
            told.set()

        client.status.subscribe(on_change)
        LoopThread.shared().post(lambda: client._api.engine.status.attempt_failed("x"))
        assert await asyncio.to_thread(told.wait, 10)
        async with asyncio.timeout(10):
            while monitor.active:
                await asyncio.sleep(0.001)


def test_a_loop_that_ends_ends_its_monitors() -> None:
    client = AsyncPlaycall("http://b", transport=MockTransport(there))

    async def first() -> Monitor:
        return client.status.monitor()

    async def then() -> None:
        await monitor.close()
        async with client.status.monitor() as another:
            assert another.active
        await client.close()

    monitor = asyncio.run(first())
    assert not monitor.active
    asyncio.run(then())


async def test_another_loop_may_close_it() -> None:
    asyncio.get_running_loop().set_debug(True)  # which notices what another thread does to it
    async with AsyncPlaycall("http://b", transport=MockTransport(there)) as client:
        monitor = await monitoring(client.status)
        await asyncio.to_thread(asyncio.run, monitor.close())
        async with asyncio.timeout(10):
            while monitor.active:
                await asyncio.sleep(0.001)


def test_a_monitor_without_a_loop_is_refused_on_the_async_client() -> None:
    client = AsyncPlaycall("http://b", transport=MockTransport(there))
    with pytest.raises(RuntimeError, match="no running event loop"):
        client.status.monitor()
    asyncio.run(client.close())


@FACES
async def test_a_forgotten_client_is_collected_though_its_monitor_runs(blocking: bool) -> None:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    client = kind("http://b", transport=MockTransport(there))
    board, gone = client.engine.status, weakref.ref(client._owner)
    monitor = await monitoring(client.status)
    del client
    gc.collect()
    assert gone() is not None  # whoever holds the monitor holds what its client's clones share
    del monitor
    async with asyncio.timeout(10):
        while gone() is not None:
            await asyncio.sleep(0.001)
            gc.collect()
    board.attempt_failed("x")  # wakes it; else it would notice within the minute
    async with asyncio.timeout(10):
        while tasks_of(blocking):
            await asyncio.sleep(0.001)


@FACES
async def test_a_clone_that_nobody_keeps_is_probed_for_all_the_same_with_its_hooks(blocking: bool) -> None:
    paths: list[str] = []
    async with playcall(blocking, there) as client:
        client.with_options(hooks=[lambda start: paths.append(start.path)]).status.monitor(0.1)
        gc.collect()
        async with asyncio.timeout(10):
            while len(paths) < 2:
                await asyncio.sleep(0.001)
    assert set(paths) == {"/ready"}


def test_a_forgotten_client_s_monitor_notices_within_the_minute_however_long_its_pause_is() -> None:
    async def main() -> None:
        backend = Backend()
        backend.status.monitor(24 * HOUR)
        await asyncio.sleep(HOUR)
        assert len(tasks_of(blocking=False)) == 1
        del backend
        gc.collect()
        await asyncio.sleep(61)
        assert tasks_of(blocking=False) == set()

    run(main())


async def test_in_a_forked_child_the_monitor_is_gone_and_the_parent_s_goes_on() -> None:
    transport = MockTransport(there)
    with Playcall("http://b", transport=transport) as client:
        monitor = client.status.monitor(0.1)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                before = len(transport.requests)
                assert not monitor.active
                monitor.close()
                client.status.wait_until_ready(10)
                threading.Event().wait(0.5)
                assert len(transport.requests) == before + 1
                with client.status.monitor(0.1) as own:
                    assert own.active
                client.close()
                code = 0
            finally:
                os._exit(code)
        watchdog = threading.Timer(30, os.kill, (child, signal.SIGKILL))
        watchdog.start()
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        watchdog.cancel()
        assert status == 0
        assert monitor.active
        seen = len(transport.requests)
        async with asyncio.timeout(10):
            while len(transport.requests) < seen + 2:
                await asyncio.sleep(0.01)


@FACES
@pytest.mark.parametrize("idle", [0, -1, float("nan"), float("inf"), True, "15", None, 0.01, 1e-300])
async def test_an_idle_time_that_makes_no_sense_is_refused(blocking: bool, idle: Any) -> None:
    async with playcall(blocking, there) as client:
        with pytest.raises(InvalidArgumentError, match="idle_seconds"):
            client.status.monitor(idle)
        assert tasks_of(blocking) == set()


# --- through a client -------------------------------------------------------------------------------------------------


@FACES
async def test_a_probe_is_one_get_of_the_health_path_and_no_affair_of_the_retry_budget(blocking: bool) -> None:
    healthy = False

    def handler(request: MockRequest) -> MockAnswer | MockFault:
        if request.path == "/base/alive":
            return MockAnswer(json={}) if healthy else MockFault.connection_lost()
        return MockFault.not_sent()

    retry = RetryPolicy(attempts=2, initial_seconds=0)
    async with api(blocking, handler, health_path="/alive", retry=retry) as client:
        with pytest.raises(ConnectFailedError):
            await value(client.get("/x"))
        requests = client.engine.transport.requests
        del requests[:]
        monitor = client.status.monitor(0.1)
        async with asyncio.timeout(20):
            while len(requests) < 3:
                await asyncio.sleep(0.01)
            assert client.status.current.state == "offline"
            healthy = True
            while client.status.current.state != "online":
                await asyncio.sleep(0.01)
        await value(monitor.close())
        assert {(request.method, request.path) for request in requests} == {("GET", "/base/alive")}
        # One token went for the repeat of the user's own call; no probe took one, or earned one.
        assert client.status.current.retry_tokens == 19


def test_a_probe_that_gets_no_slot_gives_up_and_the_next_may_get_one() -> None:
    async def main() -> None:
        hanging = asyncio.Event()

        async def handler(request: MockRequest) -> MockAnswer:
            if request.path == "/base/long":
                await hanging.wait()
            return MockAnswer(json={})

        async with api(False, handler, max_concurrency=1, deadline_seconds=None) as client:
            client.engine.status._clock = asyncio.get_running_loop().time
            call = asyncio.create_task(client.get("/long"))
            await asyncio.sleep(0)
            async with client.status.monitor(15):
                await asyncio.sleep(4)
                assert client.status.current.waiting == 1
                await asyncio.sleep(2)
                assert client.status.current.waiting == 0
                assert client.status.current.state == "connecting"  # what was our own slot's lack says nothing
                hanging.set()
                await call
                await asyncio.sleep(20)
                assert [request.path for request in client.engine.transport.requests] == ["/base/long", "/base/health"]

    run(main())


@FACES
async def test_a_server_that_goes_and_comes_back_is_seen_by_an_idle_client(blocking: bool) -> None:
    server = ReturningServer(lambda request: ok({}))
    kind: Any = Playcall if blocking else AsyncPlaycall
    async with using(kind(server.url)) as client:
        states: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        client.status.subscribe(lambda picture: loop.call_soon_threadsafe(states.put_nowait, picture.state))

        async def next_state() -> str:
            return await asyncio.wait_for(states.get(), 20)

        monitor = None
        for _ in range(2):
            async with server:
                monitor = monitor or client.status.monitor(0.2)
                assert await next_state() == "online"
            # Gone, in the middle of an idle connection, and the port refuses.
            assert await next_state() == "offline"
        assert {request.target for request in server.requests} == {"/api/v1/ready"}
        await value(monitor.close())
