"""Which backend a command works with, and as whom."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .profiles import Profiles, load

if TYPE_CHECKING:
    from ..http.auth import Auth

__all__ = ["Target", "chosen", "resolve"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works with. `auth` is None where nothing says who is calling.

    `profile` names the one whose key, `api_key`, is taken; None where it is another, or none.
    """

    url: str
    auth: Auth | None
    profile: str | None = None
    api_key: str | None = field(default=None, repr=False)


def resolve(url: str | None, profile: str | None) -> Target:
    """Arguments, then `PLAYCALL_*` variables, then the profile, then defaults.

    `--profile` is an argument, so with it the variables do not count: neither URL nor key. A stored key goes only to the
    URL that it was stored for.

    Raises:
        ConfigurationError: there is no such profile, the file cannot be used, or the variables contradict each other.
    """
    from ..config import DEFAULT_URL, auth_from_environment
    from ..http.auth import ApiKey
    from ..http.paths import base_url

    auth = auth_from_environment() if profile is None else None
    given = os.environ.get("PLAYCALL_URL") or None if url is None and profile is None else url
    if given is not None and auth is not None:
        return Target(base_url(given), auth)  # the file is not needed, so it may be as it likes
    stored = load()
    name = chosen(stored, profile)
    taken = None if name is None else stored.by_name[name]
    root = base_url(given if given is not None else taken.url if taken is not None else DEFAULT_URL)
    if auth is not None or taken is None:
        return Target(root, auth)
    if base_url(taken.url) == root:
        return Target(root, ApiKey(taken.api_key), name, taken.api_key)
    if profile is not None:
        raise ConfigurationError(f"the key of profile {name!r} is for {taken.url}, and is not sent to {root}")
    return Target(root, None)


def chosen(stored: Profiles, profile: str | None) -> str | None:
    """The name of the profile that `--profile`, `PLAYCALL_PROFILE` or the file says; None where none of them does.

    Raises:
        ConfigurationError: it is named, and is not there.
    """
    named = profile or os.environ.get("PLAYCALL_PROFILE")
    if named and named not in stored.by_name:
        there = ", ".join(stored.by_name) or "none"
        raise ConfigurationError(f"there is no profile {named!r} (stored: {there}); playcall login --profile makes one")
    return named or stored.current
