"""What goes out: the URL, and the headers that may go there."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Iterator, Mapping
from typing import Final, cast
from urllib.parse import urlencode

from ..checks import check_header
from ..errors import InvalidArgumentError
from .auth import Credentials
from .bodies import Upload
from .call import Call, Param, Params, Progress
from .hooks import AttemptStart
from .paths import origin
from .transport import WireRequest

__all__ = ["Outgoing"]

_HARMLESS: Final = frozenset({"accept", "accept-language", "range", "if-none-match", "if-modified-since"})
"""Headers of the caller's that go along to another origin."""


class Outgoing:
    """Writes the requests of one client."""

    def __init__(
        self, base_url: str, *, user_agent: str, send_deadline: bool, read_timeout_seconds: float | None
    ) -> None:
        check_header("User-Agent", user_agent)
        self._base_url = base_url
        self._read_timeout_seconds = read_timeout_seconds
        self._home = f"{base_url}/"
        self._origin = origin(base_url)
        self._headers = {"User-Agent": user_agent, "Accept": "application/json, application/problem+json"}
        self._with_credentials: tuple[Credentials | None, dict[str, str]] = (None, self._headers)
        """The same headers for every request, as long as the credentials are the same."""
        self._send_deadline = send_deadline
        self._request_ids = itertools.count(1)
        self._request_id_prefix = secrets.token_hex(6)

    @property
    def secure(self) -> bool:
        return self._origin[0] == "https"

    def at_home(self, url: str) -> bool:
        """False where a redirect has led to another origin, where nothing secret may go."""
        return url.startswith(self._home) or origin(url) == self._origin

    def url(self, call: Call) -> str:
        """The base URL, the path and the query.

        Raises:
            InvalidArgumentError: a parameter is neither text nor a number.
        """
        url = self._base_url + call.path.text
        if not call.params:
            return url
        try:
            query = urlencode(list(_pairs(call.params)))
        except UnicodeEncodeError:
            raise InvalidArgumentError("params hold something that is not valid Unicode text") from None
        return f"{url}?{query}" if query else url

    def start(self, progress: Progress) -> AttemptStart:
        """The attempt as its hooks see it, which may add headers."""
        call = progress.call
        _, host, port = origin(progress.url)
        return AttemptStart(
            call.method,
            call.path.text,
            call.path.template,
            host,
            port,
            progress.tried + 1,
            self._new_request_id(progress),
            call.idempotency_key,
        )

    def request(
        self, progress: Progress, credentials: Credentials | None, start: AttemptStart | None = None
    ) -> WireRequest:
        """The request of one attempt, under a request id of its own."""
        call = progress.call
        request_id = self._new_request_id(progress) if start is None else start.request_id
        headers = {**self._lasting(credentials), "X-Request-ID": request_id}
        if call.content_type is not None:
            headers["Content-Type"] = call.content_type
        if isinstance(call.body, Upload) and call.body.length is not None:
            headers["Content-Length"] = str(call.body.length)
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        for given in (call.headers, None if start is None else start.headers):
            if given:
                if not self.at_home(progress.url):
                    # Any other may hold a secret: a cookie, a key under a name of its own.
                    given = {name: value for name, value in given.items() if name.lower() in _HARMLESS}
                headers = _merged(headers, given)
        if self._send_deadline and progress.deadline_seconds is not None:
            headers["X-Request-Timeout-Ms"] = str(max(1, int(progress.left_seconds() * 1000)))
        if credentials is not None and (call.headers or start is not None):
            headers = _merged(headers, credentials.headers)  # the caller's own do not replace them
        return WireRequest(call.method, progress.url, headers, call.body, self._read_timeout_seconds, progress.lost)

    def _lasting(self, credentials: Credentials | None) -> dict[str, str]:
        known, headers = self._with_credentials
        if known is not credentials:
            headers = self._headers if credentials is None else _merged(self._headers, credentials.headers)
            self._with_credentials = (credentials, headers)
        return headers

    def _new_request_id(self, progress: Progress) -> str:
        progress.request_id = f"{self._request_id_prefix}-{next(self._request_ids)}"
        return progress.request_id


def _pairs(params: Params) -> Iterator[tuple[str, str]]:
    for name, given in params.items():
        values = given if isinstance(given, list | tuple) else (cast("Param", given),)
        for value in values:
            if value is not None:
                yield name, _text(name, value)


def _text(name: str, value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"params[{name!r}] must be a string or a number, got {type(value).__name__}")
    if value != value or value in (math.inf, -math.inf):
        raise InvalidArgumentError(f"params[{name!r}] cannot be {value}")
    return str(value)


def _merged(headers: dict[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """`headers` with `more` over them, without regard to case (RFC 9110 section 5.1)."""
    replaced = {name.lower() for name in more}
    return {**{name: value for name, value in headers.items() if name.lower() not in replaced}, **more}
