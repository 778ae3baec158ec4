"""What an answer says of the end of its route: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), `Link` (RFC 8288).

Both headers are hints. They change nothing in what the answer means, and what is done about them is the caller's affair:
here they are read, and told once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from multidict import MultiMapping

__all__ = ["Deprecation", "DeprecationNotices", "deprecation_of"]

log = logging.getLogger("playcall.http")

MAX_NOTICES: Final = 256
"""Routes that one client tells of. Paths given as text have no template, so their number has no bound of its own."""


@dataclass(frozen=True, slots=True)
class Deprecation:
    """The route will be, or has been, deprecated; it works as before.

    `since` may lie in the future, and is None where the backend gave no date. `sunset` is when the route is expected to
    stop answering. `link` leads to documentation for people, and may be relative to the URL that was asked.
    """

    since: datetime | None
    sunset: datetime | None
    link: str | None


def deprecation_of(headers: Mapping[str, str]) -> Deprecation | None:
    """What the headers say; None without a `Deprecation` that can be read (RFC 9651 section 4.2: then it is not there).

    `Sunset` alone is no deprecation: resources that were made for a time have one too (RFC 8594 sections 1.1 and 1.3).

    Args:
        headers: Looked up without regard to case. Where they are a multidict, all lines of `Link` count.
    """
    said = headers.get("Deprecation")
    if said is None:
        return None
    said = said.strip()
    since = _structured_date(said) or _http_date(said)
    # RFC 9745 knows dates only. `true`, and dates as HTTP writes them, are of its drafts, and many backends still say so.
    if since is None and said.lower() != "true":
        return None
    sunset = headers.get("Sunset")
    return Deprecation(since, None if sunset is None else _http_date(sunset), _documentation(headers))


class DeprecationNotices:
    """Logs one WARNING on `playcall.http` for each deprecated route, however often it is called. Safe from any thread."""

    def __init__(self, *, limit: int = MAX_NOTICES) -> None:
        """`limit`: routes to tell of; after that nothing more is said."""
        self._limit = limit
        self._told: dict[tuple[str, str], object] = {}

    def see(self, method: str, template: str, headers: Mapping[str, str]) -> None:
        """Looks at an answer's headers. One look-up where there is nothing to tell."""
        if "Deprecation" not in headers:
            return
        route = (method, template)
        if route in self._told or len(self._told) >= self._limit:
            return
        found = deprecation_of(headers)
        if found is None:
            return
        mine = object()
        # Atomic, so that of several threads one tells; and no lock, which a fork could leave locked for ever.
        if self._told.setdefault(route, mine) is not mine:
            return
        log.warning(
            "%s %s is deprecated%s%s%s",
            method,
            template,
            "" if found.since is None else f" as of {found.since:%Y-%m-%d}",
            "" if found.sunset is None else f", and may stop answering on {found.sunset:%Y-%m-%d}",
            "" if found.link is None else f"; see {found.link}",
            extra={
                "event": "deprecation",
                "method": method,
                "path": template,
                "since": found.since,
                "sunset": found.sunset,
                "link": found.link,
            },
        )


# --- dates ------------------------------------------------------------------------------------------------------------

_STRUCTURED_DATE = re.compile(r"@(-?[0-9]{1,15})(?:;.*)?")
"""RFC 9651 section 3.3.7; parameters that nobody has defined are passed over."""


def _structured_date(text: str) -> datetime | None:
    found = _STRUCTURED_DATE.fullmatch(text)
    if found is None:
        return None
    try:
        return datetime.fromtimestamp(int(found[1]), UTC)
    except (ValueError, OverflowError, OSError):
        return None  # a date that no calendar has


def _http_date(text: str) -> datetime | None:
    """RFC 9110 section 5.6.7, in any of its three forms."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


# --- links ------------------------------------------------------------------------------------------------------------

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LINK = re.compile(rf'<([^<>]*)>((?:[^"<,]|{_QUOTED})*)')
_PARAMETER = re.compile(rf';\s*([^\s;="]+)\s*(?:=\s*({_QUOTED}|[^\s;"]+))?')


def _documentation(headers: Mapping[str, str]) -> str | None:
    """The first link `rel="deprecation"` (RFC 9745 section 3)."""
    for target, parameters in _links(headers):
        # A link with an anchor is about something else (RFC 8288 section 3.2).
        if "anchor" not in parameters and "deprecation" in parameters.get("rel", "").lower().split():
            return target
    return None


def _links(headers: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    lines = headers.getall("Link", []) if isinstance(headers, MultiMapping) else [headers.get("Link", "")]
    for line in lines:
        for target, text in _LINK.findall(line):
            parameters: dict[str, str] = {}
            for name, value in _PARAMETER.findall(text):
                # Of several `rel` the first counts (RFC 8288 section 3.3).
                parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value)
            yield target.strip(), parameters
