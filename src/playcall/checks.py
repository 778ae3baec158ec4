"""Checks of what untyped callers may give."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

from .errors import ConfigurationError, InvalidArgumentError

__all__ = ["Via", "check_header", "check_method", "check_number", "check_via", "check_whole_number"]

Via: TypeAlias = Literal["auto", "websocket", "long_poll"]
"""How events come; "auto" is the second or, where that is blocked, the third."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""


def check_via(via: object, name: str) -> None:
    """Raises: ConfigurationError: it is no `Via`."""
    if via not in get_args(Via):
        raise ConfigurationError(f"{name}= is one of {', '.join(map(repr, get_args(Via)))}, got {via!r}")


def check_whole_number(
    value: object,
    name: str,
    *,
    least: int,
    kind: type[ConfigurationError | InvalidArgumentError] = InvalidArgumentError,
) -> None:
    """Raises: `kind`: it is no integer, a bool, or less than `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise kind(f"{name} must be a whole number, {least} or more; got {value!r}")


def check_number(
    value: object,
    name: str,
    *,
    least: float,
    most: float,
    what: str,
    kind: type[ConfigurationError | InvalidArgumentError] = InvalidArgumentError,
) -> None:
    """Raises: `kind`: it is no finite number from `least` to `most`; `what` says so in words."""
    fits = not isinstance(value, bool) and isinstance(value, int | float) and least <= value <= most
    if not fits or value == float("inf"):
        raise kind(f"{name} must be {what}, got {value!r}")


def check_method(value: object) -> str:
    """The method in capitals, as all that are registered are. Raises: InvalidArgumentError: it is no token."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise InvalidArgumentError(f"a method is a word such as GET, got {value!r}")
    return value.upper()


def check_header(name: object, value: object) -> None:
    """Raises: InvalidArgumentError: it cannot be sent. No value in the message: it may be a secret."""
    if not isinstance(name, str) or not isinstance(value, str):
        raise InvalidArgumentError(f"the header {name!r} cannot be sent: names and values are strings")
    # `isprintable` refuses lone surrogates too, which UTF-8 cannot carry.
    if not _TOKEN.fullmatch(name) or not value.replace("\t", " ").isprintable():
        raise InvalidArgumentError(f"the header {name!r} cannot be sent: no token, or control characters in it")
