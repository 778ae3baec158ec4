"""The transport on real sockets: every way a server can fail is one of our faults, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from playcall.http import transport as transports
from playcall.http.encodings import PIECE_BYTES
from playcall.http.pool import SessionPool
from playcall.http.retry import FailureKind
from playcall.http.transport import AiohttpTransport, TransportFault, WireRequest
from tests.misbehaving_server import (
    Act,
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


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(SessionPool())
    yield made
    await made.close()


def request(
    url: str, method: str = "GET", body: bytes | None = None, read_timeout_seconds: float | None = 5.0
) -> WireRequest:
    return WireRequest(method, url, {}, body, read_timeout_seconds)


async def test_an_answer_has_status_headers_and_body(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: answer(418, b"short and stout", {"X-A": "b"})) as server:
        got = await transport.send(request(server.url + "/x"))
    assert (got.status, got.headers["x-a"], got.body) == (418, "b", b"short and stout")


async def test_what_is_escaped_stays_as_it_is(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: ok(1)) as server:
        await transport.send(request(server.url + "/a%2Fb%20c/%7Bd%7D?q=1%2B1"))
        assert server.requests[0].target == "/a%2Fb%20c/%7Bd%7D?q=1%2B1"


BROKEN: dict[str, tuple[Act, FailureKind]] = {
    "closes before it answers": (close(), FailureKind.LOST),
    "resets before it answers": (reset(), FailureKind.LOST),
    "half a body": (half(), FailureKind.LOST),
    "half the headers": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), FailureKind.LOST),
    "resets in the body": (
        raw(head(200, {"Content-Length": "100"}) + b"x" * 50, then_reset=True),
        FailureKind.LOST,
    ),
    "a broken chunk": (
        raw(head(200, {"Transfer-Encoding": "chunked"}) + b"5\r\nhello\r\nzz\r\n"),
        FailureKind.LOST,
    ),
    "chunks without an end": (raw(head(200, {"Transfer-Encoding": "chunked"}) + b"5\r\nhello\r\n"), FailureKind.LOST),
    "garbage": (raw(b"\x16\x03\x01\x02\x00\x01 garbage\r\n\r\n"), FailureKind.LOST),
    "another protocol": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), FailureKind.LOST),
    "a body that is not what its encoding says": (
        answer(200, b"not gzip", {"Content-Encoding": "gzip"}),
        FailureKind.LOST,
    ),
    "never answers": (silence(), FailureKind.TIMEOUT),
    "never ends its body": (silence(head(200, {"Content-Length": "9"}) + b"x"), FailureKind.TIMEOUT),
}


EACH_WAY = [
    (name, method)
    for name in BROKEN
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    if method != "HEAD" or not ("body" in name or "chunk" in name)  # an answer to HEAD has no body to break
]


@pytest.mark.parametrize(("name", "method"), EACH_WAY)
async def test_each_way_of_breaking_is_one_fault_and_one_request(
    transport: AiohttpTransport, name: str, method: str
) -> None:
    act, kind = BROKEN[name]
    async with MisbehavingServer(lambda r: act) as server:
        body = None if method in ("GET", "HEAD") else b"x"
        with pytest.raises(TransportFault) as caught:
            await transport.send(request(server.url, method, body, read_timeout_seconds=0.1))
        assert caught.value.kind is kind
        assert caught.value.text
        assert "\n" not in caught.value.text
        assert len(server.requests) == 1
        # Packed wrongly, and yet ended where it should: that connection may be used again.
        await server.wait_until_at_most(1 if "encoding" in name else 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_the_server_closes_under_the_request_is_seen_by_us_alone(
    transport: AiohttpTransport, method: str
) -> None:
    """aiohttp would send a GET a second time by itself."""

    def script(r: Request) -> Act:
        return ok(1) if r.number == 1 else close()

    async with MisbehavingServer(script) as server:
        await transport.send(request(server.url))
        with pytest.raises(TransportFault) as caught:
            await transport.send(request(server.url, method))
        assert caught.value.kind is FailureKind.LOST
        assert [r.connection for r in server.requests] == [1, 1]


async def test_a_connection_closed_between_requests_is_not_used(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: ok(1, then_close=True)) as server:
        for _ in range(3):
            assert (await transport.send(request(server.url))).status == 200
            await server.wait_until_nobody_is_connected()
            await asyncio.sleep(0.01)
        assert server.connections == 3


async def test_connections_are_kept_and_used_again(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: ok(1)) as server:
        for _ in range(5):
            await transport.send(request(server.url))
        assert server.connections == 1


async def test_redirects_are_answers(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: redirect("/elsewhere")) as server:
        assert (await transport.send(request(server.url))).status == 307
        assert len(server.requests) == 1


async def test_cookies_are_not_kept(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: ok(1, headers={"Set-Cookie": "a=b"})) as server:
        await transport.send(request(server.url))
        await transport.send(request(server.url))
        assert "Cookie" not in server.requests[1].headers


async def test_informational_answers_are_passed_over(transport: AiohttpTransport) -> None:
    final = head(200, {"Content-Length": "2"}) + b"ok"
    async with MisbehavingServer(lambda r: raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + final)) as server:
        assert (await transport.send(request(server.url))).body == b"ok"


async def test_nobody_listening_is_provably_not_sent(transport: AiohttpTransport) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransportFault) as caught:
        await transport.send(request(f"http://127.0.0.1:{port}", "POST", b"x"))
    assert caught.value.kind is FailureKind.NOT_SENT
    assert "refused" in caught.value.text.lower() or "connect" in caught.value.text.lower()


async def test_an_unknown_host_is_provably_not_sent(transport: AiohttpTransport) -> None:
    with pytest.raises(TransportFault) as caught:
        await transport.send(request("http://no-such-host.invalid/x"))
    assert caught.value.kind is FailureKind.NOT_SENT


async def test_plain_http_where_tls_is_meant_is_provably_not_sent(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: ok(1)) as server:
        with pytest.raises(TransportFault) as caught:
            await transport.send(request(server.url.replace("http:", "https:")))
        assert caught.value.kind is FailureKind.NOT_SENT


async def test_a_refused_certificate_is_provably_not_sent() -> None:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    transport = AiohttpTransport(SessionPool(context))
    async with MisbehavingServer(lambda r: ok(1)) as server:
        with pytest.raises(TransportFault) as caught:
            await transport.send(request(server.url.replace("http:", "https:")))
        assert caught.value.kind is FailureKind.NOT_SENT
    await transport.close()


async def test_a_large_body_arrives_whole_and_without_a_warning(transport: AiohttpTransport) -> None:
    body = bytes(range(256)) * 20_000  # 5 MB
    async with MisbehavingServer(lambda r: ok(len(r.body))) as server:
        await transport.send(request(server.url, "POST", body))
        assert server.requests[0].body == body


async def test_a_server_that_resets_in_the_middle_of_a_large_body_does_not_count_as_not_sent(
    transport: AiohttpTransport,
) -> None:
    async with MisbehavingServer(lambda r: reset(), read_bodies=False) as server:
        for size in (10_000, 200_000, 20_000_000):
            with pytest.raises(TransportFault) as caught:
                await transport.send(request(server.url, "POST", b"x" * size))
            assert caught.value.kind is FailureKind.LOST


async def test_an_answer_before_the_body_was_read_is_the_answer(transport: AiohttpTransport) -> None:
    refusal = head(413, {"Content-Length": "3", "Connection": "close"}) + b"big"
    async with MisbehavingServer(lambda r: silence(refusal), read_bodies=False) as server:
        got = await transport.send(request(server.url, "POST", b"x" * 20_000_000))
        assert (got.status, got.body) == (413, b"big")


async def test_a_stream_gives_its_body_in_pieces_and_gives_the_connection_back(transport: AiohttpTransport) -> None:
    body = b"0123456789" * 100_000
    async with MisbehavingServer(lambda r: answer(200, body)) as server:
        for _ in range(2):
            async with transport.stream(request(server.url)) as stream:
                assert stream.status == 200
                assert stream.headers["content-length"] == str(len(body))
                pieces = [chunk async for chunk in stream.chunks()]
            assert b"".join(pieces) == body
            assert len(pieces) > 1
        assert server.connections == 1
        async with transport.stream(request(server.url)) as stream:
            assert await stream.read() == body


async def test_a_stream_left_early_closes_its_connection(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: silence(head(200, {"Content-Length": "99"}) + b"x")) as server:
        async with transport.stream(request(server.url)) as stream:
            async for _ in stream.chunks():
                break
        await server.wait_until_nobody_is_connected()


async def test_a_packed_stream_comes_in_pieces_of_bounded_size_and_lets_others_run(transport: AiohttpTransport) -> None:
    body = bytes(20 * PIECE_BYTES)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    packed = answer(200, gzip.compress(body), {"Content-Encoding": "gzip"})
    async with MisbehavingServer(lambda r: packed) as server, transport.stream(request(server.url)) as stream:
        chunks = stream.chunks()
        pieces = [await anext(chunks)]
        other = asyncio.create_task(others())
        pieces += [piece async for piece in chunks]
        other.cancel()
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) == PIECE_BYTES
    assert turns >= 19, "one between any two pieces"


async def test_a_large_packed_body_is_unpacked_beside_the_loop(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    unpacked = transports._unpacked

    def noting(*args: Any) -> bytes:
        threads.append(threading.get_ident())
        return unpacked(*args)

    monkeypatch.setattr(transports, "_unpacked", noting)
    here = threading.get_ident()
    for body, beside in ((b"a" * 1000, False), (bytes(10 << 20), True)):
        packed = answer(200, gzip.compress(body), {"Content-Encoding": "gzip"})
        async with MisbehavingServer(lambda r, packed=packed: packed) as server:
            assert (await transport.send(request(server.url))).body == body
        assert (threads.pop() != here) is beside


async def test_closing_from_another_loop_ends_who_reads_a_body_on_this_one() -> None:
    transport = AiohttpTransport(SessionPool())
    act = silence(head(200, {"Content-Length": "99"}) + b"half")
    async with (
        MisbehavingServer(lambda r: act) as server,
        transport.stream(request(server.url, read_timeout_seconds=None)) as stream,
    ):
        reading = asyncio.ensure_future(stream.read())
        await asyncio.to_thread(asyncio.run, transport.close())
        async with asyncio.timeout(5):
            with pytest.raises(TransportFault) as caught:
                await reading
        assert caught.value.kind is FailureKind.LOST


@pytest.mark.parametrize("way", ["chunks", "read"])
async def test_a_stream_that_breaks_off_is_a_fault(transport: AiohttpTransport, way: str) -> None:
    async with (
        MisbehavingServer(lambda r: half()) as server,
        transport.stream(request(server.url)) as stream,
    ):

        async def use() -> None:
            if way == "read":
                await stream.read()
            async for _ in stream.chunks():
                pass

        with pytest.raises(TransportFault) as caught:
            await use()
        assert caught.value.kind is FailureKind.LOST


async def test_cancelling_closes_the_connection(transport: AiohttpTransport) -> None:
    async with MisbehavingServer(lambda r: silence()) as server:
        task = asyncio.create_task(transport.send(request(server.url)))
        while not server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        await server.wait_until_nobody_is_connected()


def test_foreign_error_texts_are_not_repeated() -> None:
    from playcall.http.connector import SendMark
    from playcall.http.transport import _fault

    fault = _fault(aiohttp.ClientConnectionError("Cannot connect to http://me:hunter2@proxy"), SendMark())
    assert "hunter2" not in fault.text
    assert fault.kind is FailureKind.NOT_SENT
