"""What one connection is to one request: whether it was sent on it, whether it is fit for it, how its loss is told."""

from __future__ import annotations

import time
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp

from ..alarms import Alarm

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

__all__ = ["MarkingConnector", "SendMark", "response_class_of", "send_mark", "unrepeated"]


class SendMark(Alarm):
    """Whether a request may have been sent: set the moment it is given a connection.

    From then on an alarm, if it is used as one: it rings when the far end was silent for `silence_seconds`. A `fresh`
    one wants a connection that nobody has used before, and knows it by `made`.
    """

    __slots__ = ("_silence_seconds", "connected", "fresh", "made")

    def __init__(self, silence_seconds: float | None = None, fresh: bool = False) -> None:
        super().__init__()
        self._silence_seconds = silence_seconds
        self.connected = False
        self.fresh = fresh
        self.made: ResponseHandler | None = None

    def connect(self) -> None:
        self.connected = True
        self.heard()

    def heard(self) -> None:
        """The far end has said something, or is about to."""
        if self._silence_seconds is not None:
            self.at = time.monotonic() + self._silence_seconds


send_mark: ContextVar[SendMark | None] = ContextVar("playcall_send_mark", default=None)
"""The mark of the request being made in this task."""


class MarkingConnector(aiohttp.TCPConnector):
    """Marks what is sent, and leaves nobody waiting when it is closed."""

    @cached_property
    def answers(self) -> set[aiohttp.ClientResponse]:
        """Those that are waited for, or whose bodies are being read."""
        return set()

    async def close(self, *, abort_ssl: bool = False) -> None:
        """With its connections; aiohttp would leave who reads a body on one of them waiting for ever."""
        for answer in list(self.answers):
            answer.close()
        await super().close(abort_ssl=abort_ssl)

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        mark = send_mark.get()
        connection = await super().connect(req, traces, timeout)
        while (protocol := connection.protocol) is not None and (
            # It was idle, and something came on it all the same: that would be taken for the answer to this request.
            protocol.should_close
            # It was idle, as the one was perhaps on which the attempt before was lost: its end may be on the way too.
            or (mark is not None and mark.fresh and protocol is not mark.made)
        ):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        if mark is not None:
            mark.connect()
        return connection

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        made = await super()._create_connection(req, traces, timeout)
        if (mark := send_mark.get()) is not None:
            mark.made = made
        return made


class _Response(aiohttp.ClientResponse):
    """An answer that ends with its connector."""

    answers: ClassVar[set[aiohttp.ClientResponse]]

    def __init__(self, *args: Any, **options: Any) -> None:  # what they are is aiohttp's affair
        super().__init__(*args, **options)
        self.answers.add(self)

    def release(self) -> Any:  # what aiohttp's may be awaited for, and need not
        self.answers.discard(self)
        return super().release()

    def close(self) -> None:
        self.answers.discard(self)
        super().close()


def response_class_of(connector: MarkingConnector) -> type[aiohttp.ClientResponse]:
    """What the answers on its connections are."""
    return type("Response", (_Response,), {"answers": connector.answers})


def unrepeated(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """The session, that makes no request again by itself: our own retry must see every attempt.

    aiohttp's own `TestClient` does the same; there is no public way that costs nothing. Whether it works is tested.
    """
    session._retry_connection = False  # pyright: ignore[reportPrivateUsage]
    return session
