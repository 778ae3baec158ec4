"""One request out, one answer in: the border where aiohttp's errors become ours."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from .bodies import Upload
from .connector import SendMark, send_mark
from .encodings import PackingError, Unpacking, is_packed
from .pool import SessionPool
from .retry import FailureKind

__all__ = ["AiohttpTransport", "Transport", "TransportFault", "WireAnswer", "WireRequest", "WireStream"]


@dataclass(slots=True)
class WireRequest:
    """What goes out. `headers` hold the credentials, so they are in no repr."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | Upload | None = field(default=None, repr=False)
    read_timeout_seconds: float | None = None
    fresh: bool = False
    """It repeats one whose connection was lost, and must not meet the same end on another that was idle as long."""


@dataclass(slots=True)
class WireAnswer:
    """What came back, body and all. `headers` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class WireStream(Protocol):
    """An answer whose body is still to come."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises: TransportFault."""
        ...

    async def read(self) -> bytes:
        """The whole body. Raises: TransportFault."""
        ...


class TransportFault(Exception):
    """No complete answer. `text` is for people and holds no secret; NOT_SENT means provably so."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Transport(Protocol):
    """Sends one request. No retry, no redirect, no cookies: those are decided above."""

    async def send(self, request: WireRequest) -> WireAnswer:
        """Raises: TransportFault."""
        ...

    def stream(self, request: WireRequest) -> AbstractAsyncContextManager[WireStream]:
        """Raises: TransportFault, on entering."""
        ...

    async def close(self) -> None: ...
    def abandon(self) -> bool:
        """Has what is open closed soon, without waiting; True if anything was open."""
        ...


class AiohttpTransport:
    """The real one, over the pool's session of the running loop."""

    def __init__(self, pool: SessionPool) -> None:
        self.pool = pool

    async def send(self, request: WireRequest) -> WireAnswer:
        if request.body is not None and (isinstance(request.body, Upload) or len(request.body) > LARGE_BODY_BYTES):
            async with self.stream(request) as stream:
                return WireAnswer(stream.status, stream.headers, await stream.read())
        session = self.pool.open_session(asyncio.get_running_loop()) or await self.pool.session()
        mark = SendMark(request.read_timeout_seconds, request.fresh)
        token = send_mark.set(mark)
        response: aiohttp.ClientResponse | None = None
        try:
            with mark:
                response = await self._requested(session, request, session.timeout)
                headers, content = response.headers, response.content
                # Most bodies came with their head.
                body = content.read_nowait(-1) if content.is_eof() else await _heard(content, mark)
                if "Content-Encoding" in headers:
                    body = await _plain(headers, body)
                return WireAnswer(response.status, headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _fault(error, mark) from None
        finally:
            send_mark.reset(token)
            if response is not None:
                response.release()

    @asynccontextmanager
    async def stream(self, request: WireRequest) -> AsyncGenerator[WireStream]:
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._open(request)
            yield _AiohttpStream(response)
        finally:
            if response is not None:
                response.release()  # closes the connection when the body was not read to its end
            if isinstance(request.body, Upload):
                await request.body.end()

    async def _open(self, request: WireRequest) -> aiohttp.ClientResponse:
        """By aiohttp's own read timeout, which begins when all of a large body is sent."""
        session = await self.pool.session()
        mark = SendMark(fresh=request.fresh)
        token = send_mark.set(mark)
        try:
            return await self._requested(
                session,
                request,
                aiohttp.ClientTimeout(
                    total=None, sock_connect=session.timeout.sock_connect, sock_read=request.read_timeout_seconds
                ),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(request.body, Upload) and request.body.failure is not None:
                raise request.body.failure from None  # the caller's own: reading the body failed, not the network
            raise _fault(error, mark) from None
        finally:
            send_mark.reset(token)

    def _requested(
        self, session: aiohttp.ClientSession, request: WireRequest, timeout: aiohttp.ClientTimeout
    ) -> Awaitable[aiohttp.ClientResponse]:
        headers, proxy, proxy_headers = self.pool.route(request.url, request.headers)
        return session.request(
            request.method,
            URL(request.url, encoded=True),
            headers=headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            data=None if request.body is None else _body(request.body),
            allow_redirects=False,
            timeout=timeout,
        )

    async def close(self) -> None:
        await self.pool.close()

    def abandon(self) -> bool:
        return self.pool.abandon()


class _AiohttpStream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        content = self._response.content
        unpacking = _unpacking(self._response.headers)
        fault: TransportFault | None = None
        over = False
        while not over:
            try:
                chunk = await content.readany()
                over = not chunk
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                fault = _fault(error, _CONNECTED)
                over = True
                chunk = _left_in(content)
            if unpacking is None:
                if chunk:
                    yield chunk
                continue
            try:
                for piece in unpacking.feed(chunk):
                    yield piece
                    await asyncio.sleep(0)  # a small chunk may hold hundreds of pieces: the loop has others to serve
                if over and fault is None:
                    unpacking.end()
            except PackingError as error:
                raise _broken(error) from None
        if fault is not None:
            raise fault

    async def read(self) -> bytes:
        try:
            body = await self._response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _fault(error, _CONNECTED) from None
        return await _plain(self._response.headers, body)


async def _heard(content: aiohttp.StreamReader, mark: SendMark) -> bytes:
    """The whole of a body that is on its way: each piece ends a silence."""
    pieces: list[bytes] = []
    mark.heard()
    while piece := await content.readany():
        pieces.append(piece)
        mark.heard()
    return b"".join(pieces)


async def _plain(headers: Mapping[str, str], body: bytes) -> bytes:
    """The body as it was before it was packed. Raises: TransportFault: it is broken."""
    unpacking = _unpacking(headers)
    if unpacking is None:
        return body
    try:
        if len(body) > PACKED_ON_LOOP_BYTES:
            return await asyncio.to_thread(_unpacked, unpacking, body)
        return _unpacked(unpacking, body)
    except PackingError as error:
        raise _broken(error) from None


def _unpacking(headers: Mapping[str, str]) -> Unpacking | None:
    return Unpacking() if is_packed(headers.get("Content-Encoding")) else None


def _broken(error: PackingError) -> TransportFault:
    """As if the connection had broken off; it may be used again, since the answer ended where it should."""
    return TransportFault(FailureKind.LOST, f"the answer is broken: {error}")


def _unpacked(unpacking: Unpacking, body: bytes) -> bytes:
    whole = b"".join(unpacking.feed(body))
    unpacking.end()
    return whole


def _left_in(content: aiohttp.StreamReader) -> bytes:
    """What had come before an error: it counts, or small pieces would get a download nowhere.

    aiohttp has no public way past its error; without its private one, the pieces would be lost, and no more.
    """
    read: Callable[[int], bytes] | None = getattr(content, "_read_nowait", None)
    return b"" if read is None else read(-1)


LARGE_BODY_BYTES: Final = 1 << 18
PACKED_ON_LOOP_BYTES: Final = 1 << 13
"""A packed body up to this size is unpacked on the loop: it cannot be more than 8 MiB. A larger one has a thread."""


def _body(body: bytes | Upload) -> bytes | io.BytesIO | AsyncIterator[bytes]:
    """A large body goes in pieces: aiohttp writes bytes at once, holding up the loop, and warns of it."""
    if isinstance(body, Upload):
        return body.chunks()
    return io.BytesIO(body) if len(body) > LARGE_BODY_BYTES else body


_CONNECTED: Final = SendMark()
_CONNECTED.connect()


def _fault(error: BaseException, mark: SendMark) -> TransportFault:
    """Our fault for aiohttp's error: what failed before a connection was had was not sent, whatever its class.

    Raised `from None`: aiohttp's texts hold the whole URL, query included, and a proxy's its password.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return TransportFault(FailureKind.NOT_SENT, f"the certificate was refused: {_os_text(error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TransportFault(FailureKind.NOT_SENT, f"the host {error.host!r} is not known")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportFault(FailureKind.NOT_SENT, f"the proxy made no tunnel: it answered {error.status}")
    if not mark.connected:
        if isinstance(error, TimeoutError):
            return TransportFault(FailureKind.NOT_SENT, "no connection could be made in time")
        return TransportFault(FailureKind.NOT_SENT, f"no connection could be made: {_os_text(error)}")
    if isinstance(error, aiohttp.ClientConnectionResetError):
        return TransportFault(FailureKind.NOT_SENT, "the connection was gone before anything was sent")
    if isinstance(error, TimeoutError):
        return TransportFault(FailureKind.TIMEOUT, "the backend was silent for longer than the read timeout")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransportFault(FailureKind.LOST, "the answer broke off in its body")
    if isinstance(error, aiohttp.ClientResponseError):
        return TransportFault(FailureKind.LOST, f"the answer is not HTTP: {_not_http(error)}")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return TransportFault(FailureKind.LOST, "the connection was lost before an answer came")
    return TransportFault(FailureKind.LOST, f"the connection broke: {_os_text(error)}")


_NOT_HTTP: Final[Mapping[type[object], str]] = {
    http_exceptions.BadStatusLine: "its first line is no status line",
    http_exceptions.LineTooLong: "a line of its head is too long",
    http_exceptions.InvalidHeader: "a header of it cannot be read",
    http_exceptions.TransferEncodingError: "its chunks cannot be read",
    http_exceptions.ContentLengthError: "its length is wrong",
}


def _not_http(error: aiohttp.ClientResponseError) -> str:
    """Our words: aiohttp's quote the answer, and a header of it may be a secret."""
    return _NOT_HTTP.get(type(error.__cause__), "it cannot be read")


def _os_text(error: BaseException) -> str:
    """The system's words. Never `str(error)` of aiohttp's: a proxy's holds its password."""
    cause = getattr(error, "os_error", None) or error
    text = getattr(cause, "strerror", None)
    return text if isinstance(text, str) and text else type(cause).__name__
