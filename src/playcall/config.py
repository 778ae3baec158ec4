"""Settings: from arguments, then `PLAYCALL_*` environment variables, then defaults."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .http.auth import Auth

__all__ = ["API_PREFIX", "DEFAULT_DEADLINE_SECONDS", "DEFAULT_URL", "auth_from_environment", "url_from_environment"]

# A library says nothing that its user did not ask for (the logging HOWTO, «Configuring Logging for a Library»).
logging.getLogger("playcall").addHandler(logging.NullHandler())

DEFAULT_URL: Final = "http://127.0.0.1:8000"
API_PREFIX: Final = "/api/v1"
DEFAULT_DEADLINE_SECONDS: Final = 60.0
DEFAULT_MAX_CONCURRENCY: Final = 100


def url_from_environment() -> str:
    """`PLAYCALL_URL`, or the address of a backend started with no options on this machine."""
    return os.environ.get("PLAYCALL_URL") or DEFAULT_URL


def auth_from_environment() -> Auth | None:
    """`PLAYCALL_API_KEY` or `PLAYCALL_TOKEN`, or None.

    Raises:
        ConfigurationError: both are set, and nothing says which is meant.
    """
    from .http.auth import ApiKey, BearerToken

    key, token = os.environ.get("PLAYCALL_API_KEY"), os.environ.get("PLAYCALL_TOKEN")
    if key and token:
        raise ConfigurationError("PLAYCALL_API_KEY and PLAYCALL_TOKEN are both set: unset one, or pass auth=")
    if key:
        return ApiKey(key)
    return BearerToken(token) if token else None
