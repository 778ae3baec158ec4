"""A backend that is a function: tests without a socket, on both faces.

    def handler(request: MockRequest) -> MockAnswer:
        if request.path == "/api/v1/playbooks/p1":
            return MockAnswer(json={"id": "p1", …})
        return MockAnswer(404, json={"detail": "no such thing"})

    transport = MockTransport(handler)
    with Playcall(transport=transport) as client:
        client.playbooks.get("p1")
    assert transport.requests[0].method == "GET"

All else is real: retries, deadlines, credentials, idempotency keys and errors behave as over a socket. To see how a
program meets a bad day, the handler raises (or returns) a `MockFault`, answers `MockAnswer(503, …)`, or, being async,
takes its time.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from multidict import CIMultiDict

from ..http.bodies import Upload
from ..http.retry import FailureKind
from ..http.transport import TransportFault, WireAnswer, WireRequest

__all__ = ["MockAnswer", "MockFault", "MockRequest", "MockTransport"]

_NO_JSON: Final = object()


@dataclass(frozen=True, slots=True)
class MockRequest:
    """One request as it would have been sent.

    `path` is escaped, with the base URL's own path (`/api/v1/playbooks/p1`); `query` is decoded, the last value of a
    name winning; `headers` are looked up without regard to case, and hold the credentials.
    """

    method: str
    url: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:  # Any: whatever was sent
        """The body, parsed. Raises ValueError where it is not JSON."""
        return json.loads(self.body)


class MockAnswer:
    """What the backend says: a status, and either `json` or a `body` of your own.

    `breaks_after` bytes of the body the connection is lost; None for a whole answer.
    """

    def __init__(
        self,
        status: int = 200,
        *,
        json: object = _NO_JSON,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        breaks_after: int | None = None,
    ) -> None:
        self.status = status
        self.headers: CIMultiDict[str] = CIMultiDict(headers or {})
        self.breaks_after = breaks_after
        if json is _NO_JSON:
            self.body = body.encode() if isinstance(body, str) else body
        else:
            self.body = _dumps(json)
            self.headers.setdefault("Content-Type", "application/json")

    def __repr__(self) -> str:
        return f"MockAnswer({self.status}, {len(self.body)} bytes)"


class MockFault(Exception):
    """Raised or returned by a handler: no answer comes."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text

    @classmethod
    def not_sent(cls) -> Self:
        """No connection: the request provably did not leave."""
        return cls(FailureKind.NOT_SENT, "no connection could be made: mocked")

    @classmethod
    def connection_lost(cls) -> Self:
        """The connection broke after the request was sent: whether the backend did it, nobody can say."""
        return cls(FailureKind.LOST, "the connection was lost before an answer came: mocked")

    @classmethod
    def timed_out(cls) -> Self:
        """The backend was silent for longer than the read timeout; it may have done it."""
        return cls(FailureKind.TIMEOUT, "the backend was silent for longer than the read timeout: mocked")


MockReply: TypeAlias = MockAnswer | MockFault
Handler: TypeAlias = Callable[[MockRequest], MockReply | Awaitable[MockReply]]


class MockTransport:
    """Implements `playcall.http.transport.Transport` by a handler; `requests` are all that came, in order.

    `handler` may be set anew between calls.

    The handler runs on the loop that makes the call (for a blocking client: on playcall's own thread), so it must not
    block. An exception of its own passes through to the caller, so that a failing assertion in it is seen.
    """

    def __init__(self, handler: Handler, *, chunk_bytes: int = 65_536) -> None:
        """`chunk_bytes` is how large the pieces of a streamed body are."""
        self.requests: list[MockRequest] = []
        self.closed = False
        self.handler = handler
        self._chunk_bytes = chunk_bytes

    async def send(self, request: WireRequest) -> WireAnswer:
        """Raises: TransportFault."""
        answer = await self._answer(request)
        return WireAnswer(answer.status, answer.headers, await _MockStream(answer, self._chunk_bytes).read())

    @asynccontextmanager
    async def stream(self, request: WireRequest) -> AsyncGenerator[_MockStream]:
        """Raises: TransportFault, on entering."""
        yield _MockStream(await self._answer(request), self._chunk_bytes)

    async def close(self) -> None:
        self.closed = True

    def abandon(self) -> bool:
        """Nothing is ever open."""
        return False

    async def _answer(self, wire: WireRequest) -> MockAnswer:
        parts = urlsplit(wire.url)
        body = wire.body
        request = MockRequest(
            wire.method,
            wire.url,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            CIMultiDict(wire.headers),
            b"".join([chunk async for chunk in body.chunks()]) if isinstance(body, Upload) else body or b"",
        )
        self.requests.append(request)
        try:
            reply = self.handler(request)
            if inspect.isawaitable(reply):
                reply = await reply
        except MockFault as fault:
            reply = fault
        if isinstance(reply, MockFault):
            raise TransportFault(reply.kind, reply.text)
        return reply


class _MockStream:
    def __init__(self, answer: MockAnswer, chunk_bytes: int) -> None:
        self._answer = answer
        self._chunk_bytes = chunk_bytes

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        broken = self._answer.breaks_after
        body = self._answer.body[:broken]
        for at in range(0, len(body), self._chunk_bytes):
            yield body[at : at + self._chunk_bytes]
        if broken is not None:
            raise TransportFault(FailureKind.LOST, "the answer broke off in its body")

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])


def _dumps(value: object) -> bytes:
    from ..http.answers import encode

    return encode(value)
