"""Outbound HTTP: real requests, and nothing inwards."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from playcall.server.tools import ToolLimits
from playcall.server.tools.http_request import _is_public, check_url

from .conftest import Bench


async def echo(request: web.Request) -> web.StreamResponse:
    return web.json_response(
        {
            "method": request.method,
            "query": dict(request.query),
            "body": await request.text(),
            "key": request.headers.get("Idempotency-Key"),
            "authorization": request.headers.get("Authorization"),
            "kind": request.headers.get("Content-Type"),
        }
    )


async def redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=int(request.query.get("status", "302")), headers={"Location": request.query["to"]})


async def forever(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/forever"})


async def plain(request: web.Request) -> web.StreamResponse:
    return web.Response(text="x" * int(request.query.get("size", "5")), status=int(request.query.get("status", "200")))


async def lying(request: web.Request) -> web.StreamResponse:
    return web.Response(text="not json", content_type="application/json")


async def odd(request: web.Request) -> web.StreamResponse:
    charset = request.query.get("charset", "nobody-knows")
    return web.Response(body=b"odd-tda", headers={"Content-Type": f"text/plain; charset={charset}"})


async def silent(request: web.Request) -> web.StreamResponse:
    request.transport.close() if request.transport else None  # type: ignore[func-returns-value]
    return web.Response()


@pytest.fixture
async def far_end(bench: Bench) -> AsyncIterator[str]:
    application = web.Application()
    for path, handler in (
        ("/echo", echo),
        ("/redirect", redirect),
        ("/forever", forever),
        ("/plain", plain),
        ("/lying", lying),
        ("/silent", silent),
        ("/odd", odd),
    ):
        application.router.add_route("*", path, handler)
    server = TestServer(application)
    await server.start_server()
    bench.context.limits = ToolLimits(allow_private_addresses=True, max_http_bytes=1_000)
    yield str(server.make_url("")).rstrip("/")
    await server.close()


async def test_a_request_carries_what_it_was_given_and_its_key(bench: Bench, far_end: str) -> None:
    answer = await bench.call(
        "http.request", url=f"{far_end}/echo", method="POST", query={"a": "1"}, json_body={"x": 1}
    )
    assert answer["status"] == 200
    assert answer["json"] == {
        "method": "POST",
        "query": {"a": "1"},
        "body": '{"x": 1}',
        "key": "run:step:0",
        "authorization": None,
        "kind": "application/json",
    }
    assert (await bench.call("http.request", url=f"{far_end}/echo", method="PUT", text="t"))["json"]["body"] == "t"


async def test_other_answers_come_as_text_and_errors_fail_unless_they_are_wanted(bench: Bench, far_end: str) -> None:
    assert (await bench.call("http.request", url=f"{far_end}/plain"))["text"] == "xxxxx"
    assert (await bench.call("http.request", url=f"{far_end}/lying"))["text"] == "not json"
    assert await bench.refused("http.request", url=f"{far_end}/plain?status=404") == "http_status"
    answer = await bench.call("http.request", url=f"{far_end}/plain?status=404", fail_on_error=False)
    assert answer["status"] == 404
    assert await bench.refused("http.request", url=f"{far_end}/plain?size=1001") == "too_large"
    assert await bench.refused("http.request", url=f"{far_end}/silent") == "connection_failed"


async def test_redirects_are_followed_within_bounds_and_credentials_stay_at_their_origin(
    bench: Bench, far_end: str
) -> None:
    headers = {"Authorization": "Bearer x"}
    same = await bench.call("http.request", url=f"{far_end}/redirect", query={"to": "/echo"}, headers=headers)
    assert same["json"]["authorization"] == "Bearer x"
    elsewhere = far_end.replace("127.0.0.1", "localhost")
    other = await bench.call(
        "http.request", url=f"{far_end}/redirect", query={"to": f"{elsewhere}/echo"}, headers=headers
    )
    assert other["json"]["authorization"] is None
    posted = await bench.call(
        "http.request", url=f"{far_end}/redirect", method="POST", query={"to": "/echo"}, json_body={"x": 1}
    )
    assert posted["json"]["method"] == "GET"
    kept = await bench.call(
        "http.request", url=f"{far_end}/redirect", method="POST", query={"to": "/echo", "status": "307"}, text="t"
    )
    assert (kept["json"]["method"], kept["json"]["body"]) == ("POST", "t")
    assert await bench.refused("http.request", url=f"{far_end}/forever") == "too_many_redirects"
    assert await bench.refused("http.request", url=f"{far_end}/redirect?to=file:///etc/passwd") == "url_refused"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://[::1]:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://0.0.0.0:1/",
        "http://2130706433:1/",
        "http://0x7f.1:1/",
        "http://[fd00::1]/",
        "http://127.0.0.1.:1/",
        "http://[::ffff:0:127.0.0.1]:1/",
    ],
)
async def test_private_addresses_are_refused(bench: Bench, url: str) -> None:
    assert await bench.refused("http.request", url=url) == "address_refused"


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "http://", "nonsense", "http://user:pw@example.org/", "http://[bad/"]
)
async def test_odd_urls_are_refused(bench: Bench, url: str) -> None:
    assert await bench.refused("http.request", url=url) == "url_refused"


async def test_two_bodies_and_broken_headers_are_refused(bench: Bench) -> None:
    both = {"json_body": 1, "text": "x"}
    assert await bench.refused("http.request", url="http://example.org", **both) == "parameters_invalid"
    split = {"X": "a\r\nY: b"}
    assert await bench.refused("http.request", url="http://example.org", headers=split) == "parameters_invalid"


async def test_a_server_that_says_nothing_runs_into_the_timeout(bench: Bench) -> None:
    async def hold(request: web.Request) -> web.StreamResponse:
        import asyncio

        await asyncio.sleep(60)
        return web.Response()

    application = web.Application()
    application.router.add_get("/", hold)
    server = TestServer(application)
    await server.start_server(shutdown_timeout=0.01)
    bench.context.limits = ToolLimits(allow_private_addresses=True)
    try:
        assert await bench.refused("http.request", url=str(server.make_url("/")), timeout_seconds=0.1) == "timeout"
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("224.0.0.1", False),
        ("100.64.0.1", False),
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("::7f00:1", False),
        ("::808:808", False),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::808:808", False),
        ("fec0::1", False),
        ("::ffff:0:7f00:1", False),
        ("3fff::1", False),
        ("4000::1", False),
        ("5f00::1", False),
    ],
)
def test_what_counts_as_public(address: str, public: bool) -> None:
    assert _is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    ("url", "callable"),
    [
        ("https://example.org/x?y=1", True),
        ("http://127.0.0.1:1/", True),
        ("http://example.org:99999/", False),
        ("http://example.org:port/", False),
        ("http://[bad/", False),
        ("http://user@example.org/", False),
        ("ftp://example.org/", False),
        ("http://" + "\ud800" + "/", False),
        ("http://xn--\u00fc.example/", False),
        ("http:///x", False),
    ],
)
def test_a_url_is_checked_without_a_call(url: str, callable: bool) -> None:
    assert (check_url(url) is None) is callable


async def test_a_host_that_cannot_be_resolved_fails_the_call_and_nothing_else(bench: Bench) -> None:
    long_label = "http://" + "a" * 64 + ".example/"
    assert await bench.refused("http.request", url=long_label) in ("connection_failed", "url_refused")


@pytest.mark.parametrize("charset", ["nobody-knows", "punycode", "idna", "hex"])
async def test_an_answer_in_a_charset_that_is_unknown_or_slow_is_read_as_utf_8(
    bench: Bench, far_end: str, charset: str
) -> None:
    answer = await bench.call("http.request", url=f"{far_end}/odd", query={"charset": charset})
    assert answer["text"] == "odd-tda"
