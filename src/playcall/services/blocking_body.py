"""An answer that is read piece by piece on the blocking face."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Self, cast

from ..blocking_iterator import BlockingIterator
from ..http.call import IncomingBody
from ..loop_thread import LoopThread
from ..timeline import Timeline

__all__ = ["BlockingBody"]

CHUNKS_AHEAD: Final = 16
"""Pieces (64 KiB or so) that are held ready."""


class BlockingBody:
    """A successful answer whose body is still to come, for a thread that may wait for it.

    One task on the loop thread opens the answer, reads ahead and closes it, so that the deadline bounds all of it.
    """

    def __init__(self, opening: AbstractAsyncContextManager[IncomingBody]) -> None:
        self._left = threading.Event()
        self._pieces = BlockingIterator(LoopThread.shared(), body_of(opening, self._left), read_ahead=CHUNKS_AHEAD)
        self._head: IncomingBody | None = None
        self._got: list[bytes] = []
        self._body: bytes | None = None

    def __enter__(self) -> Self:
        try:
            self._head = cast("IncomingBody", next(self._pieces))
        except BaseException:
            self._pieces.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._left.set()
        self._pieces.close()

    @property
    def status(self) -> int:
        return self._incoming.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._incoming.headers

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, None where the backend does not say."""
        return self._incoming.length

    @property
    def timeline(self) -> Timeline:
        return self._incoming.timeline

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece. Raises: ConnectionLostError, when it breaks off; what was used already, was."""
        for piece in self._pieces:  # no `yield from`: who leaves this loop early may go on with another
            yield cast("bytes", piece)
        self._check_not_left()

    def read(self) -> bytes:
        """The whole body, again if asked again. Raises: ConnectionLostError, when it breaks off."""
        self._check_not_left()
        if self._body is None:
            for piece in self.chunks():  # kept one by one: a deadline, or Ctrl-C, may come between, and read() again
                self._got.append(piece)
            self._body = b"".join(self._got)
        return self._body

    def _check_not_left(self) -> None:
        if self._left.is_set():
            raise RuntimeError("the `with` block has ended, and with it the body")

    @property
    def _incoming(self) -> IncomingBody:
        if self._head is None:
            raise RuntimeError("use it in a `with` block")
        return self._head


async def body_of(
    opening: AbstractAsyncContextManager[IncomingBody], left: threading.Event
) -> AsyncGenerator[IncomingBody | bytes]:
    """The head first, then the pieces: one iterator, so that one task drives all of it."""
    async with opening as incoming:
        try:
            yield incoming
            async with contextlib.aclosing(incoming.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            if not left.is_set():
                raise
            # The reader has left the block, early perhaps: that is the end of a good call, as on the other face.
