"""Bodies that are sent piece by piece: a file, or whatever gives bytes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from pathlib import Path as FilePath
from typing import BinaryIO, Final, TypeAlias, cast

from ..errors import InvalidArgumentError

__all__ = ["CHUNK_BYTES", "BodySource", "OnProgress", "Upload"]

CHUNK_BYTES: Final = 1 << 16
_END: Final = object()
"""After the last piece of an iterator, which may give anything by mistake, None included."""


BodySource: TypeAlias = bytes | FilePath | BinaryIO | AsyncIterable[bytes] | Iterable[bytes]
OnProgress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes that have gone through so far, and how many there will be (None: not known). It must not block; on
the blocking face it runs on playcall's own thread. What it raises ends the call."""


class Upload:
    """One body. A path, bytes or a file that can seek may be sent again; an iterator can be read once only.

    `length` is announced before a byte is read, so it is measured only where that is cheap and means something: bytes,
    memory and regular files. `failure` is what reading the source raised, None while it has not.
    """

    def __init__(self, source: BodySource, on_progress: OnProgress | None = None) -> None:
        """Raises: InvalidArgumentError: no such file, or nothing that gives bytes."""
        self.failure: Exception | None = None
        self._begun = False
        self._on_progress = on_progress
        self._source = source
        self._start = 0
        self._reading: asyncio.Future[bytes] | None = None
        self._running: AsyncGenerator[bytes] | None = None
        self.length: int | None = None
        self.replayable = True
        if isinstance(source, bytes):
            self.length = len(source)
        elif isinstance(source, FilePath):
            self.length = _size_of(source)
            self.replayable = self.length is not None
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

    def chunks(self) -> AsyncGenerator[bytes]:
        """The body from its start; `end` when the attempt is over.

        Raises:
            InvalidArgumentError: the source is not as long as it was when the call began, or gave something else than bytes.
            Exception: whatever the source or the progress callback raises.
        """
        self._running = self._chunks()
        return self._running

    async def end(self) -> None:
        """Has the source cleaned up now, and not when memory is. What that raises changes nothing of what came of the call."""
        running, self._running = self._running, None
        if running is not None:
            with contextlib.suppress(
                Exception
            ):  # RuntimeError: it is at work, and being cancelled by who cancelled that
                await running.aclose()

    def _changed(self, found: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"the file changed while it was sent: it gave {found} bytes")

    async def _chunks(self) -> AsyncGenerator[bytes]:
        self._begun, self.failure = True, None
        sent = 0
        try:
            async with contextlib.aclosing(self._pieces()) as pieces:
                async for chunk in pieces:
                    if self.length is not None and sent + len(chunk) > self.length:
                        raise self._changed(f"more than {self.length}")
                    yield chunk
                    sent += len(chunk)
                    if self._on_progress is not None:
                        self._on_progress(sent, self.length)
            if self.length is not None and sent < self.length:
                raise self._changed(f"{sent} instead of {self.length}")
        except Exception as error:
            self.failure = error
            raise

    async def _pieces(self) -> AsyncGenerator[bytes]:
        source = self._source
        if isinstance(source, bytes):
            for at in range(0, len(source), CHUNK_BYTES):
                yield source[at : at + CHUNK_BYTES]
        elif isinstance(source, FilePath):
            async with _opened(source) as file:
                async for chunk in self._read(file):
                    yield chunk
        elif hasattr(source, "read"):
            file = cast("BinaryIO", source)
            if self._reading is not None:  # a cancelled attempt's last read would move the place after the seek
                await asyncio.wait({self._reading})
            if self.replayable:
                await asyncio.to_thread(file.seek, self._start)
            async for chunk in self._read(file):
                yield chunk
        elif isinstance(source, AsyncIterable):
            iterator = aiter(source)
            try:
                async for chunk in iterator:
                    yield _checked(chunk)
            finally:
                if isinstance(iterator, AsyncGenerator):
                    await iterator.aclose()
        else:
            pieces = iter(source)
            # In a thread: a caller's iterator may read from something slow.
            while (piece := await asyncio.to_thread(next, pieces, _END)) is not _END:
                yield _checked(piece)

    async def _read(self, file: BinaryIO) -> AsyncGenerator[bytes]:
        left = self.length
        while True:
            # With the last piece a byte more is asked for, so that a file that has grown is noticed before that piece is sent.
            size = CHUNK_BYTES if left is None or left > CHUNK_BYTES else left + 1
            self._reading = asyncio.ensure_future(asyncio.to_thread(file.read, size))
            self._reading.add_done_callback(_is_over)
            chunk = _checked(await asyncio.shield(self._reading))
            if not chunk:
                return
            yield chunk
            if left is not None:
                left -= len(chunk)
                if left == 0:
                    return  # there is no byte more: it was asked for. The answer may be here, and the file be closed.

    def _measure(self, file: BinaryIO) -> None:
        """Only what is cheap: the end of a file that is unpacked while it is read is found by unpacking all of it."""
        inner = getattr(file, "file", file)  # a temporary file is wrapped
        try:
            self._start = file.tell()
            if isinstance(inner, io.BytesIO) or _is_regular(inner):
                self.length = file.seek(0, os.SEEK_END) - self._start
                file.seek(self._start)
            else:
                self.replayable = file.seekable() and not _is_plain(inner)
        except (OSError, ValueError, AttributeError):
            self.replayable = False  # a pipe, or the like


@contextlib.asynccontextmanager
async def _opened(path: FilePath) -> AsyncGenerator[BinaryIO]:
    """The file, closed on a thread: that waits for the read under way, which may never end, so nobody waits for it."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, path))
    try:
        yield await asyncio.shield(opening)
        await asyncio.to_thread(opening.result().close)
    finally:
        opening.add_done_callback(_close)


def _is_over(reading: asyncio.Future[bytes]) -> None:
    """What a read says that nobody waits for any more concerns nobody: its file may have been closed meanwhile."""
    if not reading.cancelled():
        reading.exception()


def _open(path: FilePath) -> BinaryIO:
    return path.open("rb")


def _close(opening: asyncio.Future[BinaryIO]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.get_loop().run_in_executor(None, opening.result().close)


def _is_plain(file: object) -> bool:
    """Read from the system as it is, so that the system can say what it is."""
    return isinstance(getattr(file, "raw", file), io.FileIO)


def _is_regular(file: object) -> bool:
    return _is_plain(file) and stat.S_ISREG(os.fstat(cast("BinaryIO", file).fileno()).st_mode)


def _checked(chunk: object) -> bytes:
    if not isinstance(chunk, bytes):
        raise InvalidArgumentError(f"a body is sent as bytes, and its source gave {type(chunk).__name__}")
    return chunk


def _size_of(file: FilePath) -> int | None:
    """None for a pipe or a device, which has no size, and cannot be read twice."""
    try:
        found = file.stat()
    except OSError as error:
        raise InvalidArgumentError(f"the file {file} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise InvalidArgumentError(f"the file {file} cannot be sent: it is a folder")
    return found.st_size if stat.S_ISREG(found.st_mode) else None
