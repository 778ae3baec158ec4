"""Addresses: base URLs that are checked, and paths whose parts are escaped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from ..errors import ConfigurationError, InvalidArgumentError

__all__ = ["Path", "as_path", "base_url", "origin", "path"]

_PATH_SAFE: Final = "/%:@!$&'()*+,;=-._~"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Path:
    """`text` is what is sent, escaped; `template` names the route, for logs and spans."""

    text: str
    template: str


def path(template: str, **parts: str) -> Path:
    """Fills `template` (`/playbooks/{id}`) with parts, each escaped so that it stays one part (RFC 3986 section 3.3).

    A part named with a trailing underscore, `{name_}`, may hold slashes: a file's path.

    Raises:
        InvalidArgumentError: a part is no string, is empty, climbs (`.`, `..`, `../x`), or holds a control character.
    """
    return Path(template.format_map({name: _escaped(name, value) for name, value in parts.items()}), template)


def _escaped(name: str, value: str) -> str:
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"{name.rstrip('_')} must be a string, got {type(value).__name__}")
    segments = value.split("/") if name.endswith("_") else [value]
    # Escaped it would stay one part, and yet some servers and proxies unescape it before they look.
    climbs = any(step in (".", "..") for step in value.replace("\\", "/").split("/"))
    if climbs or any(not segment or any(ord(c) < 32 or ord(c) == 127 for c in segment) for segment in segments):
        raise InvalidArgumentError(f"{name.rstrip('_')} cannot be {value!r}: it would not be one part of a path")
    try:
        return "/".join(quote(segment, safe="") for segment in segments)
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name.rstrip('_')} is not valid Unicode text") from None


def as_path(value: str | Path) -> Path:
    """A path given as text: it must begin with `/`, and stay within the base URL.

    Raises:
        InvalidArgumentError: it is an absolute URL, has a fragment or a query, or climbs out by `..`, escaped or not.
    """
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"a path is a string, got {type(value).__name__}")
    return _checked(value)


@lru_cache(maxsize=512)  # the same few routes are asked for again and again
def _checked(value: str) -> Path:
    if not value.startswith("/") or value.startswith("//"):
        raise InvalidArgumentError(f"a path begins with one '/', and is not a URL: got {value!r}")
    if "?" in value or "#" in value:
        raise InvalidArgumentError(f"a path has no query or fragment, use params=: got {value!r}")
    if any(segment in (".", "..") for segment in unquote(value).replace("\\", "/").split("/")):
        raise InvalidArgumentError(f"a path has no '.' or '..' parts: got {value!r}")
    if any(ord(c) <= 32 or ord(c) == 127 for c in value):
        raise InvalidArgumentError(f"a path has no spaces or control characters, escape them: got {value!r}")
    try:
        return Path(quote(value, safe=_PATH_SAFE), value)
    except UnicodeEncodeError:
        raise InvalidArgumentError("the path is not valid Unicode text") from None


def base_url(text: str) -> str:
    """`text` without a trailing slash, checked.

    Raises:
        ConfigurationError: no http or https URL with a host, or one with credentials, a query or a fragment.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"the base URL must be a string, got {type(text).__name__}")
    told = _told(text)
    if any(ord(c) < 32 or ord(c) == 127 for c in text.strip()):  # urlsplit drops them in silence
        raise ConfigurationError(f"the base URL holds a control character: {told}")
    try:
        parts = urlsplit(text.strip())
        holds_credentials = "@" in parts.netloc
        port = None if holds_credentials else parts.port
    except ValueError:
        raise ConfigurationError(f"the base URL {told} cannot be read: its host or its port is none") from None
    if holds_credentials:
        raise ConfigurationError("the base URL holds a user name or password: give auth= instead")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(f"the base URL must look like http://host:port or https://host, got {told}")
    if not parts.netloc.isascii() or not parts.netloc.isprintable() or " " in parts.netloc or "\\" in parts.netloc:
        raise ConfigurationError(
            f"the base URL's host must be printable ASCII (write an international name as xn--…), got {told}"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(f"the base URL has no query or fragment, got {told}")
    if any(step in (".", "..") for step in unquote(parts.path).replace("\\", "/").split("/")):
        raise ConfigurationError(f"the base URL has no '.' or '..' parts, got {told}")
    if port == 0:
        raise ConfigurationError(f"the base URL's port cannot be 0, got {told}")
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path.rstrip('/'), safe=_PATH_SAFE)}"


def _told(text: str) -> str:
    """For messages: without what may be a password or a token, however the rest was mistyped."""
    if "@" in text:
        return "(not repeated here: what stands before an @ may be a password)"
    return repr(re.sub(r"(?<=[?#]).+", "…", text, flags=re.DOTALL))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454 section 4)."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
