"""Browsers: which other origins' pages may call this server, and open sockets to it.

None, unless the server was told so. We have no cookies: a page can only use credentials that it was given, so nobody's are
ridden on, by a request (CSRF) or by a socket (cross-site WebSocket hijacking). What a strange page could still do to a
server in its visitor's own network is to ask, and to take up sockets. CORS keeps it from reading answers, but does not hold
for WebSockets; so their `Origin` is looked at here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from playcall.server.problems import ApiError

__all__ = ["EXPOSED_HEADERS", "REQUEST_HEADERS", "allow_origins", "require_known_origin"]

REQUEST_HEADERS: Final = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "If-Range", "Range", "X-API-Key",
    "X-Request-ID", "X-Request-Timeout-Ms",
)  # fmt: skip
EXPOSED_HEADERS: Final = (
    "Accept-Ranges", "Content-Disposition", "Content-Range", "Deprecation", "ETag", "Idempotency-Replayed", "Link",
    "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "Sunset", "WWW-Authenticate", "X-Event-Cursor",
    "X-Request-ID",
)  # fmt: skip
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PORTS: Final = {"http": 80, "https": 443}


def allow_origins(app: Starlette, origins: Collection[str]) -> None:
    """The layer around all others, so that errors can be read as well. `*` is every origin."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=REQUEST_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        # Never: it would be about cookies, which there are none of.
        allow_credentials=False,
    )


def require_known_origin(headers: Headers, allowed: Collection[str]) -> None:
    """Whatever is no browser sends no `Origin`, and passes.

    Raises:
        ApiError: 403 `origin_refused`: the page is of another origin, and that is not allowed.
    """
    origin = headers.get("origin")
    if origin is None or "*" in allowed or origin in allowed or _is_same(origin, headers.get("host", "")):
        return
    raise ApiError(403, "origin_refused", "pages of this origin may not open sockets here; see --cors-origin")


def _is_same(origin: str, host: str) -> bool:
    """By name and port: whether TLS ended before us cannot be seen here."""
    try:
        page, server = urlsplit(origin), urlsplit(f"//{host}")
        default = _PORTS.get(page.scheme)
        return (
            default is not None
            and page.hostname is not None
            and (page.hostname, page.port or default) == (server.hostname, server.port or default)
        )
    except ValueError:
        return False
