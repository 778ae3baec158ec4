"""A file that is there whole or not at all: written beside its place, and moved there at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import BinaryIO, Final

from ..errors import InvalidArgumentError, PlaycallError

__all__ = ["PartFile"]

DISCARD_WAIT_SECONDS: Final = 1.0


class PartFile:
    """`open` it, `write`, `keep`; `discard` always. All is done on threads, because a disk may take its time.

    A cancelled call leaves its thread at work, so the lock has one after the other, and nothing is done after `discard`.
    """

    def __init__(self, target: FilePath) -> None:
        self._target = target
        self._place = target
        """Where it really is; known once it is open."""
        # Two may download to the same place; and the target's own name may be as long as a name can be.
        self._part_name = f".{uuid.uuid4().hex}.part"
        self._file: BinaryIO | None = None
        self._over = False
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Raises: InvalidArgumentError: there can be no such file."""
        try:
            await asyncio.to_thread(self._locked, self._open)
        except OSError as error:
            raise InvalidArgumentError(f"{self._target} cannot be written: {error.strerror}") from error

    async def write(self, data: bytes) -> None:
        """Raises: PlaycallError: the disk does not take it."""
        await self._on_disk(lambda: self._opened.write(data))

    async def empty(self) -> None:
        """Raises: PlaycallError, as `write`."""
        await self._on_disk(self._empty)

    async def keep(self) -> None:
        """It is whole. Raises: PlaycallError, as `write`."""
        await self._on_disk(self._keep)

    async def discard(self) -> None:
        """Removes it, unless it was kept; waits for that a moment only, because the disk may never answer."""
        self._over = True
        try:
            removing = asyncio.get_running_loop().run_in_executor(None, self._discard)
        except RuntimeError:  # the interpreter is exiting, and gives no thread any more
            self._discard()
        else:
            await asyncio.wait({removing}, timeout=DISCARD_WAIT_SECONDS)

    async def _on_disk(self, act: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(self._locked, act)
        except OSError as error:
            raise PlaycallError(f"{self._target} could not be written: {error.strerror}") from error

    # --- on a thread --------------------------------------------------------------------------------------------------

    def _locked(self, act: Callable[[], object]) -> None:
        with self._lock:
            if not self._over:
                act()

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None  # noqa: S101 - open() comes first
        return self._file

    @property
    def _part(self) -> FilePath:
        return self._place.parent / self._part_name

    def _open(self) -> None:
        # A link stays a link, and leads to what is kept: as it does for whoever opens it to write.
        self._place = FilePath(os.path.realpath(self._target))
        if self._place.exists() and not self._place.is_file():
            what = "a folder" if self._place.is_dir() else "no regular file, which could be written whole or not at all"
            raise InvalidArgumentError(f"{self._target} cannot be written: it is {what}")
        self._file = self._part.open("xb")

    def _empty(self) -> None:
        self._opened.seek(0)
        self._opened.truncate()

    def _keep(self) -> None:
        self._opened.close()
        os.replace(self._part, self._place)
        self._file = None

    def _discard(self) -> None:
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):  # what it still held would not go in
                    self._file.close()
                self._part.unlink(missing_ok=True)
