"""What is noted of a request once it is over: a line in the access log, and the counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Final

from starlette.types import Message, Scope, Send

from playcall.server.telemetry import metrics
from playcall.server.telemetry.logs import current_request

__all__ = ["noted"]

logger = logging.getLogger("playcall.server.access")

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PREFIX: Final = "/api/v1"
_NOWHERE: Final = "none"
"""For a path that is none: what somebody tries is no label."""
_SERVER_ERROR: Final = 500
_SWITCHING: Final = 101


@contextmanager
def noted(scope: Scope, send: Send) -> Generator[Send]:
    """Gives the `send` that is to be used in the block.

    A caller who went before there was an answer has no status. A socket is noted when it is over, with the time that it
    was open.
    """
    status: int | None = None

    async def watched(message: Message) -> None:
        nonlocal status
        kind: str = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            status = message["status"]
        elif kind == "websocket.accept":
            status = _SWITCHING
        await send(message)

    began = time.perf_counter()
    token = current_request.set(None)
    is_http = scope["type"] == "http"
    try:
        with metrics.REQUESTS_IN_FLIGHT.held() if is_http else nullcontext():
            yield watched
    finally:
        seconds = time.perf_counter() - began
        _note(scope, status, seconds, is_http=is_http)
        current_request.reset(token)


def _note(scope: Scope, status: int | None, seconds: float, *, is_http: bool) -> None:
    method = str(scope["method"]) if is_http else "WEBSOCKET"
    if method not in _METHODS and is_http:
        method = "other"
    is_fault = status is not None and status >= _SERVER_ERROR
    level = logging.WARNING if is_fault else logging.INFO
    is_logged = logger.isEnabledFor(level)
    if not is_logged and not metrics.is_on():
        return
    route = _template(scope)
    metrics.REQUESTS.add(method, route, "none" if status is None else str(status))
    if is_http:
        metrics.REQUEST_SECONDS.observe(seconds, method, route)
    if is_logged:
        # Its id and its caller come with every line.
        facts = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
        logger.log(level, "request" if is_http else "socket", extra=facts)


def _template(scope: Scope) -> str:
    """Such as `/runs/{run_id}`, within the contract's prefix."""
    route: str | None = getattr(scope.get("route"), "path", None)
    if route is None and "endpoint" in scope:
        route = scope["path"]  # a plain route, whose path has no parameter
    return _NOWHERE if route is None else route.removeprefix(_PREFIX)
