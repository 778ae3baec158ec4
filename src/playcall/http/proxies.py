"""Which HTTP proxy stands before a backend: given, or found in the environment."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType] - its stubs have it on no platform

from ..errors import ConfigurationError
from .paths import origin

__all__ = ["ENVIRONMENT", "LaterProxy", "Proxy", "ProxyAddress", "proxy_for"]

Proxy: TypeAlias = str | Literal["environment"] | None
ENVIRONMENT: Final = "environment"


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """`url` holds no credentials; `authorization` has them (RFC 9110 section 11.7.2), and is in no repr."""

    url: str
    authorization: str | None = field(default=None, repr=False)


LaterProxy: TypeAlias = Callable[[], ProxyAddress | None]
"""Finds the proxy when a request is made."""


def proxy_for(url: str, proxy: Proxy) -> ProxyAddress | None:
    """The proxy for a backend at `url`.

    From the environment as other tools read it: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in small letters
    too; found out once, not for each request, and never for this very machine. `NO_PROXY` may name a port.

    Raises:
        ConfigurationError: it is no `http://` or `https://` address with a host.
    """
    if proxy is None:
        return None
    if proxy != ENVIRONMENT:
        return _parsed(proxy, "proxy=")
    scheme, host, port = origin(url)
    found = getproxies_environment()
    text = found.get(scheme) or found.get("all")
    if not text or _is_this_machine(host) or proxy_bypass_environment(f"{host}:{port}", found):
        return None
    return _parsed(text if "://" in text else f"http://{text}", "the proxy that the environment names")


def _parsed(text: str, what: str) -> ProxyAddress:
    # Nothing of the text in a message: it may hold a password.
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"{what} is an address, got {type(text).__name__}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{what} cannot be read as an address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{what} must look like http://host:port or https://host:port; other kinds of proxies (SOCKS) are not supported"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return ProxyAddress(f"{parts.scheme}://{host}" + (f":{port}" if port is not None else ""), authorization)


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
