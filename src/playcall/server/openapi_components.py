"""The parts of the OpenAPI document that all operations share: headers both ways, who may call, what the nouns are."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["HEADERS", "ORDINARY_HEADERS", "PARAMETERS", "PROBLEM_HEADERS", "READ_WITH_CODE", "SECURITY_SCHEMES", "TAGS"]

# `Any` throughout: pieces of a JSON document of another specification.

_MOST_DIGITS: Final = 999_999_999


def _header(description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "schema": schema or {"type": "string"}}


def _parameter(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, **_header(description, schema)}


_WHOLE_SECONDS: Final = {"type": "integer", "minimum": 0}

HEADERS: Final[dict[str, Any]] = {
    "Accept-Ranges": _header("Parts are given (RFC 9110 section 14.3).", {"const": "bytes"}),
    "Cache-Control": _header(
        "No cache that is shared keeps an answer, and none at all keeps a secret.",
        {"enum": ["private, no-cache", "no-store"]},
    ),
    "Content-Disposition": _header("An attachment, with the file's name."),
    "Content-Range": _header("Which part it is, and of how much (RFC 9110 section 14.4)."),
    "ETag": _header("The version, as `If-Match` and `If-None-Match` take it; of a file, its content's SHA-256."),
    "Idempotency-Replayed": _header("The call was made before: this is its answer.", {"const": "true"}),
    "Last-Modified": _header("When the file was written."),
    "Location": _header("The path of what has been made."),
    "RateLimit": _header(
        'What is left of the policy now, and after how many seconds there is more: `"user";r=999;t=1`.'
    ),
    "RateLimit-Policy": _header('How many requests in how many seconds, in the long run: `"user";q=1000;w=5`.'),
    "Retry-After": _header("Seconds to wait before another try.", _WHOLE_SECONDS),
    "Upgrade": _header("What to upgrade to.", {"const": "websocket"}),
    "WWW-Authenticate": _header("How to authenticate (RFC 6750 section 3)."),
    "X-Content-Type-Options": _header("Nobody guesses the kind of file.", {"const": "nosniff"}),
    "X-Event-Cursor": _header(
        "`EPOCH:SEQ`: up to there in the log the state is known.",
        {"type": "string", "pattern": "^[!-9;-~]+:[0-9]{1,16}$"},
    ),
    "X-Request-ID": _header(
        "The request's id, for whoever reads the server's log.", {"type": "string", "minLength": 1}
    ),
}

ORDINARY_HEADERS: Final = ("X-Request-ID", "Cache-Control", "RateLimit", "RateLimit-Policy")
"""Of every answer."""

PROBLEM_HEADERS: Final = {
    "unauthenticated": ("WWW-Authenticate",),
    "version_mismatch": ("ETag",),
    "range_not_satisfiable": ("Content-Range",),
    "upgrade_required": ("Upgrade",),
    "too_many_connects": ("Retry-After",),
    "rate_limited": ("Retry-After",),
    "too_many_sign_ins": ("Retry-After", "Cache-Control"),
    "invalid_grant": ("Cache-Control",),
    "oauth:invalid_request": ("Cache-Control",),
    "unsupported_grant_type": ("Cache-Control",),
    "invalid_scope": ("Cache-Control",),
    **dict.fromkeys(
        ("busy", "database_unavailable", "draining", "engine_unavailable", "too_many_sockets"), ("Retry-After",)
    ),
}
"""Beside the ordinary ones, by the problem's code."""

PARAMETERS: Final[dict[str, Any]] = {
    "Idempotency-Key": _parameter(
        "Idempotency-Key",
        "The call is done once, however often it is sent with this key.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    ),
    "If-Match": _parameter("If-Match", "Only if this is still the version (an `ETag`); else 412."),
    "If-None-Match": _parameter(
        "If-None-Match", "Only if this is not the version (an `ETag`); else 304, or 412 for a change."
    ),
    "If-Range": _parameter("If-Range", "The part only if this is still the `ETag`; else the whole."),
    "Range": _parameter("Range", "One part of the bytes (RFC 9110 section 14.2)."),
    "X-Request-ID": _parameter("X-Request-ID", "Kept as the request's id if it is 1 to 128 plain characters."),
    "X-Request-Timeout-Ms": _parameter(
        "X-Request-Timeout-Ms",
        "How long the caller still waits; the server has a bound of its own.",
        {"type": "integer", "minimum": 0, "maximum": _MOST_DIGITS},
    ),
}

READ_WITH_CODE: Final = {"version_mismatch": "If-Match"}
"""What can be answered with the code has come with the header."""

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key, `pk_…`."},
    "Token": {
        "type": "oauth2",
        "description": "An access token in `Authorization: Bearer`; an API key is taken there too.",
        "flows": {
            "password": {
                "tokenUrl": "/api/v1/auth/token",
                "scopes": {"full": "Everything.", "read": "GET only."},
            }
        },
    },
}

TAGS: Final = (
    {"name": "health", "description": "Whether the server lives, and can work. No credentials."},
    {"name": "auth", "description": "Tokens, API keys, and who one is."},
    {"name": "playbooks", "description": "What is to be done."},
    {"name": "runs", "description": "A playbook's executions, their steps, logs and files."},
    {"name": "agents", "description": "Who does the work."},
    {"name": "tasks", "description": "One operation for one agent, of a run or of one's own."},
    {"name": "tools", "description": "What agents can do."},
    {"name": "events", "description": "What happens: the log, by long poll and by WebSocket."},
)
