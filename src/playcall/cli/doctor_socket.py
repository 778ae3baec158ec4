"""Events: whether a socket opens, answers, and is taken up again without a gap after the connection was cut.

Read-only: it subscribes to a topic of the caller's own, and asks for no event.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from socket import SHUT_RDWR
from typing import Any, Final, cast

import aiohttp

from ..config import API_PREFIX
from ..models.frames import SUBPROTOCOL, Hello, Ping, Subscribe, WireCursor
from .doctor_findings import Finding
from .doctor_http import Asker

__all__ = ["resume", "socket"]

TOPIC: Final = "runs"
_BLOCKED: Final = "events come by long poll meanwhile; let the proxy pass Upgrade: websocket through"


class _RefusedError(Exception):
    """The server has said no; the message is its own."""


async def socket(asker: Asker) -> Finding:
    if not asker.credentials:
        return Finding("WebSocket", "skipped", "needs credentials")
    begun = time.monotonic()
    try:
        connection, welcome = await _open(asker)
        opened = time.monotonic()
        try:
            await connection.send_str(Ping(n=1).model_dump_json())
            await _frame(connection, lambda frame: frame.get("op") == "pong")
            answered = time.monotonic()
        finally:
            await connection.close()
    except aiohttp.WSServerHandshakeError as error:
        return Finding("WebSocket", "problem", f"the upgrade was answered {error.status}", _BLOCKED)
    except _RefusedError as error:
        return Finding("WebSocket", "problem", str(error), "see the server's log")
    figure = f"opens in {1_000 * (opened - begun):.1f} ms, answers in {1_000 * (answered - opened):.1f} ms"
    return Finding("WebSocket", "good", f"{figure}, a ping every {welcome.get('heartbeat_seconds')} s")


async def resume(asker: Asker) -> Finding:
    if not asker.credentials:
        return Finding("resume", "skipped", "needs credentials")
    try:
        connection, _ = await _open(asker)
        try:
            first = await _subscribe(connection, "head")
        finally:
            _cut(connection)
        connection, _ = await _open(asker)
        try:
            place = WireCursor(epoch=str(first["epoch"]), seq=int(first["seq"]), id=first.get("at_id"))
            again = await _subscribe(connection, place)
        finally:
            await connection.close()
    except aiohttp.WSServerHandshakeError as error:
        return Finding("resume", "skipped", f"the upgrade was answered {error.status}")
    except _RefusedError as error:
        return Finding("resume", "problem", str(error), "see the server's log")
    if again.get("op") == "gap":
        return Finding(
            "resume", "problem", f"a gap: {again.get('reason')}", "two servers behind one address with two logs?"
        )
    if (again.get("epoch"), again.get("seq")) != (first.get("epoch"), first.get("seq")):
        return Finding(
            "resume", "problem", "it went on at another place", "two servers behind one address with two logs?"
        )
    return Finding("resume", "good", f"cut, and taken up at {place.epoch}:{place.seq} without a gap")


async def _open(asker: Asker) -> tuple[aiohttp.ClientWebSocketResponse, dict[str, Any]]:
    """Any: a frame, which may be of a later version."""
    asker.asked = f"WebSocket {API_PREFIX}/ws"
    url = asker.root.replace("http", "ws", 1) + f"{API_PREFIX}/ws"
    connection = await asker.session.ws_connect(
        url, protocols=[SUBPROTOCOL], **asker.ways.routed(url, asker.credentials)
    )
    try:
        await connection.send_str(Hello(client="playcall doctor").model_dump_json(exclude_none=True))
        return connection, await _frame(connection, lambda frame: frame.get("op") == "welcome")
    except BaseException:
        _cut(connection)
        raise


async def _subscribe(connection: aiohttp.ClientWebSocketResponse, start: Any) -> dict[str, Any]:
    frame = Subscribe(id=1, sid="doctor", topic=TOPIC, from_=start, limit=0)
    await connection.send_str(frame.model_dump_json(exclude_none=True))
    return await _frame(connection, lambda answer: answer.get("op") in ("subscribed", "gap", "ended"))


async def _frame(
    connection: aiohttp.ClientWebSocketResponse, wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The next such frame; the server's pings and whatever else comes are passed over. The check's own bound ends it."""
    while True:
        message = await connection.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise _RefusedError(f"the server closed the socket: {connection.close_code} {message.extra or ''}".rstrip())
        frame = cast("dict[str, Any]", json.loads(message.data))
        if frame.get("op") == "error":
            raise _RefusedError(f"{frame.get('code')}: {frame.get('message')}")
        if wanted(frame):
            return frame


def _cut(connection: aiohttp.ClientWebSocketResponse) -> None:
    """As a network does it: without a goodbye."""
    held = connection.get_extra_info("socket")
    if held is not None:
        with contextlib.suppress(OSError):
            held.shutdown(SHUT_RDWR)
