"""`http.request`, and the call that tools of the kind `http` share: outbound HTTP that cannot be turned inwards.

A name is resolved once, its addresses are checked, and the connection goes to exactly those addresses: a name that
changes its address between check and use (DNS rebinding) gains nothing. Redirects are followed here, one by one, each
checked the same way, and carry credentials to the first origin only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import Field
from yarl import URL

from ...models import JsonObject
from .context import ToolContext, ToolLimits
from .decoding import text_from
from .definition import Parameters, tool
from .failure import ToolFailure

__all__ = ["check_url", "http_request", "send"]

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade"})


class RequestParameters(Parameters):
    """`json_body` and `text` exclude each other. `fail_on_error`: a status of 400 or more fails the call."""

    url: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    json_body: Any = None
    text: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    fail_on_error: bool = True


@tool("http.request", RequestParameters)
async def http_request(parameters: RequestParameters, context: ToolContext) -> JsonObject:
    """Makes an HTTP request to a public address; a JSON answer comes as its value, any other as text."""
    if parameters.json_body is not None and parameters.text is not None:
        raise ToolFailure("parameters_invalid", "http.request takes either `json_body` or `text`")
    headers = {"Idempotency-Key": context.idempotency_key, **parameters.headers}
    body: bytes | None = None
    if parameters.json_body is not None:
        body = json.dumps(parameters.json_body).encode()
        headers = {"Content-Type": "application/json", **headers}
    elif parameters.text is not None:
        body = parameters.text.encode()
    return await send(
        parameters.method,
        parameters.url,
        headers=headers,
        query=parameters.query,
        body=body,
        timeout_seconds=parameters.timeout_seconds,
        fail_on_error=parameters.fail_on_error,
        limits=context.limits,
    )


async def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_seconds: float,
    fail_on_error: bool = True,
    limits: ToolLimits,
) -> JsonObject:
    """One request, with the redirects that it leads to.

    Raises:
        ToolFailure: `url_refused`, `address_refused`, `connection_failed`, `timeout`, `too_large`,
            `too_many_redirects`, or `http_status`.
    """
    target = _checked_url(url)
    if query:
        target = target.extend_query(dict(query))
    origin = target.origin()
    carried = {k: v for k, v in headers.items() if k.lower() not in _OWN_HEADERS and v}
    if any("\r" in v or "\n" in v or "\0" in v for v in carried.values()):
        raise ToolFailure("parameters_invalid", "a header's value holds a line break")
    connector = aiohttp.TCPConnector(resolver=_PublicResolver(limits.allow_private_addresses), use_dns_cache=False)
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None)
            ) as session,
        ):
            for _ in range(_MAX_REDIRECTS + 1):
                _refuse_literal(target, limits)
                async with session.request(method, target, headers=carried, data=body, allow_redirects=False) as answer:
                    location = answer.headers.get("Location")
                    if answer.status in _REDIRECTS and location:
                        target = _checked_url(str(target.join(URL(location))))
                        if target.origin() != origin:
                            carried = {"User-Agent": "playcall"}
                        if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                            method, body = ("HEAD" if method == "HEAD" else "GET"), None
                            carried = {k: v for k, v in carried.items() if k.lower() != "content-type"}
                        continue
                    return await _answer(answer, limits, fail_on_error)
            raise ToolFailure("too_many_redirects", f"more than {_MAX_REDIRECTS} redirects")
    except TimeoutError:
        raise ToolFailure("timeout", f"{origin} did not answer within {timeout_seconds:g} s") from None
    except aiohttp.ClientError as error:
        cause: BaseException | None = error
        while cause is not None:  # our own refusal comes wrapped in aiohttp's connection error
            if isinstance(cause, _AddressRefusedError):
                raise ToolFailure("address_refused", str(cause)) from None
            cause = cause.__cause__
        raise ToolFailure("connection_failed", f"the request to {origin} failed: {type(error).__name__}") from None
    except ValueError as error:  # a host that cannot be encoded, say, found when it is resolved; or a Location
        raise ToolFailure("connection_failed", f"the request to {origin} failed: {type(error).__name__}") from None


async def _answer(answer: aiohttp.ClientResponse, limits: ToolLimits, fail_on_error: bool) -> JsonObject:
    if fail_on_error and answer.status >= 400:
        raise ToolFailure(
            "http_status", f"{answer.url.origin()} answered {answer.status} {answer.reason or ''}".strip()
        )
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(65_536):
        size += len(part)
        if size > limits.max_http_bytes:
            raise ToolFailure("too_large", f"{answer.url.origin()} sent more than {limits.max_http_bytes} bytes")
        parts.append(part)
    raw = b"".join(parts)
    result: JsonObject = {
        "status": answer.status,
        "url": str(answer.url),
        "headers": {k.lower(): v for k, v in answer.headers.items() if k.lower() != "set-cookie"},
        "size_bytes": size,
    }
    kind = answer.content_type
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return {**result, "json": json.loads(raw)}
        except (ValueError, RecursionError):
            pass  # it said JSON and is not: it comes as text
    try:
        text = text_from(raw, answer.charset or "utf-8", errors="replace")
    except (LookupError, ValueError):  # a charset that nobody knows, or that is none of text
        text = raw.decode("utf-8", errors="replace")
    return {**result, "text": text}


def check_url(url: str) -> str | None:
    """Why the URL cannot be called, or None if it can, as far as it alone tells: where its host leads is not looked up."""
    try:
        _checked_url(url)
    except ToolFailure as failure:
        return failure.message
    return None


def _checked_url(url: str) -> URL:
    try:
        target = URL(url)
        host = target.host
        _ = target.port, str(target)  # yarl looks at some parts only when it is asked for them
    except ValueError:  # UnicodeError is one
        host = None
        target = URL()
    if target.scheme not in ("http", "https") or not host:
        raise ToolFailure("url_refused", "only http:// and https:// URLs with a host can be called")
    if target.user or target.password:
        raise ToolFailure("url_refused", "credentials belong in a header, not in the URL")
    return target


class _AddressRefusedError(OSError):
    """The name leads to an address that may not be called."""


def _refuse_literal(target: URL, limits: ToolLimits) -> None:
    """aiohttp asks no resolver for a host that is an address itself, in whatever spelling (`127.1`, `2130706433`)."""
    host = target.host or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            if limits.allow_private_addresses or not _NUMERIC.search(host):
                return  # a name: the resolver looks at where it leads
            # Of `127.0.0.1.` aiohttp asks no resolver either, and each system makes of it what it likes.
            raise ToolFailure("address_refused", f"{host} is neither a name nor an address") from None
    if not limits.allow_private_addresses and not _is_public(address):
        raise ToolFailure("address_refused", f"{host} is not a public address")


_NUMERIC = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")
"""Of a host's last part: no name ends so."""
_NOT_PUBLIC = tuple(ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))
"""Special-purpose addresses (the registries of RFC 6890) that `is_global` of Python 3.11 takes for public."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out; the rest leads into IPv4 in ways of its own (`::ffff:0:127.0.0.1`), or nowhere."""


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return _is_public(inner)
        if address in _NAT64:  # it leads back into IPv4
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in known for known in _NOT_PUBLIC)


class _PublicResolver(AbstractResolver):
    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in found:
            text = str(address[0])
            if not self._allow_private and not _is_public(ipaddress.ip_address(text.partition("%")[0])):
                raise _AddressRefusedError(f"{host} leads to an address that is not public")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held."""
