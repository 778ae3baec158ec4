"""Answers that are read piece by piece: into a file, or on the blocking face."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path as FilePath
from typing import Final, Self, cast

from ..blocking_iterator import BlockingIterator
from ..errors import InvalidArgumentError
from ..http.bodies import OnProgress
from ..http.call import IncomingBody
from ..loop_thread import LoopThread
from ..timeline import Timeline

__all__ = ["BlockingBody", "save"]

CHUNKS_AHEAD: Final = 16
"""Pieces (64 KiB or so) that the blocking face holds ready."""


async def save(
    opening: AbstractAsyncContextManager[IncomingBody], target: FilePath, on_progress: OnProgress | None
) -> FilePath:
    """Writes a body to `target`, whole or not at all, and returns it.

    Raises:
        InvalidArgumentError: it cannot be written.
        RequestError: the answer, or its body, is an error.
    """
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")  # two may download to the same place
    try:
        file = await asyncio.to_thread(part.open, "wb")
    except OSError as error:
        raise InvalidArgumentError(f"{target} cannot be written: {error.strerror}") from error
    try:
        try:
            async with opening as incoming:
                total, so_far = incoming.length, 0
                async for chunk in incoming.chunks():
                    await asyncio.to_thread(file.write, chunk)
                    so_far += len(chunk)
                    if on_progress is not None:
                        on_progress(so_far, total)
        finally:
            await asyncio.to_thread(file.close)
        await asyncio.to_thread(os.replace, part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target


class BlockingBody:
    """A successful answer whose body is still to come, for a thread that may wait for it.

    One task on the loop thread opens the answer, reads ahead and closes it, so that the deadline bounds all of it.
    """

    def __init__(self, opening: AbstractAsyncContextManager[IncomingBody]) -> None:
        self._pieces = BlockingIterator(LoopThread.shared(), _opened(opening), read_ahead=CHUNKS_AHEAD)
        self._head: IncomingBody | None = None

    def __enter__(self) -> Self:
        try:
            self._head = cast("IncomingBody", next(self._pieces))
        except BaseException:
            self._pieces.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
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
        return cast("Iterator[bytes]", self._pieces)

    def read(self) -> bytes:
        """The whole body. Raises: ConnectionLostError, when it breaks off."""
        return b"".join(self.chunks())

    @property
    def _incoming(self) -> IncomingBody:
        if self._head is None:
            raise RuntimeError("use it in a `with` block")
        return self._head


async def _opened(opening: AbstractAsyncContextManager[IncomingBody]) -> AsyncIterator[IncomingBody | bytes]:
    """The head first, then the pieces: one iterator, so that one task drives all of it."""
    async with opening as incoming:
        yield incoming
        async with contextlib.aclosing(incoming.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
