"""Pages of other origins: they may ask nothing and open nothing, unless the server was told that they may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.datastructures import Headers

from playcall.server.limits.origins import EXPOSED_HEADERS, REQUEST_HEADERS, require_known_origin
from playcall.server.problems import ApiError
from playcall.server.settings import Settings

from .conftest import Api, RunningServer
from .sockets.test_doorkeeper import refusal
from .sockets.test_websocket import talking

BOARD = "https://board.example"


@asynccontextmanager
async def a_server(folder: Path, *origins: str, **settings: Any) -> AsyncIterator[Api]:
    with RunningServer(Settings(data_dir=folder, port=0, cors_origins=origins, **settings)) as server:
        async with aiohttp.ClientSession() as session:
            yield Api(server, session, await server.new_user())


def listed(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")}


async def preflight(api: Api, origin: str = BOARD, method: str = "PATCH", headers: str = "x-api-key, if-match") -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return await api("OPTIONS", "/agents", headers={"X-API-Key": "", **asked})


async def test_without_the_setting_no_page_is_told_that_it_may(api: Api) -> None:
    asked = await api("GET", "/agents", headers={"Origin": BOARD})
    refused = await preflight(api)
    assert refused.status == 405
    for answer in (asked, refused):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_an_allowed_page_may_send_our_headers_and_read_them_errors_and_refusals_included(tmp_path: Path) -> None:
    async with a_server(tmp_path, BOARD, requests_per_second=0.01, request_burst=2) as api:
        allowed = await preflight(api)
        assert allowed.status == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == BOARD
        assert listed(allowed.headers["Access-Control-Allow-Headers"]) >= set(REQUEST_HEADERS)
        assert (await preflight(api, headers=", ".join(REQUEST_HEADERS).lower())).status == 200
        assert "Access-Control-Allow-Credentials" not in allowed.headers
        for expected in (200, 404, 429):
            answer = await api("GET", "/agents" if expected == 200 else "/agents/agt_0", headers={"Origin": BOARD})
            assert answer.status == expected
            assert answer.headers["Access-Control-Allow-Origin"] == BOARD
            assert listed(answer.headers["Access-Control-Expose-Headers"]) == set(EXPOSED_HEADERS)
            assert "Origin" in answer.headers["Vary"]


async def test_every_header_that_an_answer_may_have_can_be_read(api: Api) -> None:
    """All that the document names, and nothing is forgotten when one is added."""
    document = await api.session.get(f"{api.server.url}/openapi.json")
    named = set((await document.json())["components"]["headers"])
    readable_anyway = {"Cache-Control", "Last-Modified"}
    never = {"Upgrade", "X-Content-Type-Options"}
    assert named - set(EXPOSED_HEADERS) <= readable_anyway | never


async def test_every_header_that_a_request_may_have_can_be_sent(api: Api) -> None:
    document = await api.session.get(f"{api.server.url}/openapi.json")
    named = set((await document.json())["components"]["parameters"])
    assert named <= set(REQUEST_HEADERS)


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [("https://evil.example", "GET", "x-api-key"), (BOARD, "GET", "x-strange"), (BOARD, "TRACE", "x-api-key")],
)
async def test_another_origin_header_or_method_is_refused(
    tmp_path: Path, origin: str, method: str, headers: str
) -> None:
    async with a_server(tmp_path, BOARD) as api:
        assert (await preflight(api, origin, method, headers)).status == 400
        if origin != BOARD:
            answer = await api("GET", "/agents", headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_socket_is_opened_for_no_page_of_a_strange_origin(tmp_path: Path) -> None:
    async with a_server(tmp_path, BOARD) as api:
        assert (await refusal(api, {"X-API-Key": api.user.key, "Origin": "https://evil.example"}))[:2] == (
            403,
            "origin_refused",
        )
        for origin in (BOARD, api.server.url):
            async with talking(api, {"X-API-Key": api.user.key, "Origin": origin}):
                pass


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "passes"),
    [
        (None, "a.example", (), True),
        ("https://a.example", "a.example", (), True),
        ("http://a.example", "a.example", (), True),
        ("https://a.example:8443", "a.example:8443", (), True),
        ("http://[::1]:8000", "[::1]:8000", (), True),
        ("https://A.example", "a.EXAMPLE:443", (), True),
        ("https://a.example:8443", "a.example", (), False),
        ("https://b.example", "a.example", (), False),
        ("https://a.example.evil.example", "a.example", (), False),
        ("null", "a.example", (), False),
        ("null", "null", (), False),
        ("", "", (), False),
        ("file://", "a.example", (), False),
        ("https://a.example:x", "a.example", (), False),
        ("https://b.example", "a.example", ("https://b.example",), True),
        ("https://b.example", "a.example", ("*",), True),
    ],
)
def test_which_origins_pass(origin: str | None, host: str, allowed: tuple[str, ...], passes: bool) -> None:
    headers = Headers({"host": host, **({} if origin is None else {"origin": origin})})
    if passes:
        require_known_origin(headers, allowed)
    else:
        with pytest.raises(ApiError) as refused:
            require_known_origin(headers, allowed)
        assert (refused.value.status_code, refused.value.code) == (403, "origin_refused")
