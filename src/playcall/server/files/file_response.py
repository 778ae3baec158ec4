"""An open file as an answer: whole or a part of it, and the same file to the end whatever its name leads to by then."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import IO
from urllib.parse import quote

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from playcall.server.tools.unbroken import unbroken

__all__ = ["FileResponse", "open_file"]

_PIECE_BYTES = 64 * 1024


def open_file(path: Path) -> tuple[IO[bytes], os.stat_result] | None:
    """Blocks. None if no regular file is there."""
    try:
        file = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115 - it is the caller's to close
    except OSError:
        return None
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        file.close()
        return None
    return file, found


def _without_waiting(path: str, flags: int) -> int:
    """A pipe would wait for somebody who writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


class FileResponse(StreamingResponse):
    """An attachment. It closes the file once it has been called, however that ends."""

    def __init__(
        self,
        file: IO[bytes],
        found: os.stat_result,
        *,
        part: range | None,
        name: str,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        """`part`: the places of the bytes to be sent; None for all."""
        self._file = file
        places = range(found.st_size) if part is None else part
        quoted = quote(name)
        disposition = f'filename="{name}"' if quoted == name else f"filename*=utf-8''{quoted}"
        sent = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(places)),
            "Content-Disposition": f"attachment; {disposition}",
            "Last-Modified": formatdate(found.st_mtime, usegmt=True),
            **headers,
        }
        if part is not None:
            sent["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{found.st_size}"
        super().__init__(self._pieces(places), 200 if part is None else 206, sent, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()

    async def _pieces(self, places: range) -> AsyncGenerator[bytes]:
        self._file.seek(places.start)
        left = len(places)
        while left:
            # Unbroken: the file must not be closed while a thread is about to read it.
            piece = await unbroken(asyncio.to_thread(self._file.read, min(left, _PIECE_BYTES)))
            if not piece:
                return  # it was made shorter meanwhile; the connection breaks off
            left -= len(piece)
            yield piece
