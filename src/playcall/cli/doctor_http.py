"""What the backend says over HTTP: who it is, what time it has, who we are to it, how fast it answers."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, cast

import aiohttp

from ..config import API_PREFIX
from ..http.pool import SessionPool
from .doctor_findings import Finding

__all__ = [
    "Answer",
    "Asker",
    "asking_session",
    "clock",
    "identity",
    "long_poll",
    "readiness",
    "round_trips",
    "who_am_i",
]

ASKED_TIMES: Final = 5
BEARABLE_SKEW_SECONDS: Final = 30.0
"""An access token lives 15 minutes unless the server is told otherwise, and is changed for a new one in good time before
its end; a difference beyond this eats into that, and makes times in logs misleading."""
MAX_BYTES: Final = 8 * 1024 * 1024
SOON_SECONDS: Final = 7 * 86_400
SLOW_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 1.0
"""Of the long poll: long enough to see that nobody on the way breaks it off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`json` is None where the body is none. `clock_offset_seconds`: how far the server's clock is before ours, by `Date`."""

    status: int
    headers: Mapping[str, str]
    json: Any  # whatever the far end says
    seconds: float
    clock_offset_seconds: float | None
    reused: bool

    @property
    def fields(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.json) if isinstance(self.json, dict) else {}


@dataclass(slots=True)
class Asker:
    """GET requests, each within `seconds`; `credentials` are headers, as long as nobody has refused them, `ways` knows the proxy, `asked` is the last request."""

    session: aiohttp.ClientSession
    root: str
    credentials: Mapping[str, str] = field(repr=False)
    seconds: float
    ways: SessionPool
    asked: str = ""

    async def get(self, path: str, *, signed: bool = True, headers: Mapping[str, str] | None = None) -> Answer:
        """
        Raises:
            aiohttp.ClientError: No answer. TimeoutError: none in time.
        """
        self.asked = f"GET {path}"
        reused = _Reuse()
        sent = {**(self.credentials if signed else {}), **(headers or {})}
        timeout = aiohttp.ClientTimeout(total=self.seconds)
        begun, at = time.monotonic(), time.time()
        async with self.session.get(
            self.root + path,
            timeout=timeout,
            allow_redirects=False,
            trace_request_ctx=reused,
            **self.ways.routed(self.root, sent),
        ) as response:
            seconds = time.monotonic() - begun
            body = await _body(response)
        value: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(body)
        offset = _offset(response.headers.get("Date"), at + seconds / 2)
        return Answer(response.status, response.headers, value, seconds, offset, reused.is_reused)


@dataclass(slots=True)
class _Reuse:
    is_reused: bool = False


def asking_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """A session that tells which connections were used again."""
    trace = aiohttp.TraceConfig()

    async def reused(session: object, context: Any, parameters: object) -> None:  # Any: aiohttp's own namespace
        request = context.trace_request_ctx
        if isinstance(request, _Reuse):
            request.is_reused = True

    trace.on_connection_reuseconn.append(reused)
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=[trace],
        headers={"User-Agent": f"playcall-doctor/{version('playcall')}"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Of a stranger, who may have no end."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_BYTES:
            break
    return bytes(body)


def _offset(date: str | None, at: float) -> float | None:
    """`Date` has whole seconds, and so stands for their middle."""
    try:
        told = email.utils.parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):
        return None
    return told.replace(tzinfo=told.tzinfo or UTC).timestamp() + 0.5 - at


async def identity(asker: Asker) -> Finding:
    """Whether it is one of ours at all; the rest has no meaning otherwise."""
    answer = await asker.get(f"{API_PREFIX}/health", signed=False)
    software = answer.headers.get("Server")
    if answer.status in (301, 302, 307, 308):
        return Finding("backend", "problem", f"it sends us on to {answer.headers.get('Location')}", "use that address")
    if answer.status != 200 or not isinstance(answer.fields.get("version"), str):
        said = f"GET {API_PREFIX}/health answered {answer.status}" + (f" ({software})" if software else "")
        advice = "check the URL: its host and port, without /api/v1; or the proxy before it"
        return Finding("backend", "problem", f"this is not a playcall backend: {said}", advice)
    ours, theirs = version("playcall"), answer.fields["version"]
    figure = f"playcall {theirs}, API v1; this client is {ours}"
    if theirs != ours:
        return Finding("backend", "note", figure, "the contract below says what differs")
    return Finding("backend", "good", figure)


async def readiness(asker: Asker) -> Finding:
    answer = await asker.get(f"{API_PREFIX}/ready", signed=False)
    checks = answer.fields.get("checks")
    listed = cast("dict[str, Any]", checks) if isinstance(checks, dict) else {}
    told = ", ".join(f"{name} {state}" for name, state in listed.items())
    if answer.status == 200:
        return Finding("ready", "good", told or "yes")
    return Finding("ready", "problem", told or f"GET {API_PREFIX}/ready answered {answer.status}", "its log tells why")


def clock(answers: list[Answer]) -> Finding:
    """The answer that took least time tells best; half of the way is allowed for."""
    told = [each for each in answers if each.clock_offset_seconds is not None]
    if not told:
        return Finding("clock", "note", "the server does not tell the time (no Date header)")
    best = min(told, key=lambda each: each.seconds)
    offset, doubt = cast("float", best.clock_offset_seconds), best.seconds / 2 + 0.5
    if abs(offset) <= doubt:
        return Finding("clock", "good", f"the same, within {doubt:.1f} s")
    way = "ahead" if offset > 0 else "behind"
    figure = f"the server's is {abs(offset):,.0f} s {way} (to {doubt:.1f} s)"
    if abs(offset) - doubt > BEARABLE_SKEW_SECONDS:
        return Finding(
            "clock", "problem", figure, "let both machines set their clocks by NTP: tokens end at wrong times"
        )
    return Finding("clock", "good", figure)


async def who_am_i(asker: Asker) -> Finding:
    if not asker.credentials:
        return Finding("credentials", "problem", "none", "playcall login, or set PLAYCALL_API_KEY or PLAYCALL_TOKEN")
    answer = await asker.get(f"{API_PREFIX}/auth/me")
    if answer.status == 401:
        asker.credentials = {}  # they would be refused everywhere, which says nothing new
        return Finding(
            "credentials", "problem", str(answer.fields.get("detail", "refused")), "use another key or token"
        )
    if answer.status != 200:
        return Finding("credentials", "problem", f"GET {API_PREFIX}/auth/me answered {answer.status}", "see its log")
    me = answer.fields
    figure = f"{me.get('username')}, scope {me.get('scope')}, by {str(me.get('credential')).replace('_', ' ')}"
    ends = await _ends(asker)
    if ends is None:
        return Finding("credentials", "good", f"{figure}, no expiry")
    left = ends - time.time()
    figure += f", until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC"
    if left < SOON_SECONDS and "X-API-Key" in asker.credentials:
        return Finding("credentials", "note", figure, "make another key in time")
    return Finding("credentials", "good", figure)


async def _ends(asker: Asker) -> float | None:
    """When the credentials end: a token says it itself, a key is looked up in the list of one's own."""
    token = asker.credentials.get("Authorization", "").removeprefix("Bearer ")
    if token.count(".") == 2:
        payload = token.split(".")[1]
        try:
            return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
        except (ValueError, KeyError, TypeError):
            return None
    key = asker.credentials.get("X-API-Key") or token
    listed = (await asker.get(f"{API_PREFIX}/auth/api-keys")).fields.get("items", [])
    for each in cast("list[dict[str, Any]]", listed if isinstance(listed, list) else []):
        if key.startswith(str(each.get("hint"))) and isinstance(each.get("expires_at"), str):
            return datetime.fromisoformat(each["expires_at"]).timestamp()
    return None


async def round_trips(asker: Asker) -> tuple[list[Finding], list[Answer]]:
    """Latency, and whether what a call says in its headers arrives."""
    answers = [
        await asker.get(f"{API_PREFIX}/health", signed=False, headers={"X-Request-ID": f"doctor-{number}"})
        for number in range(ASKED_TIMES)
    ]
    median = statistics.median(each.seconds for each in answers)
    figure = f"{1_000 * median:.1f} ms, the median of {ASKED_TIMES}"
    findings = [Finding("latency", "note" if median > SLOW_SECONDS else "good", figure)]
    reused = sum(each.reused for each in answers)
    if reused >= ASKED_TIMES - 1:
        findings.append(Finding("keep-alive", "good", "one connection serves them all"))
    else:
        advice = "a proxy closes connections after each answer; let it keep them"
        findings.append(Finding("keep-alive", "note", f"used again {reused} of {ASKED_TIMES - 1} times", advice))
    echoed = all(each.headers.get("X-Request-ID") == f"doctor-{number}" for number, each in enumerate(answers))
    advice = "a proxy puts another X-Request-ID there; let it keep the caller's"
    findings.append(
        Finding("request id", "good", "comes back") if echoed else Finding("request id", "note", "is another", advice)
    )
    findings.append(await _deadline(asker))
    return findings, answers


async def _deadline(asker: Asker) -> Finding:
    if not asker.credentials:
        return Finding("deadline", "skipped", "needs credentials")
    late = await asker.get(f"{API_PREFIX}/auth/me", headers={"X-Request-Timeout-Ms": "0"})
    if late.status == 504 and late.fields.get("code") == "deadline_exceeded":
        return Finding("deadline", "good", "is honoured")
    advice = "a proxy takes X-Request-Timeout-Ms away; let it through"
    return Finding("deadline", "note", f"is not heard: {late.status} in place of 504", advice)


async def long_poll(asker: Asker) -> Finding:
    """The way that events take where sockets are blocked."""
    if not asker.credentials:
        return Finding("long poll", "skipped", "needs credentials")
    answer = await asker.get(f"{API_PREFIX}/events?topic=runs&from=head&wait_seconds={WAIT_SECONDS:g}")
    if answer.status == 200 and isinstance(answer.fields.get("frames"), list):
        return Finding(
            "long poll", "good", f"works: answered after {answer.seconds:.1f} s, asked to wait {WAIT_SECONDS:g} s"
        )
    return Finding("long poll", "problem", f"GET {API_PREFIX}/events answered {answer.status}", "see its log")
