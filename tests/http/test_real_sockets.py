"""A misbehaving server on real sockets against every verb of both faces: a value or the right error, in time, and nothing
left behind."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from playcall import BaseAPIClient, BlockingAPIClient, OAuth2Password, RetryPolicy
from playcall.errors import (
    ConnectFailedError,
    ConnectionLostError,
    DeadlineExceededError,
    PlaycallError,
    RedirectRefusedError,
    StatusError,
    UnreadableAnswerError,
)
from playcall.loop_thread import LoopThread
from tests.both_faces import FACES, using
from tests.misbehaving_server import (
    Act,
    Exchange,
    MisbehavingServer,
    Request,
    answer,
    close,
    half,
    head,
    late,
    ok,
    raw,
    redirect,
    repeated,
    reset,
    said,
    silence,
)
from tests.stall import Stall

SLACK_SECONDS = 0.1
SHORT_SECONDS = 0.2
"""The deadline of a case that only its deadline can end."""
LONG_SECONDS = 10.0
"""The deadline of all others, so that a loaded machine is no reason to come to it."""

VERBS = ("get", "post", "put", "patch", "delete")
ATTEMPTS = 2


class Item(BaseModel):
    name: str


@dataclass(frozen=True)
class Case:
    """What the server does, how a call must end, and how many requests it may take.

    `in_body`: it breaks off after the headers of a good answer, which a stream does not ask for again if it has seen
    them. `whole`: the answer ends where it should, so its connection is good, whatever its body. `of_writes` are the
    errors of unsafe methods where they are others. `requests` None means all attempts for a lost answer, else one.
    """

    act: Act
    errors: tuple[type[PlaycallError], ...] = ()
    in_body: bool = False
    whole: bool = False
    of_writes: tuple[type[PlaycallError], ...] | None = None
    requests: tuple[int, ...] | None = None
    greeting: bytes | None = None

    @property
    def late(self) -> bool:
        return self.errors == LATE

    @property
    def kept(self) -> bool:
        """A whole answer came, whatever it said. A connection that was broken off in the middle is used no more."""
        return self.whole or self.errors in ((), UNREADABLE, REFUSED, UNREACHED)

    def errors_of(self, verb: str, *, streamed: bool) -> tuple[type[PlaycallError], ...]:
        errors = self.of_writes if self.of_writes is not None and verb != "get" else self.errors
        return () if streamed and errors == UNREADABLE else errors

    def requests_of(self, verb: str, *, streamed: bool) -> tuple[int, ...]:
        if self.requests is not None:
            return self.requests
        if self.late:
            return (0, 1)  # a busy machine may come to the deadline first
        if self.errors_of(verb, streamed=streamed) != LOST:
            return (1,)
        # Where TCP cuts what was written in one piece decides whether a stream has seen the headers.
        return (1, ATTEMPTS) if streamed and self.in_body else (ATTEMPTS,)


LOST = (ConnectionLostError,)
LATE = (DeadlineExceededError,)
UNREADABLE = (UnreadableAnswerError,)
REFUSED = (RedirectRefusedError,)
UNREACHED = (ConnectFailedError,)

JSON = b'{"name": "x"}'
JSON_HEADERS = {"Content-Type": "application/json", "Content-Length": str(len(JSON))}
GOOD = head(200, JSON_HEADERS) + JSON
GOOD_AND_LAST = head(200, {**JSON_HEADERS, "Connection": "close"}) + JSON
CHUNKED = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
GZIPPED = gzip.compress(json.dumps({"name": "x" * 2000}).encode())


def informed(status: int, then: bytes = GOOD) -> bytes:
    return f"HTTP/1.1 {status} Wait\r\n\r\n".encode() + then


def encoded(encoding: str, body: bytes) -> Act:
    return answer(200, body, {"Content-Type": "application/json", "Content-Encoding": encoding})


CASES: dict[str, Case] = {
    # slow, silent, repeated
    "late": Case(late(0.02, ok({"name": "late"}))),
    "twice": Case(said(GOOD * 2)),
    "never": Case(silence(), LATE),
    "half a status line and nothing more": Case(silence(b"HTTP/1.1 20"), LATE),
    "half the headers and nothing more": Case(silence(b"HTTP/1.1 200 OK\r\nContent-Le"), LATE),
    "half a body and nothing more": Case(silence(head(200, JSON_HEADERS) + JSON[:5]), LATE),
    "a byte at a time for ever": Case(
        repeated(b" ", first=head(200, {"Content-Type": "application/json", "Content-Length": "100000"})), LATE
    ),
    "a header at a time for ever": Case(repeated(b"X: y\r\n", first=b"HTTP/1.1 200 OK\r\n", pause_seconds=0.02), LATE),
    # informational answers (RFC 9110 section 15.2)
    "100, then the answer": Case(said(informed(100))),
    "102, then the answer": Case(said(informed(102))),
    "103, then the answer": Case(said(informed(103))),
    "one after another, then the answer": Case(said(informed(102, informed(103, informed(102))))),
    "102 and nothing more": Case(silence(informed(102, b"")), LATE),
    "102 for ever": Case(repeated(informed(102, b"")), LATE),
    "102 and the end": Case(raw(informed(102, b"")), LOST),
    "another protocol, which nobody asked for": Case(
        silence(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n?"), (StatusError,)
    ),
    # breaking off
    "closes": Case(close(), LOST),
    "closes after the answer": Case(ok({"name": "x"}, then_close=True), requests=(1, 2)),  # an idle one may be taken up
    "resets": Case(reset(), LOST),
    "resets in the headers": Case(raw(b"HTTP/1.1 200 OK\r\nContent-Le", then_reset=True), LOST),
    "resets in the body": Case(raw(head(200, JSON_HEADERS) + JSON[:5], then_reset=True), LOST, in_body=True),
    "half a body and the end": Case(half(), LOST, in_body=True),
    # lengths
    "too short a length": Case(answer(200, JSON, {"Content-Length": "5"}, then_close=True), LOST),
    "too short a length, and stays": Case(answer(200, JSON, {"Content-Length": "5"}), LOST),
    "too long a length": Case(answer(200, JSON, {"Content-Length": "99"}, then_close=True), LOST, in_body=True),
    "too long a length, and stays": Case(answer(200, JSON, {"Content-Length": "99"}), LATE),
    "a length that is no number": Case(answer(200, JSON, {"Content-Length": "many"}), LOST),
    "a negative length": Case(answer(200, JSON, {"Content-Length": "-1"}), LOST),
    "two lengths": Case(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Length: 14\r\n\r\n" + JSON), LOST),
    "a length and chunks": Case(raw(head(200, {**JSON_HEADERS, **CHUNKED}) + b"d\r\n" + JSON + b"\r\n0\r\n\r\n"), LOST),
    "no length, to the end": Case(raw(head(200, {"Content-Type": "application/json"}) + JSON)),
    # chunks and encodings
    "chunks": Case(said(head(200, CHUNKED) + b"6\r\n" + JSON[:6] + b"\r\n7\r\n" + JSON[6:] + b"\r\n0\r\n\r\n")),
    "garbage between chunks": Case(raw(head(200, CHUNKED) + b"5\r\n" + JSON[:5] + b"\r\nzz\r\n"), LOST, in_body=True),
    "a chunk longer than it says": Case(
        raw(head(200, CHUNKED) + b"5\r\n" + JSON + b"\r\n0\r\n\r\n"), LOST, in_body=True
    ),
    "chunks without an end": Case(raw(head(200, CHUNKED) + b"d\r\n" + JSON + b"\r\n"), LOST, in_body=True),
    "gzip": Case(encoded("gzip", GZIPPED)),
    "garbage instead of gzip": Case(encoded("gzip", JSON), LOST, in_body=True, whole=True),
    "gzip with a wrong sum": Case(encoded("gzip", GZIPPED[:-8] + bytes(8)), LOST, in_body=True, whole=True),
    "half of a gzip body": Case(encoded("gzip", GZIPPED[: len(GZIPPED) // 2]), LOST, in_body=True, whole=True),
    "gzip without its last bytes": Case(encoded("gzip", GZIPPED[:-8]), LOST, in_body=True, whole=True),
    # not HTTP
    "garbage": Case(raw(b"\x16\x03\x01 garbage\r\n\r\n"), LOST),
    "an invalid status line": Case(raw(b"HTTP/1.1 twohundred OK\r\n\r\n"), LOST),
    "a status of four digits": Case(raw(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), LOST),
    "another protocol's banner": Case(raw(b"SSH-2.0-OpenSSH_9.6\r\n"), LOST),
    "a huge header": Case(raw(head(200, {"X-Huge": "x" * 1_000_000, **JSON_HEADERS}) + JSON), LOST),
    "a thousand headers": Case(raw(head(200, {f"X-{n}": "y" for n in range(1000)} | JSON_HEADERS) + JSON), LOST),
    "a header with a zero byte": Case(raw(head(200, {"X-Zero": "a\x00b", **JSON_HEADERS}) + JSON), LOST),
    # not what was asked for
    "html": Case(answer(200, b"<html>hello</html>", {"Content-Type": "text/html"}), UNREADABLE),
    "the wrong type": Case(ok({"name": 3}), UNREADABLE),
    "nothing": Case(answer(200), UNREADABLE),
    "half of the JSON, with its right length": Case(answer(200, JSON[:9]), UNREADABLE),
    "to another host": Case(redirect("http://127.0.0.1:1/"), UNREACHED, of_writes=REFUSED),
    "in circles": Case(redirect("/x"), REFUSED, requests=(6,)),
    "nowhere": Case(redirect("http://[::1"), REFUSED),
    # an answer to a request that was not read
    "before the request was read": Case(silence(), greeting=GOOD_AND_LAST, requests=(0,)),
    "garbage before the request was read": Case(
        silence(), (ConnectionLostError, ConnectFailedError), greeting=b"garbage\r\n\r\n", requests=(0,)
    ),
}
WARMING_UP = ok({}, headers={"Connection": "close"})


def check_end(case: Case, verb: str, outcome: object, took: float, stalled: float, *, streamed: bool = False) -> None:
    """A value or the right error, within the deadline and 100 ms."""
    errors = case.errors_of(verb, streamed=streamed)
    if isinstance(outcome, PlaycallError):
        assert type(outcome) in errors, (verb, outcome)
        assert outcome.explain()
    else:
        assert errors == (), (verb, outcome)
    deadline = SHORT_SECONDS if case.late else LONG_SECONDS
    assert took <= deadline + SLACK_SECONDS + stalled, (verb, took, stalled)


def check_requests(case: Case, requests: list[Request], *, streamed: bool = False) -> None:
    """As many as there must be, those of one call under one key."""
    for verb in VERBS:
        sent = [each for each in requests if each.method == verb.upper()]
        assert len(sent) in case.requests_of(verb, streamed=streamed), verb
        keys = {each.headers.get("Idempotency-Key") for each in sent}
        assert len(keys) == min(len(sent), 1), verb
        assert verb != "get" or keys <= {None}


def options(case: Case) -> dict[str, Any]:
    return {
        "deadline_seconds": SHORT_SECONDS if case.late else LONG_SECONDS,
        "retry": RetryPolicy(attempts=ATTEMPTS, initial_seconds=0.001, budget=None),
        "idempotency_keys": True,
    }


async def timed(call: Callable[[], Any]) -> tuple[object, float]:
    """How an awaitable call ended, and after how long."""
    began = time.monotonic()
    try:
        outcome = await call()
    except PlaycallError as error:
        outcome = error
    return outcome, time.monotonic() - began


def timed_here(call: Callable[[], Any]) -> tuple[object, float]:
    """As `timed`, on the calling thread."""
    began = time.monotonic()
    try:
        outcome = call()
    except PlaycallError as error:
        outcome = error
    return outcome, time.monotonic() - began


def names_of_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())


async def client_tasks(blocking: bool, server: MisbehavingServer) -> int:
    """Tasks on the loop that the client uses, without the server's and the one that asks."""

    async def count() -> int:
        return len(asyncio.all_tasks() - server.tasks) - 1

    return await asyncio.to_thread(LoopThread.shared().call, count) if blocking else await count()


@FACES
@pytest.mark.parametrize("name", CASES)
async def test_every_verb_ends_in_a_value_or_the_right_error_in_time_and_leaves_nothing_behind(
    name: str, blocking: bool
) -> None:
    case = CASES[name]
    act = WARMING_UP
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(VERBS), "caller") as callers:
        async with MisbehavingServer(lambda request: act) as server:
            async with using(kind(server.url, **options(case))) as client:
                # Threads, loop and libraries are there before anything is counted or timed.
                barrier = threading.Barrier(len(VERBS))
                await asyncio.gather(*(loop.run_in_executor(callers, barrier.wait, 10) for _ in VERBS))
                first = partial(client.get, "/x", deadline_seconds=LONG_SECONDS)
                await (loop.run_in_executor(callers, first) if blocking else first())
                await server.wait_until_nobody_is_connected()
                tasks, threads, sent = await client_tasks(blocking, server), names_of_threads(), len(server.requests)
                act, server.greeting = case.act, case.greeting

                calls = [partial(getattr(client, verb), "/x", into=Item) for verb in VERBS]
                with Stall() as stall:
                    if blocking:
                        running = [loop.run_in_executor(callers, timed_here, call) for call in calls]
                    else:
                        running = [asyncio.ensure_future(timed(call)) for call in calls]
                    ends = await asyncio.gather(*running)

                for verb, (outcome, took) in zip(VERBS, ends, strict=True):
                    check_end(case, verb, outcome, took, stall.seconds)
                check_requests(case, server.requests[sent:])
                assert (client.engine.limiter.in_flight, client.engine.limiter.waiting) == (0, 0)
                assert await client_tasks(blocking, server) == tasks
                assert names_of_threads() == threads
                await server.wait_until_at_most(len(VERBS) if case.kept else 0)
            await server.wait_until_nobody_is_connected()


@pytest.mark.parametrize("way", ["chunks", "read"])
@pytest.mark.parametrize("name", CASES)
async def test_a_stream_of_every_verb_ends_so_too(name: str, way: str) -> None:
    case = CASES[name]
    act = WARMING_UP
    async with MisbehavingServer(lambda request: act) as server:
        async with BaseAPIClient(server.url, **options(case)) as client:
            await client.get("/x", deadline_seconds=LONG_SECONDS)
            await server.wait_until_nobody_is_connected()
            tasks, sent = await client_tasks(False, server), len(server.requests)
            act, server.greeting = case.act, case.greeting

            async def use(verb: str) -> bytes:
                async with client.stream(verb.upper(), "/x") as incoming:
                    if way == "read":
                        return await incoming.read()
                    return b"".join([chunk async for chunk in incoming.chunks()])

            with Stall() as stall:
                ends = await asyncio.gather(*(timed(partial(use, verb)) for verb in VERBS))

            for verb, (outcome, took) in zip(VERBS, ends, strict=True):
                check_end(case, verb, outcome, took, stall.seconds, streamed=True)
                if case.errors == ():
                    assert Item.model_validate_json(outcome)  # type: ignore[arg-type]
            check_requests(case, server.requests[sent:], streamed=True)
            assert (client.engine.limiter.in_flight, client.engine.limiter.waiting) == (0, 0)
            assert await client_tasks(False, server) == tasks
            await server.wait_until_at_most(len(VERBS) if case.kept else 0)
        await server.wait_until_nobody_is_connected()


@pytest.mark.parametrize("name", ["a byte at a time for ever", "half a body and nothing more", "too long a length"])
async def test_a_stream_that_is_left_before_its_end_leaves_nothing_behind(name: str) -> None:
    async with MisbehavingServer(lambda request: CASES[name].act) as server, BaseAPIClient(server.url) as client:
        before = await client_tasks(False, server)
        async with client.stream("GET", "/x") as incoming:
            async for _ in incoming.chunks():
                break
        assert client.engine.limiter.in_flight == 0
        assert await client_tasks(False, server) == before
        await server.wait_until_nobody_is_connected()


# --- what one exchange must not do to the next ------------------------------------------------------------------------


async def test_a_second_answer_that_comes_late_is_not_the_next_request_s() -> None:
    async def twice(exchange: Exchange) -> None:
        await ok("first")(exchange)
        await asyncio.sleep(0.02)
        await ok("first, again")(exchange)
        said.set()

    said = asyncio.Event()
    async with (
        MisbehavingServer(lambda request: twice if request.number == 1 else ok(request.target)) as server,
        BaseAPIClient(server.url) as client,
    ):
        assert await client.get("/1") == "first"
        await said.wait()
        await asyncio.sleep(0.02)  # it has arrived, and its connection is idle
        assert await client.get("/2") == "/2"


async def test_an_answer_that_comes_after_its_deadline_is_not_the_next_request_s() -> None:
    async with (
        MisbehavingServer(lambda r: late(0.1, ok("late")) if r.number == 1 else ok(r.target)) as server,
        BaseAPIClient(server.url) as client,
    ):
        with pytest.raises(DeadlineExceededError):
            await client.get("/1", deadline_seconds=0.05)
        assert await client.get("/2") == "/2"
        await asyncio.sleep(0.1)
        assert await client.get("/3") == "/3"


@pytest.mark.parametrize(
    ("verb", "keys", "repeated"), [("get", False, True), ("post", True, True), ("post", False, False)]
)
async def test_a_kept_connection_closed_under_a_request_is_retried_where_that_is_safe(
    verb: str, keys: bool, repeated: bool
) -> None:
    def script(request: Request) -> Act:
        return close() if request.number == 2 else ok(request.number)

    async with (
        MisbehavingServer(script) as server,
        BaseAPIClient(server.url, idempotency_keys=keys, retry=RetryPolicy(initial_seconds=0)) as client,
    ):
        assert await client.get("/first") == 1
        if repeated:
            assert await getattr(client, verb)("/x") == 3
            assert [r.connection for r in server.requests] == [1, 1, 2]
        else:
            with pytest.raises(ConnectionLostError) as caught:
                await getattr(client, verb)("/x")
            assert caught.value.may_have_happened
            assert len(server.requests) == 2


@pytest.mark.parametrize("way", ["get", "stream"])
async def test_what_is_made_again_takes_no_idle_connection_for_that_may_be_at_its_end_too(way: str) -> None:
    """A backend that restarts, or was idle too long, closes all of them at once, and that is under way."""
    together = asyncio.Barrier(5)

    async def with_the_others(exchange: Exchange) -> None:
        await together.wait()
        await ok({"name": "x"})(exchange)

    def script(request: Request) -> Act:
        if request.target == "/first":
            return with_the_others
        return close() if request.on_connection > 1 else ok({"name": "x"})

    async with (
        MisbehavingServer(script) as server,
        BaseAPIClient(server.url, retry=RetryPolicy(attempts=2, initial_seconds=0, budget=None)) as client,
    ):
        await asyncio.gather(*(client.get("/first") for _ in range(5)))
        assert server.connections == 5
        if way == "get":
            assert await client.get("/x") == {"name": "x"}
        else:
            async with client.stream("GET", "/x") as incoming:
                assert await incoming.read() == JSON
        assert [(r.connection <= 5, r.on_connection) for r in server.requests[5:]] == [(True, 2), (False, 1)]
        await server.wait_until_at_most(1)  # those in doubt are closed, and not left for the next call


async def test_redirects_to_another_port_carry_no_credentials_on_a_real_socket() -> None:
    from playcall import ApiKey

    async with MisbehavingServer(lambda r: ok("there")) as other:
        async with MisbehavingServer(lambda r: redirect(other.url + "/x", 302)) as server:
            async with BaseAPIClient(server.url, auth=ApiKey("s3cret")) as client:
                assert await client.get("/x", headers={"Cookie": "c=s3cret"}) == "there"
            assert server.requests[0].headers["X-API-Key"] == "s3cret"
        assert "s3cret" not in str(other.requests[0].headers)


async def test_a_lost_answer_of_a_refresh_locks_nobody_out() -> None:
    tokens = 0

    def script(request: Request) -> Act:
        nonlocal tokens
        if request.target == "/auth/token":
            tokens += 1
            if tokens == 2:
                return close()  # the refresh was done, and its answer lost
            return ok({"access_token": f"a{tokens}", "expires_in": 900, "refresh_token": f"r{tokens}"})
        good = request.headers["Authorization"] == f"Bearer a{tokens}" and request.number != 2
        return ok("in") if good and request.number != 3 else ok({"detail": "expired"}, 401)

    async with (
        MisbehavingServer(script) as server,
        BaseAPIClient(server.url, auth=OAuth2Password("me", "pw")) as client,
    ):
        results = await asyncio.gather(*(client.get("/x") for _ in range(8)), return_exceptions=True)
        assert results == ["in"] * 8
        assert tokens == 3


async def test_32_at_once_for_a_while_leave_nothing_behind() -> None:
    async with MisbehavingServer(lambda r: ok({"n": r.number}) if r.number % 9 else close()) as server:
        async with BaseAPIClient(
            server.url, max_concurrency=8, retry=RetryPolicy(attempts=9, initial_seconds=0, budget=None)
        ) as client:
            await asyncio.gather(*(client.get("/x") for _ in range(300)))
            assert server.open_now <= 8
        await server.wait_until_nobody_is_connected()
