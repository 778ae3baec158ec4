"""All checks, in order: each stands on those before it, and has its own bound in time. Nothing is written at the far end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Collection, Mapping
from typing import Final, TypeVar

import aiohttp

from ..config import API_PREFIX
from ..http.auth import ApiKey, Auth, BearerToken, TokenFields, TokenGrant
from ..http.paths import base_url
from ..http.pool import SessionPool
from . import doctor_line as line
from .doctor_contract import Drift, digest, drifts, own_contract
from .doctor_findings import Diagnosis, Finding
from .doctor_http import Asker, asking_session, clock, identity, long_poll, readiness, round_trips, who_am_i
from .doctor_socket import resume, socket

__all__ = ["NOT_LOOKED_AT", "examine"]

T = TypeVar("T")

SECONDS: Final = 10.0
LONG_REASON: Final = 200
ODD: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading an answer raises that has another shape than any of ours: whose it is, nobody knows yet."""
NOT_LOOKED_AT: Final = "not looked at, because of the problem above"
AFTER_IDENTITY: Final = (
    *("ready", "credentials", "latency", "keep-alive", "request id", "deadline", "clock"),
    *("WebSocket", "long poll", "resume", "contract"),
)


async def examine(
    url: str, *, auth: Auth | None = None, context: ssl.SSLContext | None = None, seconds: float = SECONDS
) -> Diagnosis:
    """
    Args:
        auth: An API key or a token; None leaves out what needs credentials, and says so.
        seconds: What each check may take.

    Raises:
        ConfigurationError: `url` is no address of a backend.
    """
    root = base_url(url)
    context = ssl.create_default_context() if context is None else context
    found, through = line.proxy(root)
    findings = [await line.address(root, through, seconds), found]
    if findings[0].verdict != "problem":
        findings.append(await line.certificate(root, context, through, seconds))
    if any(finding.verdict == "problem" for finding in findings):
        return _cut_short(root, findings, ("backend", *AFTER_IDENTITY))
    credentials: Mapping[str, str] = {} if auth is None else await _headers(auth)
    async with asking_session(aiohttp.TCPConnector(ssl=context)) as session:
        asker = Asker(session, root, credentials, seconds, SessionPool(proxy=through))
        who = await _bounded("backend", identity(asker), asker)
        findings.append(who)
        if who.verdict == "problem":
            return _cut_short(root, findings, AFTER_IDENTITY)
        findings.append(await _bounded("ready", readiness(asker), asker))
        me = await _bounded("credentials", who_am_i(asker), asker)
        findings.append(me)
        trips = await _bounded("latency", _trips(asker), asker)
        findings += [trips] if isinstance(trips, Finding) else trips
        for name, check in (("WebSocket", socket), ("long poll", long_poll), ("resume", resume)):
            findings.append(await _bounded(name, check(asker), asker))
        contract = await _bounded("contract", _contract(asker), asker)
        finding, drifted = (contract, []) if isinstance(contract, Finding) else contract
        findings.append(finding)
    return Diagnosis(root, findings, drifted)


async def _trips(asker: Asker) -> list[Finding]:
    findings, answers = await round_trips(asker)
    return [*findings, clock(answers)]


async def _contract(asker: Asker) -> tuple[Finding, list[Drift]]:
    answer = await asker.get("/openapi.json", signed=False)
    if answer.status != 200 or not answer.fields.get("paths"):
        figure = f"GET /openapi.json answered {answer.status}"
        return Finding("contract", "note", figure, "a proxy that lets /openapi.json through lets it be compared"), []
    own = own_contract()
    found = drifts(own, digest(answer.fields))
    serious = sum(each.matters for each in found)
    if serious:
        advice = "install the playcall that the backend is of, or update the backend; docs/versions.md"
        return Finding("contract", "problem", f"{serious} of what this client needs is different there", advice), found
    return Finding("contract", "good", f"{len(own)} operations, as this client knows them"), found


async def _bounded(name: str, check: Awaitable[T], asker: Asker) -> T | Finding:
    """What the check finds; a problem where no answer came in time, or one that the check cannot read."""
    try:
        async with asyncio.timeout(asker.seconds):
            return await check
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Finding(name, "problem", _failure(error, asker.seconds), "is the network slow, or cut half-way?")
    except ODD as error:
        why = f"{type(error).__name__}: {error}"
        figure = f"{asker.asked}: its answer makes no sense ({why[:LONG_REASON]})"
        return Finding(name, "problem", figure, "is this a backend of ours, or does a proxy change what it says?")


def _failure(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    return f"no answer: {str(error) or type(error).__name__}"


def _cut_short(root: str, findings: list[Finding], rest: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(root, [*findings, *(Finding(name, "skipped", NOT_LOOKED_AT) for name in rest)])


async def _headers(auth: Auth) -> Mapping[str, str]:
    """Of a scheme that needs no request to have them.

    Raises:
        TypeError: It is another one.
    """
    if not isinstance(auth, ApiKey | BearerToken):
        raise TypeError(f"auth is an ApiKey or a BearerToken, got {type(auth).__name__}")
    return (await auth.fetch(None, _nobody)).headers


async def _nobody(
    path: str,
    form: Mapping[str, str],
    *,
    json: bool = False,
    fields: TokenFields = TokenFields(),  # noqa: B008 - it is frozen
    refused: Collection[int] = (),
) -> TokenGrant:
    raise AssertionError(f"an API key or a token is had without a request to {API_PREFIX}")
