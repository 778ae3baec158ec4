"""playcall: the client, blocking and async, for backends that run playbooks.

Nothing heavy is imported until a name is used (PEP 562), so that a command-line tool starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazily: a submodule that is imported later would take the name from the function.
from .deadline import deadline

if TYPE_CHECKING:
    from .answer import RawAnswer
    from .client import AsyncPlaycall, Playcall
    from .errors import PlaycallError
    from .http.auth import ApiKey, Auth, BearerToken, Credentials, OAuth2Password
    from .http.envelope import Envelope
    from .http.form_login import FormLogin
    from .http.hooks import AttemptStart
    from .http.retry import RetryPolicy
    from .models.cursor import Cursor
    from .realtime.cursor_file import SqliteCursors
    from .realtime.cursors import MemoryCursors
    from .realtime.items import Gap, Snapshot
    from .realtime.plain_items import PlainEvent, PlainGap
    from .realtime.plain_protocol import PlainSockets
    from .services.api_client import BaseAPIClient, BlockingAPIClient
    from .services.blocking_websocket_client import BlockingWebSocketClient
    from .services.page_positions import NextCursor, OffsetLimit, PageNumber, PostedFilter, Unpaged
    from .services.resource import ResourceService
    from .services.run_service import RunSnapshot
    from .services.websocket_client import WebSocketClient
    from .status import ConnectionState
    from .timeline import Attempt

__version__ = "0.1.0"

__all__ = [
    "ApiKey",
    "AsyncPlaycall",
    "Attempt",
    "AttemptStart",
    "Auth",
    "BaseAPIClient",
    "BearerToken",
    "BlockingAPIClient",
    "BlockingWebSocketClient",
    "ConnectionState",
    "Credentials",
    "Cursor",
    "Envelope",
    "FormLogin",
    "Gap",
    "MemoryCursors",
    "NextCursor",
    "OAuth2Password",
    "OffsetLimit",
    "PageNumber",
    "PlainEvent",
    "PlainGap",
    "PlainSockets",
    "Playcall",
    "PlaycallError",
    "PostedFilter",
    "RawAnswer",
    "ResourceService",
    "RetryPolicy",
    "RunSnapshot",
    "Snapshot",
    "SqliteCursors",
    "Unpaged",
    "WebSocketClient",
    "__version__",
    "deadline",
]

_HOMES = {
    "ApiKey": "http.auth",
    "AsyncPlaycall": "client",
    "Attempt": "timeline",
    "AttemptStart": "http.hooks",
    "Auth": "http.auth",
    "BaseAPIClient": "services.api_client",
    "BearerToken": "http.auth",
    "BlockingAPIClient": "services.api_client",
    "BlockingWebSocketClient": "services.blocking_websocket_client",
    "ConnectionState": "status",
    "Credentials": "http.auth",
    "Cursor": "models.cursor",
    "Envelope": "http.envelope",
    "FormLogin": "http.form_login",
    "Gap": "realtime.items",
    "MemoryCursors": "realtime.cursors",
    "NextCursor": "services.page_positions",
    "OAuth2Password": "http.auth",
    "OffsetLimit": "services.page_positions",
    "PageNumber": "services.page_positions",
    "PlainEvent": "realtime.plain_items",
    "PlainGap": "realtime.plain_items",
    "PlainSockets": "realtime.plain_protocol",
    "Playcall": "client",
    "PlaycallError": "errors",
    "PostedFilter": "services.page_positions",
    "RawAnswer": "answer",
    "ResourceService": "services.resource",
    "RetryPolicy": "http.retry",
    "RunSnapshot": "services.run_service",
    "Snapshot": "realtime.items",
    "SqliteCursors": "realtime.cursor_file",
    "Unpaged": "services.page_positions",
    "WebSocketClient": "services.websocket_client",
}


# `lazy_names` does the same, but would be one more file that every start of a program reads.
def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
