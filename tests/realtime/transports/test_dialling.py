"""How a long-poll link begins, and what each of its requests carries."""

from __future__ import annotations

import asyncio

import pytest

from playcall.http.pool import SessionPool
from playcall.http.proxies import ProxyAddress
from playcall.realtime.transports.base import LinkLostError, UpgradeRefusedError
from playcall.realtime.transports.long_poll import LongPollTransport
from tests.misbehaving_server import (
    Act,
    MisbehavingServer,
    Request,
    answer,
    close,
    ok,
    redirect,
    reset,
    silence,
)

from .scripted_answers import PROOF, SECRET, Script, page, question, refusal
from .talk import FRAME_BYTES, Headers, talking


async def dial(url: str, pool: SessionPool) -> None:
    try:
        await LongPollTransport(url, pool).dial(Headers(SECRET), max_frame_bytes=FRAME_BYTES)
    finally:
        await pool.close()


@pytest.mark.parametrize(
    "act", [ok([]), ok({"user_id": "u1"}), answer(200, b"<html>log in</html>"), answer(200, b" " * 3_000_000)]
)
async def test_what_is_not_the_backend_is_told_when_dialling(act: Act) -> None:
    async with MisbehavingServer(lambda request: act) as server:
        with pytest.raises(LinkLostError, match="not the backend") as lost:
            await dial(server.url, SessionPool())
    assert (lost.value.reached, lost.value.permanent) == (True, True)


@pytest.mark.parametrize(
    ("act", "status"), [(refusal(503, {"Retry-After": "3"}), 503), (redirect("http://127.0.0.1:1/"), 307)]
)
async def test_a_refusal_when_dialling_has_its_status(act: Act, status: int) -> None:
    async with MisbehavingServer(lambda request: act) as server:
        with pytest.raises(UpgradeRefusedError) as refused:
            await dial(server.url, SessionPool())
        assert refused.value.status == status
        assert len(server.requests) == 1


@pytest.mark.parametrize("act", [close(), reset()])
async def test_a_lost_dialling_is_not_repeated_even_on_a_connection_that_was_kept(act: Act) -> None:
    async with MisbehavingServer(lambda request: page() if request.number == 1 else act) as server:
        pool = SessionPool()
        transport = LongPollTransport(server.url, pool)
        await transport.dial(Headers(), max_frame_bytes=FRAME_BYTES)
        with pytest.raises(LinkLostError, match="broke during GET /events"):
            await transport.dial(Headers(), max_frame_bytes=FRAME_BYTES)
        assert [request.connection for request in server.requests] == [1, 1]
        await pool.close()


@pytest.mark.parametrize(
    ("url", "words", "permanent"),
    [
        ("http://127.0.0.1:1", "nothing listens", False),
        ("http://nobody.invalid", "cannot be resolved", None),
    ],
)
async def test_where_nothing_is_nothing_was_reached(url: str, words: str, permanent: bool | None) -> None:
    with pytest.raises(LinkLostError, match=words) as lost:
        await dial(url, SessionPool())
    assert not lost.value.reached
    assert permanent is None or lost.value.permanent is permanent


async def test_no_tls_at_the_address_is_for_good() -> None:
    async with MisbehavingServer(lambda request: ok({}), greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        with pytest.raises(LinkLostError, match="no TLS") as lost:
            await dial(server.url.replace("http:", "https:"), SessionPool())
    assert (lost.value.reached, lost.value.permanent) == (False, True)


async def test_a_request_carries_its_credentials_and_bounds_and_no_cookie() -> None:
    script = Script(ok({"epoch": "e1", "seq": 0, "head": 0, "frames": []}, headers={"Set-Cookie": "a=b; Path=/"}))
    async with (
        MisbehavingServer(script) as server,
        talking(server.url, Headers(SECRET), wait_seconds=0.01) as talk,
    ):
        await talk.subscribe("tasks")
        await talk.until("ping")
    for request in server.requests:
        assert request.headers["X-API-Key"] == SECRET
        assert "Cookie" not in request.headers
        assert SECRET not in request.target
        assert (request.method, request.body) == ("GET", b"")
    assert [request.headers["X-Request-Timeout-Ms"] for request in server.requests[:3]] == ["10000", "10000", "10010"]


async def test_requests_go_through_the_pools_proxy() -> None:
    async with MisbehavingServer(lambda request: page()) as proxy:
        pool = SessionPool(proxy=ProxyAddress(proxy.url, "Basic c2VjcmV0"))
        await dial("http://backend.invalid", pool)
        (request,) = proxy.requests
        assert request.target == f"http://backend.invalid{PROOF}"
        assert request.headers["Proxy-Authorization"] == "Basic c2VjcmV0"


async def test_subscriptions_wait_side_by_side() -> None:
    count = 150
    waiting: set[str] = set()

    def script(request: Request) -> Act:
        if "/events?" not in request.target:
            return ok({})
        if "wait_seconds" not in question(request):
            return page()
        waiting.add(question(request)["topic"][0])
        return silence()

    async with MisbehavingServer(script) as server, talking(server.url, Headers()) as talk:
        for n in range(count):
            await talk.subscribe(f"run:{n}", sid=f"s{n}", id=n)
        for _ in range(count):
            assert (await talk.receive())["op"] == "subscribed"
        async with asyncio.timeout(10):
            while len(waiting) < count:
                await asyncio.sleep(0.001)
        await talk.send("ping", n=1)
        assert (await talk.receive())["op"] == "pong"
