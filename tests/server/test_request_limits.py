"""What a request may cost the server before anybody has looked at it: bytes, headers, and time."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from .conftest import Api
from .routes.test_artifacts import new_run

CHUNK = b"1\r\na\r\n"


class Raw:
    """One request, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def begin(cls, api: Api, method: str, path: str, **headers: str) -> Raw:
        host, _, port = api.server.url.removeprefix("http://").rpartition(":")
        raw = cls(*await asyncio.open_connection(host, int(port)))
        lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: h", f"X-API-Key: {api.user.key}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        raw.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return raw

    async def answer(self) -> tuple[int, Any]:
        """Status and problem; the connection is then closed, or ended by us."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.partition(":")[2]) for line in head.splitlines() if line.lower().startswith("content-length:")
            )
            body = await self.reader.readexactly(length)
        self.writer.close()
        return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body

    async def trickle(self, piece: bytes) -> None:
        """Until the server has had enough."""
        while not self.writer.is_closing():
            try:
                self.writer.write(piece)
                await self.writer.drain()
            except ConnectionError:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", ["/agents", "/auth/token", "/playbooks"])
@pytest.mark.parametrize("how", ["Content_Length", "Transfer_Encoding"])
async def test_a_body_that_trickles_holds_its_request_no_longer_than_the_deadline(
    api: Api, path: str, how: str
) -> None:
    """504, as when the work takes too long: nothing has been changed."""
    form = path == "/auth/token"
    sized = {how: "1000"} if how == "Content_Length" else {how: "chunked"}
    raw = await Raw.begin(
        api,
        "POST",
        path,
        Content_Type="application/x-www-form-urlencoded" if form else "application/json",
        X_Request_Timeout_Ms="300",
        **sized,
    )
    sending = asyncio.create_task(raw.trickle(b"a" if how == "Content_Length" else CHUNK))
    try:
        status, problem = await raw.answer()
    finally:
        sending.cancel()
    assert (status, problem["code"]) == (504, "deadline_exceeded")


async def test_a_body_of_ten_megabytes_is_refused_by_its_announcement(api: Api) -> None:
    """Before it has come: so much as is sent at once is read, and no more is waited for."""
    raw = await Raw.begin(api, "POST", "/agents", Content_Type="application/json", Content_Length="10485760")
    sending = asyncio.create_task(raw.trickle(b"[" * 1_048_576))
    try:
        status, problem = await raw.answer()
    finally:
        sending.cancel()
    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_body_without_a_length_is_refused_once_it_is_too_large(api: Api) -> None:
    raw = await Raw.begin(api, "POST", "/agents", Content_Type="application/json", Transfer_Encoding="chunked")
    sending = asyncio.create_task(raw.trickle(b"40000\r\n" + b"[" * 0x40000 + b"\r\n"))
    try:
        status, problem = await raw.answer()
    finally:
        sending.cancel()
    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_body_with_two_lengths_is_refused_and_nothing_after_it_is_looked_at(api: Api) -> None:
    raw = await Raw.begin(
        api, "POST", "/agents", Content_Length="5", Transfer_Encoding="chunked", Content_Type="application/json"
    )
    # In one piece: what comes when the connection is closed already would reset it.
    raw.writer.write(b"0\r\n\r\n" + b"GET /api/v1/health HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await raw.reader.read()  # to the connection's end
    raw.writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"invalid_header"' in answer
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_packed_body_is_not_unpacked(api: Api) -> None:
    """A thousand bytes that would be a million."""
    bomb = gzip.compress(b'{"name": "' + b"a" * 1_000_000 + b'"}')
    assert len(bomb) < 2_000
    for path, media_type in (("/agents", "application/json"), ("/playbooks", "application/yaml")):
        headers = {"Content-Type": media_type, "Content-Encoding": "gzip"}
        answer = await api("POST", path, data=bomb, headers=headers)
        assert answer.status in (400, 422)
        assert answer.json["code"] in ("invalid_json", "playbook_invalid")


@pytest.mark.parametrize("headers", [{"X_Large": "a" * 100_000}, {f"X_{n}": "a" * 50 for n in range(2_000)}])
async def test_headers_beyond_64_kib_are_refused(api: Api, headers: dict[str, str]) -> None:
    raw = await Raw.begin(api, "GET", "/agents", **headers)
    status, _ = await raw.answer()
    assert status == 400
    assert (await api("GET", "/agents")).status == 200


@pytest.mark.parametrize("path", ["/agents", "/agents/agt_0", "/auth/me", "/events?topic=agents"])
async def test_no_shared_cache_keeps_what_belongs_to_one(api: Api, path: str) -> None:
    """It takes X-API-Key for no credential (RFC 9111 section 3.5)."""
    assert (await api("GET", path)).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript"])
@pytest.mark.parametrize("how", [{}, {"Range": "bytes=0-3"}], ids=["whole", "part"])
async def test_an_uploaded_page_does_not_run_as_one_of_ours(api: Api, media_type: str, how: dict[str, str]) -> None:
    path = f"/runs/{await new_run(api)}/artifacts/page"
    await api.ok("PUT", path, data=b"<script>steal()</script>", headers={"Content-Type": media_type})
    answer = await api("GET", path, headers=how)
    assert answer.status == (206 if how else 200)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-cache"
