"""The outermost layer: every answer has a request id, every error is a problem, every refused socket a true status."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playcall.server.limits.doorkeeper import peer_of
from playcall.server.limits.rate_limit import RateLimit
from playcall.server.telemetry.access import noted
from playcall.server.telemetry.logs import current_request

from .context import Deadline, RequestContext, deadline_exceeded
from .error_handlers import problem_of
from .problems import ApiError, problem_response

__all__ = ["Envelope", "deny_socket"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_LENGTH_DIGITS = 18
"""Of a Content-Length; no body is as long as that says."""
_TIMEOUT = re.compile(r"[0-9]{1,9}")

MAX_HEADER_BYTES = 65_536
MAX_HEADERS = 200
"""Both are far above what anybody needs; the server library's own bound depends on how the bytes happen to arrive."""
_PRIVATE = (b"cache-control", b"private, no-cache")
"""Of every answer that says nothing else: a cache that many share keeps what came for an `X-API-Key`, which it takes for no
credential (RFC 9111 section 3.5), and would give it to the next."""
_PROBES = ("/health", "/ready", "/metrics")
"""Asked by whoever watches over servers, from the address of a balancer, which would take a 429 for the end of this one."""
_OPEN = "/auth/token"
"""Anonymous whatever the headers say."""

DISCARDED_BODIES = 8
"""How many times the limit is read, and thrown away, of a body that is too large."""


class Envelope:
    """Pure ASGI: it sees every byte and buffers none. A body's bound is kept where the body is read.

    A caller's `X-Request-ID` is kept if it is a word of up to 128 plain characters, else it gets one of ours.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_request_seconds: float,
        max_body_bytes: int,
        takes_large_body: Callable[[str, str], bool] = lambda method, path: False,
        rate_limit: RateLimit | None = None,
    ) -> None:
        """`takes_large_body` tells by method and path which requests' announced bodies are looked at when they are read,
        because their route raises the bound; all others are refused before their route, which may read none."""
        self._app = app
        self._max_request_seconds = max_request_seconds
        self._max_body_bytes = max_body_bytes
        self._takes_large_body = takes_large_body
        self._rate_limit = rate_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with noted(scope, send) as noting:
                await self._http(scope, receive, noting)
        elif scope["type"] == "websocket":
            with noted(scope, send) as noting:
                await self._socket(scope, receive, noting)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        context = RequestContext(request_id, Deadline.after(self._max_request_seconds), self._max_body_bytes)
        current_request.set(context)
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode()), *context.headers]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append(_PRIVATE)
                message["headers"] = headers
            await send(message)

        seconds = self._max_request_seconds
        timeout = headers.get("x-request-timeout-ms")
        if timeout is not None:
            if not _TIMEOUT.fullmatch(timeout):
                refusal = problem_response(
                    400,
                    "invalid_header",
                    "X-Request-Timeout-Ms is a whole number of milliseconds",
                    request_id=request_id,
                )
                await refusal(scope, receive, send_named)
                return
            seconds = min(seconds, int(timeout) / 1_000)
        context.deadline, context.rate_limit = Deadline.after(seconds), self._rate_limit
        context.attach(scope)
        length = headers.get("content-length", "")
        announced = int(length[:_LENGTH_DIGITS]) if length.isdecimal() else 0
        received = 0
        more = True

        async def discard(most: int) -> None:
            if more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(context.deadline.remaining_seconds()):
                        await _discard(receive, received, most * DISCARDED_BODIES)

        async def refuse(most: int) -> NoReturn:
            await discard(most)
            raise ApiError(413, "body_too_large", f"a body is at most {most:,} bytes")

        async def receive_bounded() -> Message:
            nonlocal received, more
            most = context.max_body_bytes
            if received == 0 and announced > most:
                await refuse(most)
            try:
                # What comes after the body is the caller's leaving, which may take its time.
                async with asyncio.timeout(context.deadline.remaining_seconds() if more else None):
                    message = await receive()
            except TimeoutError:
                raise deadline_exceeded() from None
            more = message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > most:
                await refuse(most)
            return message

        try:
            _require_small(headers)
            if "content-length" in headers and "transfer-encoding" in headers:
                await discard(self._max_body_bytes)
                raise _two_lengths()
            if _is_anonymous(scope["path"], headers):
                await context.charge("address", peer_of(scope))
            if announced > self._max_body_bytes and not self._takes_large_body(scope["method"], scope["path"]):
                await refuse(self._max_body_bytes)
            await self._app(scope, receive_bounded, send_named)
        except Exception as error:
            if started:
                raise  # too late for another answer: the server library cuts the connection, and logs why
            await problem_of(error, request_id)(scope, receive, send_named)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(Headers(scope=scope))
        context = RequestContext(request_id, Deadline.after(self._max_request_seconds))
        context.attach(scope)
        current_request.set(context)
        opened = False

        async def send_true(message: Message) -> None:
            nonlocal opened
            if message["type"] == "websocket.accept":
                opened = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif message["type"] == "websocket.close" and not opened:
                # The router closes sockets on paths it does not know; the server library would make that 403.
                nothing_here = problem_response(
                    404, "not_found", f"there is nothing at {scope['path']}", request_id=request_id
                )
                await deny_socket(nothing_here, scope, receive, send, request_id=request_id)
                return
            await send(message)

        await self._app(scope, receive, send_true)


async def deny_socket(response: Response, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
    """Answer an upgrade with an HTTP response, by ASGI's `websocket.http.response`; without it, by closing."""
    response.headers["x-request-id"] = request_id
    if "websocket.http.response" in scope.get("extensions", {}):
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


async def _discard(receive: Receive, received: int, most: int) -> None:
    """Read a body to its end and keep nothing: a client that still writes would see a reset and no answer.

    Beyond `most` bytes it does see that.
    """
    more = True
    while more and received <= most:
        message = await receive()
        received += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


def _require_small(headers: Headers) -> None:
    """
    Raises:
        ApiError: 400 `invalid_header`.
    """
    if len(headers.raw) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEADER_BYTES:
        raise ApiError(
            400,
            "invalid_header",
            f"a request has {MAX_HEADERS} headers at most, of {MAX_HEADER_BYTES:,} bytes together",
        )


def _two_lengths() -> ApiError:
    """A proxy before us may have gone by the other one, and what we take for the next request be somebody's body
    (RFC 9112 section 6.3): whatever follows on this connection is not looked at."""
    return ApiError(
        400,
        "invalid_header",
        "a request has Content-Length or Transfer-Encoding, not both",
        headers={"Connection": "close"},
    )


def _is_anonymous(path: str, headers: Headers) -> bool:
    """Whether a request is its address's: of those with credentials, the gate says whose they are."""
    if path.endswith(_PROBES):
        return False
    return ("x-api-key" not in headers and "authorization" not in headers) or path.endswith(_OPEN)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
