"""The way to the backend, below HTTP: its address, the proxies before it, its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from datetime import UTC, datetime
from typing import Final, cast
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..http.paths import origin
from ..http.proxies import ENVIRONMENT, ProxyAddress, proxy_for
from .doctor_findings import Finding

__all__ = ["address", "certificate", "proxy"]

FEW_DAYS: Final = 14
"""A certificate that has fewer days left should be renewed now."""


def proxy(url: str) -> tuple[Finding, ProxyAddress | None]:
    try:
        found = proxy_for(url, ENVIRONMENT)
    except ConfigurationError as error:
        return Finding("proxy", "problem", error.message, "mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"), None
    if found is None:
        return Finding("proxy", "good", "none in the way"), None
    return Finding("proxy", "note", f"{found.url}, from the environment", "NO_PROXY leaves it out for a host"), found


async def address(url: str, through: ProxyAddress | None, seconds: float) -> Finding:
    """Each address that the name has; one that answers is enough, as the client tries them all."""
    _, host, port = origin(url if through is None else through.url)
    whose = "" if through is None else "the proxy's "
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return Finding("address", "problem", f"no word of {host} within {seconds:g} s", "check the DNS")
    except (OSError, UnicodeError):
        return Finding("address", "problem", f"{whose}name {host} has no address", "check the URL, and the DNS")
    places = list(dict.fromkeys((family, place[0]) for family, _, _, _, place in found))
    tries = await asyncio.gather(*(_connect(str(place), port, seconds) for _, place in places))
    told = [
        f"{'IPv6' if family == socket.AF_INET6 else 'IPv4'} {place} {outcome}"
        for (family, place), (_, outcome) in zip(places, tries, strict=True)
    ]
    figure = "; ".join(told)
    reached = [done for done, _ in tries]
    if not any(reached):
        advice = f"is the backend started, and does it listen on port {port}? (playcall serve --host, --port)"
        return Finding("address", "problem", whose + figure, advice)
    if not all(reached):
        return Finding(
            "address", "note", whose + figure, "the other one is used; the name should not have this address"
        )
    return Finding("address", "good", whose + figure)


async def _connect(host: str, port: int, seconds: float) -> tuple[bool, str]:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return False, f"does not answer within {seconds:g} s"
    except ConnectionRefusedError:
        return False, "refuses"
    except OSError as error:
        return False, f"cannot be reached: {os.strerror(error.errno or errno.EHOSTUNREACH).lower()}"
    took_ms = 1_000 * (time.monotonic() - begun)
    writer.close()
    return True, f"in {took_ms:.1f} ms"


async def certificate(url: str, context: ssl.SSLContext, through: ProxyAddress | None, seconds: float) -> Finding:
    """Of the server itself: behind a proxy it is seen by the checks of HTTP only."""
    scheme, host, port = origin(url)
    if scheme != "https":
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        if local:
            return Finding("TLS", "good", "none, on this very machine")
        return Finding("TLS", "note", "none: keys and data go in the clear", "put the backend behind TLS, use https://")
    if through is not None:
        return Finding("TLS", "skipped", "not looked at through a proxy")
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "TLS", "problem", f"the certificate is refused: {error.verify_message}", _mend(error.verify_message)
        )
    except ssl.SSLError as error:
        return Finding("TLS", "problem", f"no TLS: {error.reason or error}", "is this port served with TLS at all?")
    except (TimeoutError, OSError):
        return Finding("TLS", "problem", f"no TLS within {seconds:g} s", "is this port served with TLS at all?")
    try:
        held: ssl.SSLObject = writer.get_extra_info("ssl_object")
        shown = held.getpeercert() or {}
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
        days = (ends - datetime.now(UTC)).days
        named = cast("tuple[tuple[str, str], ...]", shown.get("subjectAltName", ()))
        names = ", ".join(name for _, name in named)
        figure = f"{held.version()}, for {names}, {days} days left"
    finally:
        with contextlib.suppress(OSError):
            writer.close()
    if days < FEW_DAYS:
        return Finding("TLS", "note", figure, "renew the certificate now")
    return Finding("TLS", "good", figure)


def _mend(message: str) -> str:
    text = message.lower()
    if "expired" in text:
        return "renew the certificate"
    if "not yet valid" in text:
        return "is this machine's clock right?"
    if "hostname" in text or "ip address" in text:
        return "use the name that the certificate is for"
    return "for an authority of your own: --ca FILE, and ssl_context= in programs"
