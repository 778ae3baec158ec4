"""A misbehaving server on real sockets against every verb of both faces: a value or the right error, in time, and nothing
left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from playcall import BaseAPIClient, BlockingAPIClient, OAuth2Password, RetryPolicy
from playcall.errors import (
    ConnectionLostError,
    DeadlineExceededError,
    PlaycallError,
    RedirectRefusedError,
    UnreadableAnswerError,
)
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
    ok,
    raw,
    redirect,
    reset,
    silence,
)

DEADLINE_SECONDS = 0.25
SLACK_SECONDS = 0.1


async def _late(exchange: Exchange) -> None:
    await asyncio.sleep(0.02)
    await ok({"name": "late"})(exchange)


def trickle() -> Act:
    async def act(exchange: Exchange) -> None:
        await exchange.write(head(200, {"Content-Type": "application/json", "Content-Length": "10000"}))
        while True:
            await exchange.write(b" ")
            await asyncio.sleep(0.01)

    return act


twice = head(200, {"Content-Type": "application/json", "Content-Length": "13"}) + b'{"name": "x"}'
CASES: dict[str, tuple[Act, type[PlaycallError] | None]] = {
    "late": (_late, None),
    "twice": (raw(twice * 2), None),
    "after an informational answer": (raw(b"HTTP/1.1 102 Processing\r\n\r\n" + twice), None),
    "and closes": (ok({"name": "x"}, then_close=True), None),
    "never": (silence(), DeadlineExceededError),
    "a byte at a time for ever": (trickle(), DeadlineExceededError),
    "half a body and nothing more": (silence(head(200, {"Content-Length": "9"}) + b"{"), DeadlineExceededError),
    "half a body and the end": (half(), ConnectionLostError),
    "too short a length": (
        answer(200, b'{"name": "x"}', {"Content-Length": "5"}, then_close=True),
        ConnectionLostError,
    ),
    "closes": (close(), ConnectionLostError),
    "resets": (reset(), ConnectionLostError),
    "resets in the body": (
        raw(head(200, {"Content-Length": "99"}) + b"{", then_reset=True),
        ConnectionLostError,
    ),
    "garbage": (raw(b"garbage\r\n\r\n"), ConnectionLostError),
    "html": (answer(200, b"<html>hello</html>", {"Content-Type": "text/html"}), UnreadableAnswerError),
    "the wrong shape": (ok({"name": 3}), UnreadableAnswerError),
    "to another host": (redirect("http://127.0.0.1:1/"), PlaycallError),
    "in circles": (redirect("/x"), RedirectRefusedError),
}


@FACES
@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_every_case_ends_in_a_value_or_the_right_error_within_the_deadline(verb: str, blocking: bool) -> None:
    from pydantic import BaseModel

    class Item(BaseModel):
        name: str

    current = ""
    threads = threading.active_count()
    async with MisbehavingServer(lambda request: CASES[current][0]) as server:
        kind: Any = BlockingAPIClient if blocking else BaseAPIClient
        retry = RetryPolicy(attempts=2, initial_seconds=0.001, budget=None)
        made = kind(server.url, retry=retry, idempotency_keys=True)
        async with using(made) as client:
            # The connection and its libraries are warm, so that only the case itself is timed.
            current = "and closes"
            await call(client, "get", Item, blocking)
            tasks = len(asyncio.all_tasks())
            for current, (_, error) in CASES.items():
                # Only where the deadline must come is it short: a loaded machine is no reason to fail elsewhere.
                seconds = DEADLINE_SECONDS if error is DeadlineExceededError else 20.0
                client = made.with_options(deadline_seconds=seconds)
                before = len(server.requests)
                began = time.monotonic()
                if error is None:
                    assert isinstance(await call(client, verb, Item, blocking), Item), current
                else:
                    with pytest.raises(error) as caught:
                        await call(client, verb, Item, blocking)
                    assert type(caught.value) is error or error is PlaycallError, current
                    assert caught.value.explain()
                took = time.monotonic() - began
                assert took < seconds + SLACK_SECONDS + _LOAD, current
                sent = server.requests[before:]
                assert len({r.headers.get("Idempotency-Key") for r in sent}) <= 1, current
                assert len(sent) <= 6 if current == "in circles" else len(sent) <= 2, current
                assert client.engine.limiter.in_flight == 0
            assert len(asyncio.all_tasks()) <= tasks + server.open_now
        await server.wait_until_nobody_is_connected()
    assert threading.active_count() <= threads + 6  # the loop thread, and the test's own to_thread workers


_LOAD = 0.4
"""What a loaded machine may add; the deadline itself is measured on an idle one by test_engine."""


async def call(client: Any, verb: str, into: type, blocking: bool) -> Any:
    if blocking:
        return await asyncio.to_thread(getattr(client, verb), "/x", into=into)
    return await getattr(client, verb)("/x", into=into)


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
