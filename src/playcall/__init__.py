"""playcall: the client, blocking and async, for backends that run playbooks.

Nothing heavy is imported until a name is used (PEP 562), so that a command-line tool starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazily: a submodule that is imported later would take the name from the function.
from .deadline import deadline

if TYPE_CHECKING:
    from .client import AsyncPlaycall, Playcall
    from .errors import PlaycallError
    from .http.auth import ApiKey, Auth, BearerToken, Credentials, OAuth2Password
    from .http.retry import RetryPolicy
    from .models.cursor import Cursor
    from .services.api_client import BaseAPIClient, BlockingAPIClient
    from .services.resource import ResourceService
    from .services.run_service import RunSnapshot
    from .services.websocket_client import BlockingWebSocketClient, WebSocketClient
    from .status import ConnectionState

__version__ = "0.1.0"

__all__ = [
    "ApiKey",
    "AsyncPlaycall",
    "Auth",
    "BaseAPIClient",
    "BearerToken",
    "BlockingAPIClient",
    "BlockingWebSocketClient",
    "ConnectionState",
    "Credentials",
    "Cursor",
    "OAuth2Password",
    "Playcall",
    "PlaycallError",
    "ResourceService",
    "RetryPolicy",
    "RunSnapshot",
    "WebSocketClient",
    "__version__",
    "deadline",
]

_HOMES = {
    "ApiKey": "http.auth",
    "AsyncPlaycall": "client",
    "Auth": "http.auth",
    "BaseAPIClient": "services.api_client",
    "BearerToken": "http.auth",
    "BlockingAPIClient": "services.api_client",
    "BlockingWebSocketClient": "services.websocket_client",
    "ConnectionState": "status",
    "Credentials": "http.auth",
    "Cursor": "models.cursor",
    "OAuth2Password": "http.auth",
    "Playcall": "client",
    "PlaycallError": "errors",
    "ResourceService": "services.resource",
    "RetryPolicy": "http.retry",
    "RunSnapshot": "services.run_service",
    "WebSocketClient": "services.websocket_client",
}


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
