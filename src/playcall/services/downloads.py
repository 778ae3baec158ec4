"""Answers that are written into a file, and go on where they broke off."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path as FilePath
from typing import BinaryIO, TypeAlias

from ..deadline import nearest
from ..errors import InvalidArgumentError, RequestError, StatusError, TransportError
from ..http.bodies import OnProgress
from ..http.call import IncomingBody
from ..http.ranges import place_of, strong_etag
from ..http.retry import Failure, FailureKind, RetryBudget, RetryPolicy, decide
from ..timeline import Attempt, Timeline

__all__ = ["save"]

Opening: TypeAlias = Callable[[Mapping[str, str]], AbstractAsyncContextManager[IncomingBody]]
"""Makes the GET, with these headers besides its own."""


async def save(
    opening: Opening,
    target: FilePath,
    on_progress: OnProgress | None,
    *,
    policy: RetryPolicy,
    budget: RetryBudget,
    in_parts: bool = True,
) -> FilePath:
    """Writes a body to `target`, whole or not at all, and returns it. It goes on where it breaks off, if that can be.

    Args:
        policy: Says how often, and when. A part that came further than the last one counts as the first attempt.
        budget: Pays for attempts that came no further.
        in_parts: Whether parts may be asked for.

    Raises:
        InvalidArgumentError: it cannot be written.
        RequestError: the answer, or its body, is an error; its timeline tells of all answers.
    """
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")  # two may download to the same place
    try:
        file = await asyncio.to_thread(part.open, "wb")
    except OSError as error:
        raise InvalidArgumentError(f"{target} cannot be written: {error.strerror}") from error
    try:
        try:
            await _fill(_Filling(file, on_progress, in_parts=in_parts), opening, policy, budget)
        finally:
            await asyncio.to_thread(file.close)
        await asyncio.to_thread(os.replace, part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target


async def _fill(filling: _Filling, opening: Opening, policy: RetryPolicy, budget: RetryBudget) -> None:
    story = _Story()
    ends_at = nearest(None)
    attempt = 0
    while not filling.whole:
        began_at = time.monotonic()
        try:
            async with opening(filling.wanted()) as incoming:
                lost = await filling.take(incoming)
        except RequestError as error:
            if isinstance(error, StatusError) and error.status == 416 and filling.so_far:
                story.add(error.timeline, began_at, "begin anew: the backend has no such part")
                await filling.begin_anew()
                continue
            story.end(error, began_at)
            raise
        if lost is None:
            continue  # it is whole, or what came was of no use
        attempt = 1 if filling.further else attempt + 1
        if filling.etag is None:
            story.end(lost, began_at)
            raise lost
        free = policy.budget is None or filling.further
        decision = decide(
            Failure(FailureKind.LOST),
            attempt=attempt,
            policy=policy,
            repeatable=True,
            left_seconds=math.inf if ends_at is None else ends_at - time.monotonic(),
            budget_left=free or budget.tokens >= 1,
            random=random.random,
        )
        if decision.delay_seconds is None:
            story.end(lost, began_at, decision.reason)
            raise lost
        if not free:
            budget.take()
        story.add(lost.timeline, began_at, f"go on at byte {filling.so_far}: {decision.reason}")
        await asyncio.sleep(decision.delay_seconds)


class _Filling:
    """A file that fills, from however many answers.

    `etag` is what parts are asked by (RFC 9110 section 13.1.5); None while none may be. `further`: the last answer has added
    to what was there before it.
    """

    def __init__(self, file: BinaryIO, on_progress: OnProgress | None, *, in_parts: bool) -> None:
        self.so_far = 0
        self.etag: str | None = None
        self.further = False
        self.whole = False
        self._total: int | None = None
        self._file = file
        self._on_progress = on_progress
        self._in_parts = in_parts

    def wanted(self) -> dict[str, str]:
        """What the next request asks for beside the rest: nothing for all of it."""
        if self.etag is None or not self.so_far:
            return {}
        return {"Range": f"bytes={self.so_far}-", "If-Range": self.etag}

    async def take(self, incoming: IncomingBody) -> TransportError | None:
        """Adds the answer's body; gives the error that it broke off with."""
        begins_at = place_of(incoming.status, incoming.headers, asked=self.so_far, etag=self.etag, total=self._total)
        if begins_at is None:
            await self.begin_anew()
            return None
        if begins_at == 0:
            await self._empty()
            self._total = incoming.length
            self.etag = strong_etag(incoming.headers) if self._in_parts else None
        self.further = False
        pieces = _Pieces(incoming)
        async for piece in pieces:
            await asyncio.to_thread(self._file.write, piece)
            self.so_far += len(piece)
            self.further = begins_at > 0
            if self._on_progress is not None:
                self._on_progress(self.so_far, self._total)
        if pieces.lost is None:
            self.whole = self._total is None or self.so_far == self._total
            if not self.whole:
                await self.begin_anew()
        return pieces.lost

    async def begin_anew(self) -> None:
        """And ask for no part any more: what came for one was none."""
        self._in_parts, self.etag = False, None
        await self._empty()

    async def _empty(self) -> None:
        self.so_far = 0
        await asyncio.to_thread(self._file.seek, 0)
        await asyncio.to_thread(self._file.truncate)


class _Pieces:
    """A body up to where it breaks off. An error of whoever uses the pieces is not taken for the body's."""

    def __init__(self, incoming: IncomingBody) -> None:
        self._incoming = incoming
        self.lost: TransportError | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._incoming.chunks():
                yield piece
        except TransportError as error:
            self.lost = error


class _Story:
    """The attempts of all answers, as those of one call."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._deadline_seconds: float | None = None
        self._attempts: list[Attempt] = []

    def add(self, timeline: Timeline, began_at: float, decision: str | None = None) -> None:
        """What one answer came to; `decision` takes the place of the engine's, which knew of no other answer."""
        if not self._attempts:
            self._deadline_seconds = timeline.deadline_seconds
        for attempt in timeline.attempts:
            at = began_at - self._began_at + attempt.began_at_seconds
            self._attempts.append(replace(attempt, number=len(self._attempts) + 1, began_at_seconds=at))
        if decision is not None and self._attempts:
            self._attempts[-1] = replace(self._attempts[-1], decision=decision)

    def end(self, error: RequestError, began_at: float, decision: str | None = None) -> None:
        """The error that ends the call tells the whole story."""
        self.add(error.timeline, began_at, decision)
        error.timeline = replace(
            error.timeline,
            deadline_seconds=self._deadline_seconds,
            attempts=tuple(self._attempts),
            took_seconds=time.monotonic() - self._began_at,
        )
