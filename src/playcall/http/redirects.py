"""Where a redirect leads, and whether it may be followed: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from .paths import origin

__all__ = ["MAX_REDIRECTS", "REDIRECT_STATUSES", "Redirect", "judge"]

MAX_REDIRECTS: Final = 5
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})
_URL_SAFE: Final = ":/?#[]@!$&'()*+,;=%-._~"


@dataclass(frozen=True, slots=True)
class Redirect:
    """`target` is the URL to ask next; `where` names it for people, without its path; `refusal` says why not to."""

    target: str
    where: str
    refusal: str | None


def judge(url: str, location: str, status: int, *, unsafe: bool, redirects: int, secure: bool) -> Redirect:
    """A safe method is followed anywhere, an unsafe one only on the same origin by 307 or 308 (RFC 9110 section 15.4).

    Args:
        url: What was asked.
        location: The answer's `Location`.
        redirects: How many this call has met, this one included.
        secure: The client's base URL is https, so nothing may leave it.
    """
    try:
        target = urljoin(url, quote(location.strip(), safe=_URL_SAFE))
        scheme, host, port = origin(target)
        has_user = "@" in urlsplit(target).netloc
    except ValueError:
        return Redirect("", str(status), "its Location is no address that can be used")
    where = f"{status} to {scheme}://{host}:{port}"
    refusal: str | None = None
    if scheme not in ("http", "https") or not host or has_user:
        refusal, where = "its Location is no address that can be used", str(status)
    elif redirects > MAX_REDIRECTS:
        refusal = f"more than {MAX_REDIRECTS} redirects"
    elif secure and scheme != "https":
        refusal = "it leads away from https"
    elif unsafe and not ((scheme, host, port) == origin(url) and status in _KEEP_METHOD):
        refusal = "a request that changes something must not be repeated elsewhere"
    return Redirect(target, where, refusal)
