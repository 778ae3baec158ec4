"""Where a redirect leads, and whether it may be followed: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit, urlunsplit

from .paths import origin

__all__ = ["KEEP_METHOD_STATUSES", "MAX_REDIRECTS", "REDIRECT_STATUSES", "Redirect", "judge"]

MAX_REDIRECTS: Final = 5
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
KEEP_METHOD_STATUSES: Final = frozenset({307, 308})
_URL_SAFE: Final = ":/?#[]@!$&'()*+,;=%-._~"


@dataclass(frozen=True, slots=True)
class Redirect:
    """`target` is the URL to ask next; `where` names it for people, without its path; `refusal` says why not to."""

    target: str
    where: str
    refusal: str | None


def judge(url: str, location: str, status: int, *, unsafe: bool, redirects: int, secure: bool) -> Redirect:
    """A safe method is followed anywhere, an unsafe one only on the same origin by 307 or 308 (RFC 9110 section 15.4).

    To the same path with or without its trailing slash it is followed where the request went, whatever scheme and host
    `Location` has: a framework writes those as it sees them behind its proxy, http for https above all.

    Args:
        url: What was asked.
        location: The answer's `Location`.
        redirects: How many this call has met, this one included.
        secure: The client's base URL is https, so nothing may leave it.
    """
    target = ""
    try:
        target = urljoin(url, quote(location.strip(), safe=_URL_SAFE))
        parts = urlsplit(target)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        there = origin(target)
    except ValueError:
        usable, there = False, ("", "", 0)
    if not usable:
        return Redirect("", str(status), "its Location is no address that can be used")
    where = f"{status} to {there[0]}://{there[1]}:{there[2]}"
    slashed = _slashed(url, target)
    if slashed is not None:
        target, there = slashed, origin(url)
        where = f"{status} to the same path {'with' if len(slashed) > len(url) else 'without'} a trailing slash"
    refusal: str | None = None
    if redirects > MAX_REDIRECTS:
        refusal = f"more than {MAX_REDIRECTS} redirects"
    elif secure and there[0] != "https":
        refusal = "it leads away from https"
    elif unsafe and not (there == origin(url) and status in KEEP_METHOD_STATUSES):
        refusal = "a request that changes something must not be repeated elsewhere"
    return Redirect(target, where, refusal)


def _slashed(url: str, target: str) -> str | None:
    """`url` with its trailing slash added or taken away, if that is all that `target` means; else None."""
    asked, led = urlsplit(url), urlsplit(target)
    path = asked.path or "/"
    theirs = unquote(led.path or "/")
    if theirs == unquote(f"{path}/"):
        path = f"{path}/"
    elif path.endswith("/") and theirs == unquote(path[:-1]):
        path = path[:-1]
    else:
        return None
    if parse_qsl(asked.query, keep_blank_values=True) != parse_qsl(led.query, keep_blank_values=True):
        return None
    return urlunsplit(asked._replace(path=path))
