"""Bodies that are sent piece by piece: a file, or whatever gives bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from pathlib import Path as FilePath
from typing import BinaryIO, Final, Protocol, TypeAlias, cast

from ..errors import InvalidArgumentError

__all__ = ["CHUNK_BYTES", "BodySource", "OnProgress", "Upload"]

CHUNK_BYTES: Final = 1 << 16


class _Reader(Protocol):
    """A binary file."""

    def read(self, size: int, /) -> bytes: ...


BodySource: TypeAlias = bytes | FilePath | BinaryIO | AsyncIterable[bytes] | Iterable[bytes]
OnProgress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes that have gone through so far, and how many there will be (None: not known). It must not block; on
the blocking face it runs on playcall's own thread. What it raises ends the call."""


class Upload:
    """One body. A path, bytes or a file that can seek may be sent again; an iterator can be read once only.

    `failure` is what reading the source raised, None while it has not.
    """

    def __init__(self, source: BodySource, on_progress: OnProgress | None = None) -> None:
        """Raises: InvalidArgumentError: no such file, or nothing that gives bytes."""
        self.failure: Exception | None = None
        self._begun = False
        self._on_progress = on_progress
        self._source = source
        self._start = 0
        self.length: int | None = None
        self.replayable = True
        if isinstance(source, bytes):
            self.length = len(source)
        elif isinstance(source, FilePath):
            self.length = _size_of(source)
        elif hasattr(source, "read"):
            self._measure(cast("BinaryIO", source))
        else:
            kind: type[object] = type(source)
            if issubclass(kind, str | dict) or not issubclass(kind, AsyncIterable | Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise InvalidArgumentError(
                    f"content= takes bytes, str, a pathlib.Path, a binary file or an iterable of bytes, got {kind.__name__}"
                )
            self.replayable = False

    def __repr__(self) -> str:
        return f"Upload({type(self._source).__name__}, {self.length} bytes)"

    @property
    def spent(self) -> bool:
        """Some of it was read, and it cannot be read again."""
        return self._begun and not self.replayable

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its start. Raises: whatever the source or the progress callback raises."""
        self._begun, self.failure = True, None
        sent = 0
        try:
            async for chunk in self._pieces():
                yield chunk
                sent += len(chunk)
                if self._on_progress is not None:
                    self._on_progress(sent, self.length)
        except Exception as error:
            self.failure = error
            raise

    async def _pieces(self) -> AsyncGenerator[bytes]:
        source = self._source
        if isinstance(source, bytes):
            for at in range(0, len(source), CHUNK_BYTES):
                yield source[at : at + CHUNK_BYTES]
        elif isinstance(source, FilePath):
            opened = await asyncio.to_thread(source.open, "rb")
            try:
                async for chunk in _read(opened):
                    yield chunk
            finally:
                opened.close()
        elif hasattr(source, "read"):
            file = cast("BinaryIO", source)
            if self.replayable:
                await asyncio.to_thread(file.seek, self._start)
            async for chunk in _read(file):
                yield chunk
        elif isinstance(source, AsyncIterable):
            async for chunk in source:
                yield _checked(chunk)
        else:
            iterator = iter(source)
            # In a thread: a caller's iterator may read from something slow.
            while (piece := await asyncio.to_thread(next, iterator, None)) is not None:
                yield _checked(piece)

    def _measure(self, file: BinaryIO) -> None:
        try:
            self._start = file.tell()
            self.length = file.seek(0, os.SEEK_END) - self._start
            file.seek(self._start)
        except (OSError, ValueError, AttributeError):
            self.replayable = False  # a pipe, or the like


async def _read(file: _Reader) -> AsyncGenerator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield _checked(chunk)


def _checked(chunk: object) -> bytes:
    if not isinstance(chunk, bytes):
        raise InvalidArgumentError(f"a body is sent as bytes, and its source gave {type(chunk).__name__}")
    return chunk


def _size_of(file: FilePath) -> int:
    try:
        if file.is_dir():
            raise InvalidArgumentError(f"the file {file} cannot be sent: it is a folder")
        return file.stat().st_size
    except OSError as error:
        raise InvalidArgumentError(f"the file {file} cannot be read: {error.strerror}") from error
