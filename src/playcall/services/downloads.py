"""Answers that are written into a file, and go on where they broke off."""

from __future__ import annotations

import time
from pathlib import Path as FilePath
from typing import Final

from ..errors import InvalidArgumentError
from ..http.answers import unreadable
from ..http.bodies import OnProgress
from ..http.call import Call, Doing, Progress
from ..http.engine import Engine
from ..http.ranges import end_of, length_of, place_of, strong_etag
from ..http.retry import FailureKind
from ..http.transport import TransportFault, WireAnswer, WireRequest, WireStream
from .part_file import PartFile

__all__ = ["save"]

_PARTS: Final = frozenset({"range", "if-range"})


async def save(engine: Engine, call: Call, to: str | FilePath, on_progress: OnProgress | None) -> FilePath:
    """Makes the call, with its body in the file `to`, whole or not at all. Returns its path.

    The body is part of the attempt, so that one that breaks off is made again as any other, by the call's policy and within
    its deadline, from where it broke off if that can be.

    Raises:
        InvalidArgumentError: there can be no such file.
        PlaycallError: the disk did not take it; its cause is the OSError.
        UnreadableAnswerError: a success that holds no content to be written.
        RequestError: any other of its kinds.
    """
    if not isinstance(to, str | FilePath):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"a download goes to a path, got {type(to).__name__}")
    target = FilePath(to)
    part = PartFile(target)
    own_range = any(name.lower() in _PARTS for name in call.headers or ())
    filling = _Filling(engine, part, on_progress, own_range=own_range)
    try:
        answer = (await engine.request(call, filling.send)).answer()
    finally:
        await part.discard()
    if not filling.whole:
        raise unreadable(answer, "which holds nothing to write: it is the answer to something that was not asked")
    return target


class _Filling:
    """A file that fills, from however many answers; `send` is one attempt.

    Parts are asked for by the tag of what is there already (RFC 9110 section 13.1.5), if it has one.
    """

    def __init__(self, engine: Engine, part: PartFile, on_progress: OnProgress | None, *, own_range: bool) -> None:
        self.whole = False
        self._engine = engine
        self._part = part
        self._on_progress = on_progress
        self._own_range = own_range
        self._in_parts = not own_range
        self._opened = False
        self._so_far = 0
        self._total: int | None = None
        self._etag: str | None = None

    async def send(self, progress: Progress, request: WireRequest) -> WireAnswer:
        """Raises: TransportFault: it is not whole yet. What came nevertheless is kept, if it can be gone on from there."""
        if not self._opened:
            progress.doing = Doing.STARTING  # the time that is lost here is not the backend's
            await self._part.open()
            self._opened = True
            progress.doing = Doing.ANSWER
        asked = self._so_far if self._etag is not None else 0
        if asked:
            request.headers.update({"Range": f"bytes={asked}-", "If-Range": self._etag or ""})
        async with self._engine.transport.stream(request) as stream:
            if stream.status == 416 and asked:
                await self._begin_anew()
                raise TransportFault(FailureKind.LOST, f"the backend has no part from byte {asked} on")
            if not 200 <= stream.status < 300:
                return WireAnswer(stream.status, stream.headers, await stream.read())
            place = 0 if self._own_range else place_of(stream.status, stream.headers, asked, self._etag, self._total)
            if place is not None:
                await self._take(progress, stream, place)
            elif asked:
                await self._begin_anew()
                raise TransportFault(FailureKind.LOST, f"what came is not the part from byte {asked} on")
            return WireAnswer(stream.status, stream.headers, b"")

    async def _take(self, progress: Progress, stream: WireStream, place: int) -> None:
        began_at = progress.attempt_began_at
        if began_at is not None:
            self._engine.status.succeeded(time.monotonic() - began_at)  # now: the body may take minutes
        progress.doing, progress.body_begun = Doing.BODY, True
        if place == 0:
            await self._empty()
            self._total = length_of(stream.headers)
            self._etag = strong_etag(stream.headers) if self._in_parts else None
        else:
            self._total = end_of(stream.headers)
        try:
            async for piece in stream.chunks():
                progress.doing = Doing.USING  # a slow disk is no silence of the backend
                await self._part.write(piece)
                self._so_far += len(piece)
                if self._on_progress is not None:
                    self._on_progress(self._so_far, self._total)
                progress.doing = Doing.BODY
        except TransportFault as fault:
            progress.came_further = 0 < place < self._so_far
            raise TransportFault(fault.kind, f"{fault.text}, at byte {self._so_far}") from fault
        if self._total is not None and self._so_far != self._total:
            found = self._so_far
            await self._begin_anew()
            raise TransportFault(FailureKind.LOST, f"the answer ended at byte {found} of {self._total}")
        progress.doing = Doing.USING
        await self._part.keep()
        self.whole = True

    async def _begin_anew(self) -> None:
        """And ask for no part any more: what came for one was none."""
        self._in_parts, self._etag = False, None
        await self._empty()

    async def _empty(self) -> None:
        self._so_far = 0
        await self._part.empty()
