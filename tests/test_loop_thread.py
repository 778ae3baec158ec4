"""The loop behind the blocking face: Ctrl-C, fork, exit, and callbacks that misbehave.

What ends or splits a process is tried in processes of its own, with warnings as errors and a bound on their time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from playcall.blocking_iterator import BlockingIterator
from playcall.loop_thread import LoopThread
from tests.misbehaving_server import MisbehavingServer, ok, silence

ROOT = Path(__file__).parent.parent


def script(code: str, *args: str) -> list[str]:
    return [sys.executable, "-W", "error", "-X", "faulthandler", "-c", textwrap.dedent(code), *args]


async def run(code: str, *args: str, timeout_seconds: float = 30) -> str:
    """What the script printed; it must end by itself, in time, and say nothing on stderr."""
    process = await asyncio.create_subprocess_exec(
        *script(code, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_seconds)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"it did not end: {out.decode()} {err.decode()}")
    assert (process.returncode, err.decode()) == (0, ""), out.decode()
    return out.decode().strip()


def test_a_callback_that_raises_keeps_no_other_from_running(caplog: pytest.LogCaptureFixture) -> None:
    loop = LoopThread.shared()
    ran = threading.Event()

    def boom() -> None:
        raise RuntimeError("a callback of somebody's")

    def post_both() -> None:
        loop.post(boom)
        loop.post(ran.set)

    loop.post(post_both)
    assert ran.wait(3)
    assert "a callback of somebody's" in caplog.text


@pytest.mark.parametrize("it_was_woken", [False, True], ids=["before the wake-up", "after it"])
def test_a_ctrl_c_in_the_middle_of_a_post_costs_that_call_alone(
    it_was_woken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = LoopThread()
    wake = thread._loop.call_soon_threadsafe

    def interrupted(*arguments: object) -> None:
        monkeypatch.setattr(thread._loop, "call_soon_threadsafe", wake)
        if it_was_woken:
            wake(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    async def answer() -> int:
        return 42

    monkeypatch.setattr(thread._loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thread.call(answer)
    answered: list[int] = []
    caller = threading.Thread(target=lambda: answered.append(thread.call(answer)), daemon=True)
    caller.start()
    caller.join(10)
    assert answered == [42]
    thread._stop()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_raised_in_a_callback_or_a_task_does_not_end_the_loop(kind: type[BaseException]) -> None:
    loop = LoopThread.shared()

    def leave() -> None:
        raise kind

    async def leave_in_a_task() -> None:
        raise kind

    async def fine() -> int:
        return 3

    loop.post(leave)
    assert loop.call(fine) == 3
    with pytest.raises(kind):
        loop.call(leave_in_a_task)
    assert loop.call(fine) == 3
    assert LoopThread.shared() is loop


def test_an_exception_in_the_waiting_caller_cancels_the_coroutine_and_waits_for_its_cleaning_up() -> None:
    """A real SIGINT, in this very process: the main thread waits in a lock, and is woken."""
    started = threading.Event()
    cleaned: list[float] = []

    async def hang() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.02)
            cleaned.append(time.monotonic())

    def interrupt() -> None:
        started.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        LoopThread.shared().call(hang)
    assert len(cleaned) == 1
    thread.join(5)


async def test_ctrl_c_cancels_the_call_and_the_client_still_closes() -> None:
    async with MisbehavingServer(lambda r: silence() if r.target == "/hang" else ok(1)) as server:
        process = await asyncio.create_subprocess_exec(
            *script(
                """
                import sys, time
                from playcall import BlockingAPIClient
                with BlockingAPIClient(sys.argv[1]) as client:
                    try:
                        client.get("/hang")
                    except KeyboardInterrupt:
                        print("interrupted", client.engine.limiter.in_flight, client.get("/fine"), flush=True)
                print("closed", flush=True)
                """,
                server.url,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            while not server.requests:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
        assert (out.decode().split("\n"), err.decode()) == (["interrupted 0 1", "closed", ""], "")
        await server.wait_until_nobody_is_connected()


async def test_the_interpreter_exits_cleanly_and_soon_with_an_open_client_and_an_open_stream() -> None:
    async with MisbehavingServer(
        lambda r: ok({"items": [{"id": n} for n in range(100)], "next_cursor": str(r.number)})
    ) as server:
        began = time.monotonic()
        out = await run(
            """
            import sys
            from playcall import BlockingAPIClient, BaseAPIClient, ResourceService
            client = BlockingAPIClient(sys.argv[1])
            client.get("/x")
            other = BlockingAPIClient(sys.argv[1])
            items = ResourceService(other, "/items", dict[str, int]).list()
            print(next(items))
            """,
            server.url,
        )
        assert out == "{'id': 0}"
        assert time.monotonic() - began < 8
        await server.wait_until_nobody_is_connected()


async def test_the_interpreter_exits_while_a_daemon_thread_is_in_a_call() -> None:
    async with MisbehavingServer(lambda r: silence()) as server:
        assert (
            await run(
                """
                import sys, threading
                from playcall import BlockingAPIClient
                client = BlockingAPIClient(sys.argv[1])
                def call():
                    try:
                        client.get("/hang")
                    except BaseException:
                        pass
                threading.Thread(target=call, daemon=True).start()
                import time
                while not client.engine.limiter.in_flight:
                    time.sleep(0.01)
                time.sleep(0.1)
                print("leaving")
                """,
                server.url,
            )
            == "leaving"
        )
        await server.wait_until_nobody_is_connected()


async def test_a_call_at_exit_is_an_error_and_no_hang() -> None:
    out = await run(
        """
        import atexit
        from playcall import BlockingAPIClient
        from playcall.errors import ClientClosedError
        from playcall.testing import MockTransport, MockAnswer

        def client():
            return BlockingAPIClient("http://b", transport=MockTransport(lambda request: MockAnswer(json=1)))
        used, unused = client(), client()

        @atexit.register  # runs before playcall's own, which was registered earlier
        def early():
            print(used.get("/x"))
        used.get("/x")
        """
    )
    assert out == "1"
    out = await run(
        """
        import atexit
        from playcall import BlockingAPIClient
        from playcall.errors import ClientClosedError
        from playcall.testing import MockTransport, MockAnswer
        client = BlockingAPIClient("http://b", transport=MockTransport(lambda request: MockAnswer(json=1)))

        @atexit.register
        def first_call_of_all():
            try:
                print(client.get("/x"))
            except ClientClosedError as error:
                print(error)
        """
    )
    assert out == "1" or "no thread can be started" in out
    out = await run(
        """
        import atexit

        def late():
            try:
                client.get("/x")
            except ClientClosedError as error:
                print(error)
        atexit.register(late)  # runs after playcall's own
        from playcall import BlockingAPIClient
        from playcall.errors import ClientClosedError
        from playcall.testing import MockTransport, MockAnswer
        client = BlockingAPIClient("http://b", transport=MockTransport(lambda request: MockAnswer(json=1)))
        client.get("/x")
        """
    )
    assert "the interpreter is exiting" in out


async def test_a_forked_child_has_its_own_loop_and_connections_and_the_parent_goes_on() -> None:
    async with MisbehavingServer(lambda r: ok(r.connection)) as server:
        out = await run(
            """
            import gc, os, sys
            from playcall import BlockingAPIClient
            from playcall.loop_thread import LoopThread
            client = BlockingAPIClient(sys.argv[1])
            first = client.get("/parent")
            items = None
            child = os.fork()
            if child == 0:
                mine = client.get("/child")
                again = client.get("/child")
                assert mine == again != first, (mine, again, first)
                client.close()
                del client
                gc.collect()
                sys.exit(7)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 7
            assert client.get("/parent") == first
            client.close()
            print("ok")
            """,
            server.url,
        )
        assert out == "ok"
        assert [r.target for r in server.requests] == ["/parent", "/child", "/child", "/parent"]


async def test_a_child_forked_in_the_middle_of_calls_of_other_threads_works() -> None:
    async with MisbehavingServer(lambda r: ok(1)) as server:
        out = await run(
            """
            import os, sys, threading
            from playcall import BlockingAPIClient
            client = BlockingAPIClient(sys.argv[1], max_concurrency=2)
            stop = threading.Event()
            def work():
                while not stop.is_set():
                    client.get("/x")
            threads = [threading.Thread(target=work) for _ in range(4)]
            for t in threads: t.start()
            codes = []
            for n in range(8):
                child = os.fork()
                if child == 0:
                    ok = all(client.get("/child") == 1 for _ in range(3))
                    os._exit(0 if ok else 1)
                codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            stop.set()
            for t in threads: t.join(10)
            client.close()
            print(codes)
            """,
            server.url,
        )
        assert out == str([0] * 8)


async def test_a_method_that_was_kept_before_a_fork_works_in_the_child() -> None:
    out = await run(
        """
        import os
        from playcall import BlockingAPIClient
        from playcall.testing import MockAnswer, MockTransport
        client = BlockingAPIClient("http://b", transport=MockTransport(lambda request: MockAnswer(json=request.path)))
        kept, raw = client.get, client.get.raw
        assert kept("/parent") == "/parent"
        child = os.fork()
        if child == 0:
            os.write(1, f"{kept('/child')} {raw('/raw').value}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        client.close()
        """
    )
    assert out == "/child /raw"


async def test_what_was_begun_before_a_fork_is_refused_in_the_child() -> None:
    out = await run(
        """
        import os
        from playcall.errors import ClientClosedError
        from playcall.blocking_iterator import BlockingIterator
        from playcall.loop_thread import LoopThread
        async def numbers():
            for n in range(1000):
                yield n
        iterator = BlockingIterator(LoopThread.shared(), numbers())
        next(iterator)
        child = os.fork()
        if child == 0:
            try:
                for _ in iterator: pass
            except ClientClosedError as error:
                os.write(1, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert sum(1 for _ in iterator) == 999
        """
    )
    assert "before the process forked" in out


async def test_an_async_client_survives_several_runs_without_a_warning() -> None:
    async with MisbehavingServer(lambda r: ok(1)) as server:
        out = await run(
            """
            import asyncio, sys
            from playcall import BaseAPIClient
            client = BaseAPIClient(sys.argv[1])
            async def once():
                return sum(await asyncio.gather(*(client.get("/x") for _ in range(5))))
            print([asyncio.run(once()) for _ in range(3)])
            asyncio.run(client.close())
            """,
            server.url,
        )
        assert out == "[5, 5, 5]"
        await server.wait_until_nobody_is_connected()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_forked_child_exits_normally_after_the_parent_has_resolved_names(host: str) -> None:
    code = """
        import os, sys
        from playcall import BlockingAPIClient
        client = BlockingAPIClient(sys.argv[1])
        client.get("/x")
        child = os.fork()
        if child == 0:
            sys.exit(0)
        print(os.waitpid(child, 0)[1])
        client.close()
    """
    async with MisbehavingServer(lambda r: ok(1)) as server:
        out = await run(code, server.url.replace("127.0.0.1", host))
    assert out.split()[-1] == "0"


def test_an_iterator_whose_constructor_was_interrupted_is_thrown_away_in_silence() -> None:
    BlockingIterator.__new__(BlockingIterator).__del__()
