"""What a client meets from its making to its end: loops, threads, Ctrl-C, processes, exit, and use after it was closed."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from playcall import AsyncPlaycall, BaseAPIClient, BlockingAPIClient, Playcall, RetryPolicy, WebSocketClient
from playcall.errors import ClientClosedError, NotFoundError
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, items, playcall, value
from tests.every_method import methods, use
from tests.misbehaving_server import Act, MisbehavingServer, Request, answer, head, ok, repeated, silence
from tests.models.examples import MODELS

ROOT = Path(__file__).parent.parent
EVERY_METHOD = [f"{service}.{method}" for service, method, _ in methods("self")]
KEY = json.loads(MODELS["api_key"][1].model_dump_json())
ME = {"id": "u1", "username": "me", "credential": "api_key", "scope": "full"}


# --- after its end ----------------------------------------------------------------------------------------------------


def endless(request: MockRequest) -> MockAnswer:
    number = int(request.query.get("cursor", "0"))
    return MockAnswer(json={"items": [], "next_cursor": str(number + 1)})


@FACES
@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_no_method_of_a_closed_client_asks_anything(blocking: bool, method: str, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("name: n")
    service, name = method.split(".")
    async with playcall(blocking, endless) as client:
        await value(client.close())
        with pytest.raises(ClientClosedError):
            await use(client, service, name, **({"file": file} if name == "create_from_file" else {}))
        assert client._api.engine.transport.requests == []
        assert list(tmp_path.iterdir()) == [file]


@FACES
async def test_events_and_status_of_a_closed_client_say_so(blocking: bool) -> None:
    async with playcall(blocking, endless) as client:
        await value(client.close())
        with pytest.raises(ClientClosedError):
            client.events.subscribe("tasks")
        with pytest.raises(ClientClosedError):
            client.events.on("task.*", print)
        with pytest.raises(ClientClosedError):
            await value(client.status.wait_until_ready(5))
        assert client.status.current.state == "closed"
        await value(client.close())


@FACES
async def test_verbs_streams_and_clones_of_a_closed_client_too(blocking: bool) -> None:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    client = kind("http://backend.test", transport=MockTransport(endless))
    clone = client.with_options(deadline_seconds=3)
    await value(client.close())
    for each in (client, clone):
        for verb in ("get", "post", "put", "patch", "delete"):
            with pytest.raises(ClientClosedError):
                await value(getattr(each, verb)("/x"))
        with pytest.raises(ClientClosedError):
            await value(each.answer("GET", "/x"))
        if not blocking:
            with pytest.raises(ClientClosedError):
                async with each.stream("GET", "/x"):
                    raise AssertionError("it must not open")
    assert client.engine.transport.requests == []


@FACES
async def test_an_iterator_under_way_ends_with_an_error_when_its_client_is_closed(blocking: bool) -> None:
    """What it had read already is given; then it does not look complete, for it is not."""

    def two_a_page(request: MockRequest) -> MockAnswer:
        number = int(request.query.get("cursor", "0"))
        key = {**KEY, "id": f"k{number}"}
        return MockAnswer(json={"items": [key] * 200, "next_cursor": str(number + 1)})

    async with playcall(blocking, two_a_page) as client:
        listing = client.account.api_keys()
        first = await anext(listing) if not blocking else next(listing)
        assert first.id == "k0"
        await value(client.close())
        with pytest.raises(ClientClosedError):
            await items(listing)


@pytest.mark.parametrize("kind", [Playcall, AsyncPlaycall])
async def test_a_client_dropped_without_close_warns_once_and_leaves_no_connection(kind: Any) -> None:
    async with MisbehavingServer(lambda request: ok(ME)) as server:
        client = kind(server.url)
        clone = client.with_options(deadline_seconds=3)
        if kind is Playcall:
            await asyncio.to_thread(me_of, client)
            await asyncio.to_thread(me_of, clone)
        else:
            await client.account.me()
            await clone.account.me()
        assert server.open_now == 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
            assert [each.category for each in caught] == []
            del clone
            gc.collect()
        assert [each.category for each in caught] == [ResourceWarning]
        await server.wait_until_nobody_is_connected()


# --- threads and loops ------------------------------------------------------------------------------------------------


def test_one_async_client_serves_many_threads_with_a_loop_each_at_once() -> None:
    at_once = 8
    barrier = threading.Barrier(at_once)

    async def serve(ready: threading.Event, over: threading.Event, into: list[MisbehavingServer]) -> None:
        async with MisbehavingServer(lambda request: ok(request.number)) as server:
            into.append(server)
            ready.set()
            await asyncio.to_thread(over.wait, 30)
            await server.wait_until_nobody_is_connected()

    ready, over, servers = threading.Event(), threading.Event(), []  # type: ignore[var-annotated]
    serving = threading.Thread(target=asyncio.run, args=(serve(ready, over, servers),))
    serving.start()
    assert ready.wait(10)
    client = BaseAPIClient(servers[0].url)

    async def several() -> list[int]:
        return await asyncio.gather(*(client.get("/x", into=int) for _ in range(10)))

    def run(number: int) -> list[int]:
        barrier.wait(10)
        return asyncio.run(several())

    with ThreadPoolExecutor(at_once) as pool:
        got = [each for part in pool.map(run, range(at_once)) for each in part]
    assert sorted(got) == list(range(1, 10 * at_once + 1))
    over.set()
    serving.join(10)
    assert not serving.is_alive()
    assert client.engine.limiter.in_flight == 0
    asyncio.run(client.close())


# --- tracebacks -------------------------------------------------------------------------------------------------------


def me_of(client: Playcall) -> Any:
    return client.account.me()  # the caller's line


async def test_a_traceback_shows_the_caller_and_the_service_and_no_pages_of_libraries() -> None:
    async with MisbehavingServer(lambda request: answer(404)) as server:
        with Playcall(server.url, retry=RetryPolicy(attempts=1)) as client, pytest.raises(NotFoundError) as caught:
            await asyncio.to_thread(me_of, client)
    told = "".join(traceback.format_exception(caught.value))
    assert "client.account.me()  # the caller's line" in told
    assert 'self._api.get("/auth/me", into=Me)' in told
    frames = traceback.extract_tb(caught.value.__traceback__)
    after_the_caller = frames[[frame.name for frame in frames].index("me_of") + 1 :]
    assert len(after_the_caller) <= 8
    assert all("/playcall/" in frame.filename for frame in after_the_caller)
    assert "During handling" not in told


# --- other processes --------------------------------------------------------------------------------------------------

KINDS = [Playcall, AsyncPlaycall, BlockingAPIClient, BaseAPIClient, WebSocketClient, BlockingWebSocketClient]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_does_not_pickle_and_says_what_to_do_but_it_may_be_copied(kind: Any) -> None:
    client = kind("http://backend.test")
    with pytest.raises(TypeError, match=f"{kind.__name__}.*make one in each process"):
        pickle.dumps(client)
    assert repr(copy.copy(client)) == repr(client)


@pytest.mark.parametrize(
    "service",
    [
        *("playbooks", "runs", "agents", "tasks", "tools", "account", "events"),
        "status",
    ],
)
def test_nor_does_a_service_of_it(service: str) -> None:
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(getattr(Playcall("http://backend.test"), service))


IN_CHILDREN = """
    import multiprocessing, sys
    from playcall import BlockingAPIClient

    def call(url):
        with BlockingAPIClient(url) as client:
            return client.get("/x")

    def use(client):
        client.get("/x")

    if __name__ == "__main__":
        url, method = sys.argv[1:]
        context = multiprocessing.get_context(method)
        with BlockingAPIClient(url) as client:
            client.get("/x")
            with context.Pool(2) as pool:
                print(sum(pool.map(call, [url] * 4)))
                pool.close()
                pool.join()
            client.get("/x")
            if method != "fork":
                try:
                    context.Process(target=use, args=(client,)).start()
                except TypeError as error:
                    print(error)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_child_processes_of_every_kind_call_and_the_parent_goes_on(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # a file, for the children of `spawn` import it
    script.write_text(textwrap.dedent(IN_CHILDREN))
    async with MisbehavingServer(lambda request: ok(1)) as server:
        said = await end_of(await begin(str(script), server.url, method))
        assert said[0] == "4"
        assert len(said) == (1 if method == "fork" else 2)
        assert all("make one in each process" in line for line in said[1:])
        await server.wait_until_nobody_is_connected()
        assert len(server.requests) == 6


async def begin(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )


async def end_of(process: asyncio.subprocess.Process) -> list[str]:
    """What it printed; it must end by itself, with nothing on stderr."""
    try:
        out, err = await asyncio.wait_for(process.communicate(), 40)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"it did not end: {out.decode()} {err.decode()}")
    assert (process.returncode, err.decode()) == (0, ""), out.decode()
    return out.decode().splitlines()


# --- Ctrl-C, and the interpreter's exit -------------------------------------------------------------------------------

PAGE = {"items": [{"id": 1}], "next_cursor": "2"}


def hanging(request: Request) -> Act:
    """`/hang` never answers, `/body` never ends, the second page of `/items` never comes; all else is well."""
    path, _, query = request.target.partition("?")
    if path == "/hang" or "cursor=2" in query:
        return silence()
    if path == "/body":
        return repeated(b"x", first=head(200, {"Content-Length": "1000000"}))
    return ok(PAGE if path == "/items" else 1)


BLOCKING = """
    import sys
    from playcall import BlockingAPIClient, BaseAPIClient, ResourceService
    with BlockingAPIClient(sys.argv[1]) as client:
        client.get("/fine")
        try:
            {act}
        except KeyboardInterrupt:
            print("interrupted")
        # An iterator is let go of with the traceback.
        print(client.get("/fine"), client.engine.limiter.in_flight)
"""
ASYNC = """
    import asyncio, sys
    from playcall import BaseAPIClient, ResourceService
    async def main(client):
        async with client:
            try:
                {act}
            finally:
                print("cleaned up", client.engine.limiter.in_flight)
    try:
        asyncio.run(main(BaseAPIClient(sys.argv[1])))
    except KeyboardInterrupt:
        print("interrupted")
"""
ITEMS = 'ResourceService(client, "/items", dict[str, int]).list()'
IN_STREAM = """async with client.stream("GET", "/body") as incoming:
                    async for chunk in incoming.chunks(): pass"""


@pytest.mark.parametrize(
    ("source", "act", "waits_for"),
    [
        (BLOCKING, 'client.get("/hang")', "/hang"),
        (BLOCKING, 'client.post("/hang", json={})', "/hang"),
        (BLOCKING, f"for item in {ITEMS}: pass", "cursor=2"),
        (ASYNC, 'await client.get("/hang")', "/hang"),
        (ASYNC, f"async for item in {ITEMS}: pass", "cursor=2"),
        (ASYNC, IN_STREAM, "/body"),
    ],
    ids=["blocking call", "blocking write", "blocking iterator", "async call", "async iterator", "stream"],
)
async def test_ctrl_c_ends_it_at_once_and_leaves_nothing_behind(source: str, act: str, waits_for: str) -> None:
    async with MisbehavingServer(hanging) as server:
        process = await begin("-c", textwrap.dedent(source).format(act=textwrap.dedent(act)), server.url)
        async with asyncio.timeout(30):
            while not any(waits_for in request.target for request in server.requests):
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = await end_of(process)
        assert said == (["interrupted", "1 0"] if source is BLOCKING else ["cleaned up 0", "interrupted"])
        await server.wait_until_nobody_is_connected()
        assert sum(waits_for in request.target for request in server.requests) == 1


EXITS = {
    "an async client that was not closed": """
        import asyncio, sys
        from playcall import BaseAPIClient
        client = BaseAPIClient(sys.argv[1])
        print(asyncio.run(client.get("/fine")))
        """,
    "an async call under way": """
        import asyncio, sys
        from playcall import BaseAPIClient
        client = BaseAPIClient(sys.argv[1])
        async def main():
            task = asyncio.create_task(client.get("/hang"))
            print(await client.get("/fine"))
        asyncio.run(main())
        """,
    "a thread in a call that ends by its deadline": """
        import logging, sys, threading
        from playcall import BlockingAPIClient
        from playcall.errors import DeadlineExceededError
        logging.disable()  # where logging is not set up, warnings are printed
        client = BlockingAPIClient(sys.argv[1], deadline_seconds=0.5)
        def call():
            try:
                client.get("/hang")
            except DeadlineExceededError:
                print(1)
        threading.Thread(target=call).start()
        """,
    "an open client, an open stream and an iterator": """
        import asyncio, sys
        from playcall import BlockingAPIClient, BaseAPIClient, ResourceService
        from playcall.loop_thread import LoopThread
        client, other = BlockingAPIClient(sys.argv[1]), BaseAPIClient(sys.argv[1])
        items = ResourceService(client, "/items", dict[str, int]).list()
        next(items)
        async def hold():
            async with other.stream("GET", "/body") as incoming:
                async for chunk in incoming.chunks():
                    return incoming
        kept = LoopThread.shared().call(hold)
        print(client.get("/fine"))
        """,
}


@pytest.mark.parametrize("way", EXITS)
async def test_the_interpreter_exits_quietly_in_the_middle_of(way: str) -> None:
    async with MisbehavingServer(hanging) as server:
        assert await end_of(await begin("-c", textwrap.dedent(EXITS[way]), server.url)) == ["1"]
        await server.wait_until_nobody_is_connected()
