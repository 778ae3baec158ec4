"""Whoever connects and says nothing, or a byte now and then, does not keep a socket for ever."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from playcall.server.sockets import http_protocol

from ..conftest import Api

PROBE = b"GET /api/v1/health HTTP/1.1\r\nHost: here\r\n\r\n"


async def connect(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = api.server.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    await reader.readexactly(length)
    return head.partition(b"\r")[0]


@pytest.mark.parametrize("said", [b"", b"GET /api/v1/health HTTP/1.1\r\n"], ids=["nothing", "half a head"])
async def test_a_head_that_does_not_end_ends_its_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    reader, writer = await connect(api)
    writer.write(said)

    async def trickle() -> None:
        while said:
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    try:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
    finally:
        trickling.cancel()
        writer.close()


async def test_half_a_head_after_a_request_ends_its_connection_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = await connect(api)
    writer.write(PROBE)
    assert await answer(reader) == b"HTTP/1.1 200 OK"
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    writer.write(b"GET /")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_between_two_requests_a_connection_may_be_idle_for_longer(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    reader, writer = await connect(api)
    for idle_seconds in (0.6, 0):  # twice what a head may take
        writer.write(PROBE)
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        await asyncio.sleep(idle_seconds)
    writer.close()
