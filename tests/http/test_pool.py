"""Sessions: one a loop, closed with it, and never another loop's or another process's."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

import pytest

from playcall.errors import ClientClosedError
from playcall.http.pool import SessionPool
from playcall.http.transport import AiohttpTransport, WireRequest
from tests.misbehaving_server import MisbehavingServer, ok


def test_one_pool_serves_several_loops_one_after_another_and_leaves_nothing_open() -> None:
    pool = SessionPool()
    transport = AiohttpTransport(pool)
    sessions: list[object] = []

    async def once() -> None:
        async with MisbehavingServer(lambda r: ok(1)) as server:
            for _ in range(2):
                answer = await transport.send(WireRequest("GET", server.url, {}, None, 5.0))
                assert answer.status == 200
            assert server.connections == 1
            sessions.append(await pool.session())
            assert await pool.session() is sessions[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            asyncio.run(once())
            assert not pool._slots
        gc.collect()
    assert len({id(each) for each in sessions}) == 4
    assert all(each.closed for each in sessions)  # type: ignore[attr-defined]


async def test_after_close_no_session_is_made() -> None:
    pool = SessionPool()
    session = await pool.session()
    await pool.close()
    assert session.closed
    assert pool.closed
    with pytest.raises(ClientClosedError):
        await pool.session()
    await pool.close()


async def test_a_session_that_somebody_closed_is_replaced() -> None:
    pool = SessionPool()
    first = await pool.session()
    await first.close()
    second = await pool.session()
    assert second is not first
    assert not second.closed
    await pool.close()


async def test_closing_in_one_loop_has_the_sessions_of_other_living_loops_closed_by_them() -> None:
    pool = SessionPool()
    mine = await pool.session()
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    theirs = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(pool.session(), other))
    await pool.close()
    assert mine.closed
    async with asyncio.timeout(2):
        while not theirs.closed:
            await asyncio.sleep(0.005)
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(other.shutdown_asyncgens(), other))
    other.call_soon_threadsafe(other.stop)
    thread.join(5)
    other.close()


async def test_abandoning_closes_soon_and_says_whether_there_was_anything() -> None:
    pool = SessionPool()
    assert pool.abandon() is False
    pool = SessionPool()
    session = await pool.session()
    assert pool.abandon() is True
    async with asyncio.timeout(2):
        while not session.closed:
            await asyncio.sleep(0.005)
    assert pool.abandon() is False


async def test_a_forked_child_leaves_the_parent_s_sessions_alone() -> None:
    pool = SessionPool()
    session = await pool.session()
    pool.after_fork()
    assert await pool.session() is not session
    assert not session.closed
    await session.close()
    await pool.close()


async def test_no_task_makes_a_second_session_of_one_loop() -> None:
    pool = SessionPool()
    sessions = await asyncio.gather(*(pool.session() for _ in range(20)))
    assert len({id(each) for each in sessions}) == 1
    await pool.close()
